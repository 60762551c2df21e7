"""The kinds of fields that a policy document is made of, each with its bound."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.base import Record
from schemas.topics import Lane

NAMES_MAX: Final = 100
WORDS_MAX: Final = 1_000
PATTERNS_MAX: Final = 100
SCORE_MAX: Final = 1_000
CHARS_MAX: Final = 10_000_000

Effect = Literal["deny", "review", "redact", "flag", "allow"]
Mode = Literal["monitor", "enforce"]


class Part(Record):
    model_config = ConfigDict(strict=True)


def as_set(names: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of the alphabet: the order in which they were written says nothing."""
    if len(set(names)) < len(names):
        raise PydanticCustomError("twice", "an entry stands here twice")
    return tuple(sorted(names))


Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], Field(max_length=NAMES_MAX), AfterValidator(as_set)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Labels = Annotated[tuple[Label, ...], Field(max_length=NAMES_MAX), AfterValidator(as_set)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Ids with a dot are those of the rules that stand for a section, such as `injection.deny`."""
DataType = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
DataTypes = Annotated[tuple[DataType, ...], Field(max_length=NAMES_MAX), AfterValidator(as_set)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Words = Annotated[tuple[Word, ...], Field(max_length=WORDS_MAX), AfterValidator(as_set)]
Lanes = Annotated[tuple[Lane, ...], Field(max_length=3), AfterValidator(as_set)]
Priority = Annotated[int, Field(ge=0, le=1_000)]
Contribution = Annotated[int, Field(ge=-SCORE_MAX, le=SCORE_MAX)]
Threshold = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0, le=CHARS_MAX)]
