"""Detectors as they are installed: modules and entry points, for this process and for those it starts."""

from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "names_detector"
SOURCE = '''
import os, signal, subprocess, threading
from headworks.detectors import Finding, Mark

print("what is printed at the import goes nowhere")


class Words:
    """Does what a word says that stands in the first passage."""
    kinds = ("PERSON", "CODENAME")

    def detect(self, passages):
        print("and so does", passages)
        text = passages[0].text
        if "raise" in text:
            raise ValueError(text)
        if "spawn" in text:
            subprocess.Popen(["sleep", "600"], stdout=open(text.split()[1], "w"))
        if "hang" in text:
            threading.Event().wait()
        if "die" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "garbage" in text:
            return [("PERSON", 1)]
        if "secrets" in text:
            known = any(name.startswith("HEADWORKS_") for name in os.environ)
            return [Finding("CODENAME", 1)] if known else []
        at = text.find("Joe")
        return [Finding("PERSON", 900, (Mark(0, at, at + 3),))] if at >= 0 else ()


class Stubborn(Words):
    def __init__(self):
        raise RuntimeError("its model is not there")


class Silent(Words):
    def __init__(self):
        threading.Event().wait()


class Gone(Words):
    def __init__(self):
        os._exit(3)


class Mute:
    kinds = ("PERSON",)


class Unkind(Words):
    kinds = "PERSON"
'''


NAMES = ("words", "stubborn", "silent", "gone", "mute", "unkind")


def install(folder: Path) -> Path:
    """`words`, and others that cannot be used, for whoever has the folder in its path."""
    entries = [f"{name} = plugged_words:{name.title()}" for name in NAMES]
    entries += ["missing = plugged_words:Missing", "names = headworks_names:Names"]
    (folder / "plugged_words.py").write_text(SOURCE)
    about = folder / "plugged_words-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-words\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text("\n".join(["[headworks.detectors]", *entries, ""]))
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for this process, and `names`, the example."""
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    monkeypatch.syspath_prepend(str(EXAMPLE))
