"""What the gate has on record of an organization's holds, and what its nodes count of them. For checks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from broker.quota.packing import unpack_hold
from schemas.state import Hold

_STARTED: Final = "s"
_HELD: Final = (1, 3)
"""Places of nanodollars and of tokens that are held among a window's numbers."""


class HoldRecord(NamedTuple):
    """One hold. `nodes`: those that it counts on, joined by commas."""

    is_started: bool
    nodes: str
    hold: Hold


class Held(NamedTuple):
    """What one node counts: jobs in flight, and what is held of the present day and month."""

    jobs: int = 0
    nanodollars_of_day: int = 0
    tokens_of_day: int = 0
    nanodollars_of_month: int = 0
    tokens_of_month: int = 0


class Inspection(NamedTuple):
    day: int
    month: int
    holds: Mapping[str, HoldRecord]
    """By their ids."""
    nodes: Mapping[str, Held]

    def sums(self) -> dict[str, Held]:
        """What the nodes should count, by the holds that there are."""
        sums: dict[str, list[int]] = {name: [0, 0, 0, 0, 0] for name in self.nodes}
        for record in self.holds.values():
            amounts = self._counted(record.hold)
            for name in record.nodes.split(","):
                if name in sums:
                    sums[name] = [one + other for one, other in zip(sums[name], amounts, strict=True)]
        return {name: Held(*numbers) for name, numbers in sums.items()}

    def _counted(self, hold: Hold) -> tuple[int, ...]:
        amounts, none = (hold.nanodollars, hold.tokens), (0, 0)
        of_day = amounts if hold.day == self.day else none
        return 1, *of_day, *(amounts if hold.month == self.month else none)


def unpack_inspection(reply: Sequence[Any], names: Sequence[str]) -> Inspection:
    """`reply` as `inspect.lua` answers it, without the stamp. Raises ValueError on what no script wrote."""
    day, month, flat, *nodes = reply
    texts = [_text(each) for each in flat]
    holds = {hold_id: _record(hold_id, text) for hold_id, text in zip(texts[::2], texts[1::2], strict=True)}
    return Inspection(day, month, holds, dict(zip(names, map(_held, nodes), strict=True)))


def _record(hold_id: str, text: str) -> HoldRecord:
    state, nodes, *numbers = text.split("|")
    return HoldRecord(state == _STARTED, nodes, unpack_hold(hold_id, map(int, numbers)))


def _held(stored: Sequence[Any]) -> Held:
    jobs, day, month = [None if each is None else _text(each) for each in stored]
    return Held(int(jobs or 0), *_held_of(day), *_held_of(month))


def _held_of(window: str | None) -> tuple[int, ...]:
    numbers = (0, 0, 0, 0) if window is None else tuple(map(int, window.split()))
    return tuple(numbers[place] for place in _HELD)


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)
