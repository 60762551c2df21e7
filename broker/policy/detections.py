"""What the detectors found in a job's texts: numbers, rule ids and types, never a text.

The detectors themselves are named by what is asked of them, so that a policy can be tried without any.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from broker.policy.texts import Role, Text


class Hit(Protocol):
    """A detector's rule that fired. `contribution`: signed, a part of the score."""

    @property
    def id(self) -> str: ...

    @property
    def contribution(self) -> int: ...


class Detection(Protocol):
    @property
    def score(self) -> int: ...

    @property
    def rules(self) -> Sequence[Hit]: ...


class InjectionDetector(Protocol):
    def scan(self, text: str) -> Detection: ...


class Span(Protocol):
    """`start` and `end`: positions in the text as Python counts them."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def type(self) -> str: ...


class SpanFinder(Protocol):
    def every(self, text: str) -> Sequence[Span]:
        """Of all types, whether or not they overlap others."""
        ...


class Detections(NamedTuple):
    """Of one request. All in sorted order, so that equal findings are equal bytes."""

    scores: tuple[tuple[Role, int], ...] = ()
    """Of each role the highest score of any one of its texts."""
    hits: tuple[tuple[str, int], ...] = ()
    """The rules, with their contributions, of the text that scored highest."""
    rules: tuple[str, ...] = ()
    """Of all texts."""
    types: tuple[tuple[str, int], ...] = ()
    """How many spans of each type of personal or secret data."""
    detectors: str = ""
    """The version of the detectors that looked: the same text may get another score from others."""

    @property
    def score(self) -> int:
        return max((score for _, score in self.scores), default=0)


def detect(
    texts: Iterable[Text], injection: InjectionDetector, finder: SpanFinder, detectors: str
) -> Detections:
    """Scans each text by itself. Time: the sum of what the detectors take for each."""
    scores: dict[Role, int] = {}
    ids: set[str] = set()
    types: Counter[str] = Counter()
    score, leading = 0, list[tuple[str, int]]()
    for text in texts:
        found = injection.scan(text.text)
        hits = sorted((hit.id, hit.contribution) for hit in found.rules)
        scores[text.role] = max(scores.get(text.role, found.score), found.score)
        ids.update(id_ for id_, _ in hits)
        if found.score > score:
            score, leading = found.score, hits
        types.update(span.type for span in finder.every(text.text))
    return Detections(
        scores=tuple(sorted(scores.items())),
        hits=tuple(leading),
        rules=tuple(sorted(ids)),
        types=tuple(sorted(types.items())),
        detectors=detectors,
    )
