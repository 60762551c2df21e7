"""The JSON that goes to the scripts and the numbers that come back. The scripts say what each place means."""

from collections.abc import Iterable, Sequence
from typing import Any

from broker.quota.budget import ORGANIZATION_NODE, Budget, PackedLevel, key_node, project_node
from broker.quota.counters import NodeOf
from broker.quota.gate import (
    Corrections,
    Granted,
    Over,
    Release,
    ReserveRequest,
    Settled,
    Settlement,
    StartRequest,
)
from broker.quota.limits import LEVELS, REASONS
from schemas.state import Hold

ANSWER_WIDTH = 7
_OVER, _HELD, _STARTED, _SETTLED = range(4)
_JOBS_CAP = 1 + REASONS.index("jobs_in_flight")


class _Branches:
    """The distinct budgets of a batch, and their distinct levels; requests point at budgets, and those at
    levels, by number from 1.
    """

    def __init__(self) -> None:
        self.levels: dict[PackedLevel, int] = {}
        self.packed: list[list[int]] = []
        self._numbers: dict[tuple[int, int | None], int] = {}

    def number(self, budget: Budget, jobs_in_flight_max: int | None = None) -> int:
        # By identity: the batch keeps its budgets alive, and an equal one is but packed once more.
        known = self._numbers.get((id(budget), jobs_in_flight_max))
        return known or self._add(budget, jobs_in_flight_max)

    def _add(self, budget: Budget, jobs_in_flight_max: int | None) -> int:
        organization, project, key = budget.packed
        if jobs_in_flight_max is not None:
            project = _narrowed(project, jobs_in_flight_max)
        self.packed.append(
            [self.levels.setdefault(level, len(self.levels) + 1) for level in (organization, project, key)]
        )
        self._numbers[id(budget), jobs_in_flight_max] = len(self.packed)
        return len(self.packed)


def _narrowed(level: PackedLevel, jobs_in_flight_max: int) -> PackedLevel:
    cap = min(int(level[_JOBS_CAP]), jobs_in_flight_max)
    return (*level[:_JOBS_CAP], cap, *level[_JOBS_CAP + 1 :])


def pack_reserve(requests: Sequence[ReserveRequest]) -> list[Any]:
    branches = _Branches()
    items = [
        (
            request.hold_id,
            request.nanodollars,
            request.input_tokens,
            request.output_tokens,
            branches.number(request.budget, request.jobs_in_flight_max),
            request.ttl_ms,
        )
        for request in requests
    ]
    return [list(branches.levels), branches.packed, items]


def pack_start(requests: Sequence[StartRequest]) -> list[Any]:
    branches = _Branches()
    items = [
        (
            request.hold.id,
            request.hold.nanodollars,
            request.hold.input_tokens,
            request.hold.output_tokens,
            branches.number(request.budget),
        )
        for request in requests
    ]
    return [list(branches.levels), branches.packed, items]


def pack_settle(settlements: Sequence[Settlement]) -> list[Any]:
    items = [
        (
            item.hold.id,
            branch(item.project_id, item.key_id),
            item.nanodollars,
            item.tokens,
            item.hold.day,
            item.hold.month,
            item.hold.minute,
        )
        for item in settlements
    ]
    return [items]


def pack_correct(batches: Sequence[Corrections]) -> list[Any]:
    return [
        [
            (
                str(batch.id),
                batch.month,
                [
                    (branch(each.project_id, each.key_id), each.nanodollars, each.tokens, each.day)
                    for each in batch.changes
                ],
            )
            for batch in batches
        ]
    ]


def pack_release(releases: Sequence[Release]) -> list[Any]:
    return [[(release.hold_id,) for release in releases]]


def pack_nodes(nodes: Sequence[NodeOf]) -> list[Any]:
    return [[node.node for node in nodes]]


def branch(project_id: int, key_id: str | None) -> str:
    """The names of the nodes that count a hold, joined. Of one from before keys were counted two are left."""
    names = f"{ORGANIZATION_NODE},{project_node(project_id)}"
    return names if key_id is None else f"{names},{key_node(key_id)}"


def unpack_hold(hold_id: str, numbers: Iterable[int]) -> Hold:
    """`numbers` as the scripts keep and answer them."""
    nanodollars, input_tokens, output_tokens, day, month, minute = numbers
    return Hold(
        id=hold_id,
        nanodollars=nanodollars,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        day=day,
        month=month,
        minute=minute,
    )


def unpack_answers(numbers: Sequence[int], hold_ids: Sequence[str]) -> list[Granted | Over | Settled]:
    """`numbers` without the stamp that stands before them."""
    return [
        _answer(hold_id, *numbers[index * ANSWER_WIDTH : (index + 1) * ANSWER_WIDTH])
        for index, hold_id in enumerate(hold_ids)
    ]


def _answer(hold_id: str, kind: int, *numbers: int) -> Granted | Over | Settled:
    if kind == _OVER:
        reason, level, retry_at_ms, never, held, _ = numbers
        return Over(REASONS[reason - 1], LEVELS[level - 1], retry_at_ms, never=bool(never), held=bool(held))
    hold = unpack_hold(hold_id, numbers)
    return Settled(hold) if kind == _SETTLED else Granted(hold, started=kind == _STARTED)
