"""What is done with what was found: pure, for one text of a job."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.replacing import Placeholders, replace
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
    text: str, spans: Sequence[Span], effects: Mapping[str, Effect], placeholders: Placeholders
) -> Applied:
    """`effects` by type, for one direction; a type that it does not name is flagged, PERSON always.

    `placeholders` are the job's: its mapping grows by what is tokenized.
    """
    acts = [(span, effect_of(effects, span.type)) for span in spans]
    blocked = sorted({span.type for span, effect in acts if effect is Effect.BLOCK})
    if not blocked:
        text = _replaced(text, acts, effects, placeholders)
    return Applied(text, tuple(blocked), Counter(span.type for span in spans))


def effect_of(effects: Mapping[str, Effect], type_: str) -> Effect:
    return Effect.FLAG if type_ == Kind.PERSON else effects.get(type_, Effect.FLAG)


def _replaced(
    text: str,
    acts: Iterable[tuple[Span, Effect]],
    effects: Mapping[str, Effect],
    placeholders: Placeholders,
) -> str:
    def placeholder(type_: str, value: str) -> str:
        tokenized = effect_of(effects, type_) is Effect.TOKENIZE
        return placeholders.tokenize(type_, value) if tokenized else placeholders.redact(type_, value)

    return replace(text, (span for span, effect in acts if effect is not Effect.FLAG), placeholder)
