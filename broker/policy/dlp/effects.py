"""What is done with what was found: pure, for one text of a job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.replacing import Placeholders
from broker.policy.dlp.spans import Kind, Span


class Effect(StrEnum):
    BLOCK = "block"
    """The job is refused, or its answer withheld."""
    REDACT = "redact"
    """A typed placeholder, and the value is forgotten."""
    TOKENIZE = "tokenize"
    """A typed placeholder that is put back in the answer."""
    FLAG = "flag"
    """It is counted and passes."""


class Applied(NamedTuple):
    text: str
    """With placeholders; where something blocks, the text as it was."""
    blocked: tuple[str, ...]
    """The types that block, sorted."""
    counts: Mapping[str, int]
    """How many of each type were found."""


def check(effects: Mapping[str, Effect]) -> None:
    """Raises DlpRulesInvalid where names of persons, which are guesses, would be acted on."""
    if effects.get(Kind.PERSON, Effect.FLAG) is not Effect.FLAG:
        raise DlpRulesInvalid("PERSON can be flagged and nothing else: a plug-in's names are guesses")


def apply(
    text: str,
    spans: Sequence[Span],
    effects: Mapping[str, Effect],
    redactions: Placeholders,
    tokens: Placeholders,
) -> Applied:
    """`effects` by type for one direction; a type that it does not name is flagged, PERSON always.

    `redactions` and `tokens` are the job's; what `tokens` gave out is to be put back.
    """
    blocked = sorted({span.type for span in spans if _effect(effects, span) is Effect.BLOCK})
    if not blocked:
        text = _replaced(text, spans, effects, redactions, tokens)
    return Applied(text, tuple(blocked), dict(Counter(span.type for span in spans)))


def _replaced(
    text: str,
    spans: Sequence[Span],
    effects: Mapping[str, Effect],
    redactions: Placeholders,
    tokens: Placeholders,
) -> str:
    parts, last = [], 0
    for span in spans:
        effect = _effect(effects, span)
        if effect is Effect.FLAG:
            continue
        given = (tokens if effect is Effect.TOKENIZE else redactions).give(
            span.type, text[span.start : span.end]
        )
        parts += (text[last : span.start], given)
        last = span.end
    return "".join((*parts, text[last:]))


def _effect(effects: Mapping[str, Effect], span: Span) -> Effect:
    return Effect.FLAG if span.type == Kind.PERSON else effects.get(span.type, Effect.FLAG)
