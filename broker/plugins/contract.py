"""What a plugged-in detector is given and what it gives back, and what of that is believed. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, Protocol

from broker.plugins.errors import DetectorGarbage

GROUP: Final = "headworks.detectors"
"""Of entry points, each a callable without arguments that makes a `Detector`."""
KINDS_MAX: Final = 32
FINDINGS_MAX: Final = 10_000
"""In one job."""
MARKS_MAX: Final = 100
"""Of one kind that are kept; the rest are counted."""
SCORE_MAX: Final = 1_000

_KIND: Final = re.compile(r"[A-Z][A-Z0-9_]{0,31}")

Phase = Literal["request", "answer"]


class Passage(NamedTuple):
    """One text of a job. `role`: system, user, assistant, tool, input, definition or metadata, of requests as
    rules know them; what stands in an answer is the assistant's.
    """

    role: str
    text: str


class Mark(NamedTuple):
    """`passage`: which one, from 0 on. `start`, `end`: offsets in its Python string."""

    passage: int
    start: int
    end: int


class Finding(NamedTuple):
    """`score`: how sure the detector is, in thousandths. Without `marks` it is about the job as a whole."""

    kind: str
    score: int
    marks: Sequence[Mark] = ()


class Detector(Protocol):
    @property
    def kinds(self) -> Collection[str]:
        """All that it may find, such as PERSON: capitals, digits and `_`; 32 kinds at most."""
        ...

    def detect(self, passages: Sequence[Passage]) -> Iterable[Finding]:
        """Called in a process of its own, for one job at a time."""
        ...


class Flag(NamedTuple):
    """All findings of one kind in a job: the highest score, in how many places, and the first of these."""

    kind: str
    score: int
    places: int
    marks: tuple[Mark, ...]

    @classmethod
    def of(cls, packed: Sequence[Any]) -> "Flag":
        kind, score, places, marks = packed
        return cls(kind, score, places, tuple(Mark(*mark) for mark in marks))

    @property
    def told(self) -> Mapping[str, Any]:
        """As it stands on record, in JSON."""
        return self._asdict() | {"marks": [list(mark) for mark in self.marks]}


def checked_kinds(kinds: Any) -> tuple[str, ...]:
    """Sorted. Raises ValueError."""
    if isinstance(kinds, str) or not isinstance(kinds, Collection) or not 1 <= len(kinds) <= KINDS_MAX:
        raise ValueError(f"`kinds` must hold 1 to {KINDS_MAX} names")
    if not all(isinstance(kind, str) and _KIND.fullmatch(kind) for kind in kinds):
        raise ValueError(f"`kinds` must hold names such as PERSON ({_KIND.pattern})")
    return tuple(sorted(set(kinds)))


def flags(found: Any, kinds: Collection[str], passages: Sequence[Passage]) -> tuple[Flag, ...]:
    """Sorted by kind. `found`: whatever `detect` returned. Raises DetectorGarbage, and what an iterator of
    the detector's own raises.
    """
    marks: dict[str, set[Mark]] = {}
    scores: dict[str, int] = {}
    for finding in _findings(found):
        kind, score = finding.kind, finding.score
        if kind not in kinds:
            raise DetectorGarbage("a finding is of a kind that the detector did not declare")
        if not _is_int(score) or not 0 <= score <= SCORE_MAX:
            raise DetectorGarbage(f"a score must be an integer from 0 to {SCORE_MAX}")
        scores[kind] = max(score, scores.get(kind, 0))
        marks.setdefault(kind, set()).update(_marks(finding.marks, passages))
    return tuple(
        Flag(kind, scores[kind], len(every), tuple(sorted(every)[:MARKS_MAX]))
        for kind, every in sorted(marks.items())
    )


def _findings(found: Any) -> Iterator[Finding]:
    if not isinstance(found, Iterable):
        raise DetectorGarbage("what it found must be an iterable")
    for number, finding in enumerate(islice(found, FINDINGS_MAX + 1)):
        if number == FINDINGS_MAX:
            raise DetectorGarbage(f"more than {FINDINGS_MAX} findings in one job")
        if not isinstance(finding, Finding):
            raise DetectorGarbage("a finding must be a headworks.detectors.Finding")
        yield finding


def _marks(marks: Any, passages: Sequence[Passage]) -> Iterator[Mark]:
    if not isinstance(marks, Sequence) or len(marks) > FINDINGS_MAX:
        raise DetectorGarbage(f"marks must be a sequence of {FINDINGS_MAX} at most")
    for mark in marks:
        if not isinstance(mark, tuple) or len(mark) != len(Mark._fields) or not all(map(_is_int, mark)):
            raise DetectorGarbage("a mark must be a headworks.detectors.Mark")
        passage, start, end = mark
        if not 0 <= passage < len(passages) or not 0 <= start < end <= len(passages[passage].text):
            raise DetectorGarbage("a mark points outside of the texts")
        yield Mark(passage, start, end)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
