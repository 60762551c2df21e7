"""The sections of a policy document beside its rules: data for the detectors and checks that read them."""

from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints
from pydantic import model_validator as validates
from pydantic_core import PydanticCustomError

from broker.policy.dlp.spans import Kind
from broker.policy.terms import (
    CHARS_MAX,
    NAMES_MAX,
    PATTERNS_MAX,
    Contribution,
    DataType,
    Mode,
    Names,
    Part,
    Priority,
    Threshold,
    Words,
    as_set,
)


class Injection(Part):
    """From which score of the detector on a job is flagged, held for review, or denied. None: never."""

    flag_at: Threshold | None = None
    review_at: Threshold | None = None
    deny_at: Threshold | None = None
    priority: Priority = 0
    mode: Mode = "enforce"

    @validates(mode="after")
    def _ascends(self) -> Self:
        steps = [step for step in (self.flag_at, self.review_at, self.deny_at) if step is not None]
        if any(lower >= higher for lower, higher in pairwise(steps)):
            raise PydanticCustomError("ascends", "flag_at, review_at and deny_at must ascend")
        return self


class Dictionary(Part):
    """Whole words and phrases, in any case."""

    type: DataType
    words: Annotated[Words, Field(min_length=1)]


class DataPattern(Part):
    type: DataType
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    """RE2."""


Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]

BUILT_IN: Final = frozenset(kind.value for kind in Kind)


class Dlp(Part):
    """What happens to personal and secret data, by type and direction. Types that are not listed pass."""

    request: Annotated[
        dict[DataType, Literal["block", "redact", "tokenize", "flag"]], Field(max_length=NAMES_MAX)
    ] = Field(default_factory=dict)
    answer: Annotated[dict[DataType, Literal["block", "redact", "flag"]], Field(max_length=NAMES_MAX)] = (
        Field(default_factory=dict)
    )
    dictionaries: Annotated[tuple[Dictionary, ...], Field(max_length=PATTERNS_MAX)] = ()
    patterns: Annotated[tuple[DataPattern, ...], Field(max_length=PATTERNS_MAX)] = ()
    phone_regions: Annotated[
        tuple[Region, ...], Field(min_length=1, max_length=NAMES_MAX), AfterValidator(as_set)
    ] = ("DE", "FR", "GB", "US")
    """Countries whose national telephone numbers are known, as ISO 3166 writes them."""
    priority: Priority = 0
    mode: Mode = "enforce"
    contribution: Contribution = 0

    @property
    def types(self) -> frozenset[str]:
        """All that may be asked for."""
        return BUILT_IN | self.own_types

    @property
    def own_types(self) -> frozenset[str]:
        return frozenset(
            [entry.type for entry in self.dictionaries] + [entry.type for entry in self.patterns]
        )


REQUIRED_WORDS_MAX: Final = 50
"""Each is looked for by itself."""

Check = Literal["length", "forbidden_words", "required_words", "json_schema", "prompt_leak", "tools"]


class PromptLeak(Part):
    """An answer leaks where it has so many words in a row from the system prompt, all of a prompt that is
    shorter, or a canary.
    """

    overlap_words: Annotated[int, Field(ge=5, le=1_000)] = 16
    canary: bool = False
    """ADMIT puts a token of the job's own at the end of its system prompt."""
    canaries: Words = ()
    """Texts that stand in system prompts and nowhere else."""


class AnswerTools(Part):
    """`declared`: an answer may call only what its request declares. `allowed`: only these; empty: any."""

    declared: bool = True
    allowed: Names = ()
    arguments: bool = False
    """They must fit the parameters that the request declares."""


class AnswerChecks(Part):
    """What an answer must keep. A check that is left out is not made."""

    chars_max: Annotated[int, Field(ge=1, le=CHARS_MAX)] | None = None
    forbidden_words: Words = ()
    required_words: Annotated[Words, Field(max_length=REQUIRED_WORDS_MAX)] = ()
    json_schema: bool = False
    """Where the request asks for structured output."""
    prompt_leak: PromptLeak | None = None
    tools: AnswerTools | None = None
    effects: dict[Check, Literal["deny", "flag"]] = Field(default_factory=dict)
    """Of checks that fail; deny where nothing is said."""
    priority: Priority = 0
    mode: Mode = "enforce"
    contribution: Contribution = 0

    @property
    def checks(self) -> tuple[Check, ...]:
        """Those that are made."""
        made: dict[Check, bool] = {
            "length": self.chars_max is not None,
            "forbidden_words": bool(self.forbidden_words),
            "required_words": bool(self.required_words),
            "json_schema": self.json_schema,
            "prompt_leak": self.prompt_leak is not None,
            "tools": self.tools is not None,
        }
        return tuple(check for check, is_made in made.items() if is_made)

    @validates(mode="after")
    def _acts_on_what_it_checks(self) -> Self:
        if set(self.effects) - set(self.checks):
            raise PydanticCustomError("effects", "an effect stands here for a check that is not made")
        return self
