"""What the nodes of a budget tree count, read for people and for checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from broker.quota.limits import Limits, Reason
from broker.quota.thresholds import Used

_HEAD: Final = 5
_WIDTH: Final = 11


@dataclass(frozen=True, slots=True)
class NodeOf:
    """A node by its name in its organization's tree (`broker.quota.budget`)."""

    organization_id: int
    node: str

    def __str__(self) -> str:
        return f"{self.organization_id}/{self.node}"

    @classmethod
    def parse(cls, text: str) -> Self:
        organization_id, _, node = text.partition("/")
        return cls(int(organization_id), node)


class Amounts(NamedTuple):
    """Of a day or a month."""

    nanodollars_spent: int = 0
    nanodollars_held: int = 0
    tokens_spent: int = 0
    tokens_held: int = 0

    @property
    def nanodollars(self) -> int:
        return self.nanodollars_spent + self.nanodollars_held

    @property
    def tokens(self) -> int:
        return self.tokens_spent + self.tokens_held


class Windows(NamedTuple):
    """The present ones, by the clock of the gate and the calendar of the organization."""

    day: int
    day_ends_ms: int
    month: int
    month_ends_ms: int
    minute: int


@dataclass(frozen=True, slots=True)
class Counters:
    windows: Windows
    jobs_in_flight: int
    of_day: Amounts
    of_month: Amounts
    requests_of_minute: int
    tokens_of_minute: int

    def amount(self, limit: Reason) -> int:
        """What counts against that limit now, spent and held together."""
        amounts: Mapping[Reason, int] = {
            "nanodollars_per_day": self.of_day.nanodollars,
            "nanodollars_per_month": self.of_month.nanodollars,
            "tokens_per_day": self.of_day.tokens,
            "tokens_per_month": self.of_month.tokens,
            "requests_per_minute": self.requests_of_minute,
            "tokens_per_minute": self.tokens_of_minute,
            "jobs_in_flight": self.jobs_in_flight,
        }
        return amounts[limit]

    def used(self, limits: Limits) -> dict[str, Used]:
        """Of the limits over days and months, those that are set."""
        caps = {name: cap for name in _WINDOWS if (cap := getattr(limits, name)) is not None}
        return {
            name: Used(getattr(self.windows, _WINDOWS[name]), self.amount(name), cap)
            for name, cap in caps.items()
        }


_WINDOWS: Final[Mapping[Reason, str]] = {
    "nanodollars_per_day": "day",
    "tokens_per_day": "day",
    "nanodollars_per_month": "month",
    "tokens_per_month": "month",
}


def unpack_counters(numbers: Sequence[int]) -> list[Counters]:
    """`numbers` as `counters.lua` answers them, without the stamp that stands before them."""
    windows = Windows(*numbers[:_HEAD])
    nodes = [numbers[start : start + _WIDTH] for start in range(_HEAD, len(numbers), _WIDTH)]
    return [
        Counters(windows, each[0], Amounts(*each[1:5]), Amounts(*each[5:9]), each[9], each[10])
        for each in nodes
    ]
