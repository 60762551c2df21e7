"""Twice the text is twice the work, whatever stands in it.

Counted in lines of Python that are run, which is the same on every machine. What a pattern does by itself is
not in it: where a text of any length is searched that is RE2, which is linear; `re` gets bounded pieces, or
patterns that bound how often it can go back.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from benchmarks.dlp import hostile
from broker.errors import PolicyInvalid
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind
from broker.policy.injection import Detector
from broker.policy.revision import PolicyRevision
from broker.policy.spotting import spot
from broker.policy.texts import Text
from broker.policy.views import views

CHARS, TIMES = 2_000, 4
FINDER = Finder([kind for kind in Kind if kind is not Kind.PERSON], patterns={"OWN": "a+b"})
DETECTOR = Detector.load()
SPLIT = 20


def in_parts(text: str) -> None:
    size = len(text) // (SPLIT * len(text) // CHARS)
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    spot([Text("user", ("messages", at, "content"), part) for at, part in enumerate(parts)], FINDER)


READERS: dict[str, Callable[[str], object]] = {
    "views": views,
    "detector": DETECTOR.scan,
    "data": FINDER.every,
    "parts": in_parts,
}
HOSTILE = hostile(CHARS * TIMES)


def lines_run(read: Callable[[str], object], text: str) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(TooMuchFound, PolicyInvalid):
            read(text)
    finally:
        sys.settrace(before)
    return count


def grows_evenly(read: Callable[[str], object], short: str, long: str) -> None:
    """`long` is TIMES as long. A quarter more is for what begins late, and for seams that are read twice."""
    for text in (short, long):
        lines_run(read, text)  # what is made at the first use, and words that are kept
    assert lines_run(read, long) <= 1.25 * TIMES * lines_run(read, short) + 500


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("reader", sorted(READERS))
def test_of_hostile_texts(reader: str, name: str) -> None:
    grows_evenly(READERS[reader], HOSTILE[name][:CHARS], HOSTILE[name])


def rules(number: int) -> str:
    rule = "  - {{id: r{}, description: d, when: 'true', effect: deny, tests: {{must_match: [{{}}]}}}}"
    return "\n".join(("version: 1", "rules:", *(rule.format(place) for place in range(number))))


def words(number: int) -> str:
    listed = ", ".join(f"word{place}" for place in range(number))
    return f"version: 1\ndlp: {{dictionaries: [{{type: OWN, words: [{listed}]}}]}}"


def brackets(number: int) -> str:
    return "version: " + "[" * number


def unfinished(number: int) -> str:
    return "version: 1\nrules:\n" + '  - [a, {b: "\n' * number


def strange(number: int) -> str:
    return "version: 1\n" + "\n".join(f"key{place}: &a" for place in range(number))


@pytest.mark.parametrize("made", [rules, words, brackets, unfinished, strange])
def test_of_documents(made: Callable[[int], str]) -> None:
    grows_evenly(PolicyRevision.load, made(50), made(50 * TIMES))
