"""What of a detector's findings is believed."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.plugins.contract import FINDINGS_MAX, MARKS_MAX, Flag, checked_kinds, flags
from broker.plugins.errors import DetectorGarbage
from headworks.detectors import Finding, Mark, Passage

KINDS = ("CODENAME", "PERSON")
PASSAGES = [Passage("user", "Ask Joe."), Passage("tool", "")]
ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner, inner) | st.dictionaries(st.text(), inner),
)


def test_findings_of_a_kind_are_one_flag() -> None:
    found = [
        Finding("PERSON", 300, (Mark(0, 4, 7),)),
        Finding("CODENAME", 0),
        Finding("PERSON", 900, [Mark(0, 0, 3), Mark(0, 4, 7)]),
    ]
    person = Flag("PERSON", 900, 2, (Mark(0, 0, 3), Mark(0, 4, 7)))
    assert flags(iter(found), KINDS, PASSAGES) == (Flag("CODENAME", 0, 0, ()), person)
    assert flags((), KINDS, PASSAGES) == ()


def test_of_many_marks_the_first_are_kept_and_all_are_counted() -> None:
    long = [Passage("user", "x" * (MARKS_MAX + 5))]
    found = [Finding("PERSON", 1, tuple(Mark(0, at, at + 1) for at in range(MARKS_MAX + 5)))]
    [flag] = flags(found, KINDS, long)
    assert (flag.places, len(flag.marks), flag.marks[-1]) == (
        MARKS_MAX + 5,
        MARKS_MAX,
        Mark(0, MARKS_MAX - 1, MARKS_MAX),
    )


@pytest.mark.parametrize(
    "found",
    [
        None,
        7,
        [("PERSON", 1)],
        [Finding("SECRET", 1)],
        [Finding("PERSON", -1)],
        [Finding("PERSON", 1001)],
        [Finding("PERSON", True)],
        [Finding("PERSON", 1, (Mark(2, 0, 1),))],
        [Finding("PERSON", 1, (Mark(-1, 0, 1),))],
        [Finding("PERSON", 1, (Mark(0, 3, 3),))],
        [Finding("PERSON", 1, (Mark(0, 7, 9),))],
        [Finding("PERSON", 1, (Mark(1, 0, 1),))],
        repeat(Finding("PERSON", 1), FINDINGS_MAX + 1),
        [Finding("PERSON", 1, [Mark(0, 0, 1)] * (FINDINGS_MAX + 1))],
    ],
)
def test_what_is_not_of_the_form_is_garbage(found: Any) -> None:
    with pytest.raises(DetectorGarbage):
        flags(found, KINDS, PASSAGES)


@given(ANYTHING, st.sampled_from(["PERSON", "x"]), ANYTHING, ANYTHING)
def test_whatever_comes_is_believed_or_garbage(found: Any, kind: str, score: Any, marks: Any) -> None:
    def tried(given: Any) -> Iterator[Flag]:
        try:
            yield from flags(given, KINDS, PASSAGES)
        except DetectorGarbage:
            return

    every = [*tried(found), *tried([Finding(kind, score, marks)])]
    assert all(flag.kind in KINDS and 0 <= flag.score <= 1_000 for flag in every)


@pytest.mark.parametrize("kinds", [(), "PERSON", None, 3, ["person"], ["A" * 33], [1], ["A"] * 33])
def test_kinds_are_names_for_a_metric(kinds: Any) -> None:
    with pytest.raises(ValueError, match="kinds"):
        checked_kinds(kinds)
    assert checked_kinds({"PERSON", "CODENAME"}) == KINDS
