"""What a node of the budget tree allows. Every limit is a hard cap on what is spent and held together."""

from typing import Final, Literal, get_args

from pydantic import Field

from schemas.base import Record

NUMBER_MAX: Final = 2**53 - 1
"""Redis scripts count in doubles, which hold integers exactly up to here. It is the cap where none is set."""

Reason = Literal[
    "nanodollars_per_day",
    "requests_per_minute",
    "jobs_in_flight",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "nanodollars_per_month",
]
"""The limit that stands in the way, by its name in `Limits`."""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""In the order in which the scripts number them, from 1."""

Level = Literal["organization", "project", "key"]

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""In the order in which the scripts number them, from 1."""


class Limits(Record):
    """Of one node of the budget tree; None sets no limit. Settings of what is a node extend it.

    Minutes are those of UTC, days and calendar months those of the organization's time zone.
    """

    nanodollars_per_day: int | None = Field(None, ge=0, le=NUMBER_MAX)
    requests_per_minute: int | None = Field(None, ge=0, le=NUMBER_MAX)
    jobs_in_flight: int | None = Field(None, ge=0, le=NUMBER_MAX)
    """Holds at the same time, held or started."""
    tokens_per_minute: int | None = Field(None, ge=0, le=NUMBER_MAX)
    """Input and output, as all tokens here."""
    tokens_per_day: int | None = Field(None, ge=0, le=NUMBER_MAX)
    tokens_per_month: int | None = Field(None, ge=0, le=NUMBER_MAX)
    nanodollars_per_month: int | None = Field(None, ge=0, le=NUMBER_MAX)

    @property
    def bounds_spending(self) -> bool:
        """Whether it limits money or tokens over a day or a month."""
        caps = (
            self.nanodollars_per_day,
            self.nanodollars_per_month,
            self.tokens_per_day,
            self.tokens_per_month,
        )
        return any(cap is not None for cap in caps)

    def caps(self) -> tuple[int, ...]:
        """One number a limit, in the order of `REASONS`."""
        return tuple(NUMBER_MAX if cap is None else cap for cap in (getattr(self, name) for name in REASONS))
