"""What the detectors found in a job's texts: numbers, rule ids and types, never a text.

The detectors themselves are named by what is asked of them, so that a policy can be tried without any.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from broker.policy.texts import Role, Text

ALONE_MAX: Final = 32
PASSAGE_CHARS_MAX: Final = 800
"""Of several texts together; one that is longer stays by itself."""


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


def passages(texts: Sequence[Text]) -> Iterator[tuple[Role, str]]:
    """What is scanned for orders to the model: each text by itself, as long as there are few. Of many, short
    ones of one role that follow one another go together, a line each: a scan has its price however short
    the text, and thousands of messages of a word would hold up everybody else's jobs.
    """
    if len(texts) <= ALONE_MAX:
        yield from ((text.role, text.text) for text in texts)
        return
    held: list[str] = []
    role: Role = "user"
    for text in texts:
        if held and (text.role != role or sum(map(len, held)) + len(text.text) > PASSAGE_CHARS_MAX):
            yield role, "\n".join(held)
            held = []
        held.append(text.text)
        role = text.role
    if held:
        yield role, "\n".join(held)


def detect(
    texts: Iterable[Text], injection: InjectionDetector, finder: SpanFinder, detectors: str
) -> Detections:
    """Looks into each text by itself; for orders to the model, into `passages`. Time: the sum of what the
    detectors take for each.
    """
    texts = tuple(texts)
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
    types = Counter(span.type for text in texts for span in finder.every(text.text))
    return Detections(
        scores=tuple(sorted(scores.items())),
        hits=tuple(leading),
        rules=tuple(sorted(ids)),
        types=tuple(sorted(types.items())),
        detectors=detectors,
    )
