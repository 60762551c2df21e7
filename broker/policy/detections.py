"""What the detectors found in a job's texts: numbers, rule ids and types, never a text.

The detectors themselves are named by what is asked of them, so that a policy can be tried without any.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from broker.policy.dlp.spans import Span
from broker.policy.passages import passages
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
    texts: Sequence[Text],
    spans: Mapping[Text, Sequence[Span]],
    injection: InjectionDetector,
    detectors: str,
) -> Detections:
    """Looks into `passages` for orders to the model, and counts the personal and secret data in `spans`. It
    takes what the detector takes for all passages.
    """
    scores: dict[Role, int] = {}
    ids: set[str] = set()
    score, leading = 0, list[tuple[str, int]]()
    for role, passage in passages(texts):
        found = injection.scan(passage)
        hits = sorted((hit.id, hit.contribution) for hit in found.rules)
        scores[role] = max(scores.get(role, found.score), found.score)
        ids.update(id_ for id_, _ in hits)
        if found.score > score:
            score, leading = found.score, hits
    types = Counter([span.type for found_in in spans.values() for span in found_in]) if spans else {}
    return Detections(
        scores=tuple(sorted(scores.items())),
        hits=tuple(leading),
        rules=tuple(sorted(ids)),
        types=tuple(sorted(types.items())),
        detectors=detectors,
    )
