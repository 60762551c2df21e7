"""The JSON that goes to the scripts and the numbers that come back. The scripts say what each place means."""

from collections.abc import Sequence
from typing import Any

from broker.quota.gate import Granted, Over, ReserveRequest, Settled, Settlement, StartRequest
from broker.quota.limits import REASONS, Limits
from schemas.state import Hold

ANSWER_WIDTH = 6
_OVER, _HELD, _STARTED, _SETTLED = range(4)


def project_node(project_id: int) -> str:
    """A project's name among the nodes of its organization's budget tree."""
    return f"p{project_id}"


class _Levels:
    """The distinct pairs of node and limits of a batch; requests point at them by number, from 1."""

    def __init__(self) -> None:
        self.packed: list[tuple[str | int, ...]] = []
        self._numbers: dict[int, tuple[Limits, list[int]]] = {}

    def of_project(self, project_id: int, limits: Limits) -> list[int]:
        known = self._numbers.get(project_id)
        if known is not None and known[0] == limits:
            return known[1]
        self.packed.append((project_node(project_id), *limits.caps()))
        self._numbers[project_id] = limits, [len(self.packed)]
        return [len(self.packed)]


def pack_reserve(requests: Sequence[ReserveRequest]) -> Any:
    levels = _Levels()
    items = [
        (
            request.hold_id,
            request.nanodollars,
            request.input_tokens,
            request.output_tokens,
            levels.of_project(request.project_id, request.limits),
            request.ttl_ms,
        )
        for request in requests
    ]
    return levels.packed, items


def pack_start(requests: Sequence[StartRequest]) -> Any:
    levels = _Levels()
    items = [
        (
            request.hold.id,
            request.hold.nanodollars,
            request.hold.input_tokens,
            request.hold.output_tokens,
            levels.of_project(request.project_id, request.limits),
        )
        for request in requests
    ]
    return levels.packed, items


def pack_settle(settlements: Sequence[Settlement]) -> Any:
    return [
        (item.hold.id, project_node(item.project_id), item.nanodollars, item.hold.day, item.hold.minute)
        for item in settlements
    ]


def unpack_answers(numbers: Sequence[int], hold_ids: Sequence[str]) -> list[Granted | Over | Settled]:
    """`numbers` without the stamp that stands before them."""
    return [
        _answer(hold_id, *numbers[index * ANSWER_WIDTH : (index + 1) * ANSWER_WIDTH])
        for index, hold_id in enumerate(hold_ids)
    ]


def _answer(hold_id: str, kind: int, *numbers: int) -> Granted | Over | Settled:
    if kind == _OVER:
        reason, retry_at_ms, never, held, _ = numbers
        return Over(REASONS[reason - 1], retry_at_ms, never=bool(never), held=bool(held))
    nanodollars, input_tokens, output_tokens, day, minute = numbers
    hold = Hold(
        id=hold_id,
        nanodollars=nanodollars,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        day=day,
        minute=minute,
    )
    return Settled(hold) if kind == _SETTLED else Granted(hold, started=kind == _STARTED)
