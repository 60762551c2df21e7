"""The detectors that rules ask: loaded once a process, for the first revision that needs them."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from broker.policy.detections import Detection, InjectionDetector
from broker.policy.injection import Detector
from broker.policy.memory import Memory

REMEMBERED_MAX: Final = 8_192
"""Texts, the last ones that came: about a kilobyte each, however long the text."""

_PARTS: Final = ("injection", "views", "dlp")
_BESIDE: Final = (
    "policy/passages.py",
    "policy/pattern_sets.py",
    "policy/spotting.py",
    "policy/texts.py",
    "normal_forms.py",
)
"""They say what the detectors are given, in what form, and how patterns are put together."""
_SUFFIXES: Final = (".py", ".pyx", ".json", ".toml")


class Remembering:
    """A detector that keeps what it found in texts of late: system prompts and tools come again and again."""

    def __init__(self, detector: InjectionDetector) -> None:
        self._scan = detector.scan
        self._memory = Memory[Detection](REMEMBERED_MAX)

    def scan(self, text: str) -> Detection:
        found = self._memory.of(text)
        if found is None:
            found = self._scan(text)
            self._memory.keep(text, found)
        return found


@cache
def injection() -> InjectionDetector:
    """Takes about a second the first time: not for the event loop. Raises ModelBroken."""
    return Remembering(Detector.load())


@cache
def version() -> str:
    """12 hexadecimal digits over the detectors' code, rules and models: others may find something else."""
    digest = hashlib.sha256()
    for name in _BESIDE:
        digest.update(f"{name} ".encode() + hashlib.sha256((files("broker") / name).read_bytes()).digest())
    for part in _PARTS:
        for file in _sources(files("broker.policy") / part):
            digest.update(f"{part}/{file.name} ".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _sources(folder: Traversable) -> Iterator[Traversable]:
    yield from sorted((each for each in folder.iterdir() if each.name.endswith(_SUFFIXES)), key=_name)


def _name(file: Traversable) -> str:
    return file.name
