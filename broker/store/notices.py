"""Notices and their deliveries: entered once, claimed by one process at a time, and tried until they end.

A claim is a compare-and-swap on when a delivery is due: whoever dies with one leaves it to the next, who
finds it due again. So a notice may arrive twice, under the same id.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.bulk import insert_rows
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables.notices import deliveries, notices, webhooks

EVENTS: Final = "events"
"""The destination that is a topic. No webhook has this id."""

CLAIM_MS: Final = 60_000
"""How long whoever claims a delivery has for it."""


class Notice(NamedTuple):
    """`id` says what it is about, so that it is entered once; `body` is what is sent."""

    id: str
    organization_id: int
    body: Mapping[str, Any]


class Delivery(NamedTuple):
    """One that this process has claimed. `tries`: with the one that it is claimed for."""

    notice: Notice
    destination: str
    tries: int
    due_ms: int
    at_ms: int
    """When its notice was entered."""


class Hook(NamedTuple):
    id: str
    organization_id: int
    url: str
    secret_wrapped: bytes


class Notices:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, found: Sequence[Notice]) -> int:
        """Those not on record yet, each with deliveries to the topic and to each webhook; how many."""
        if not found:
            return 0
        async with self._database.begin() as connection:
            at_ms = (await connection.execute(select(now_ms()))).scalar_one()
            rows = [each._asdict() | {"at_ms": at_ms} for each in found]
            fresh = {row.id for row in await insert_rows(connection, notices, rows, ["id"])}
            new = [each for each in found if each.id in fresh]
            hooks = await _hooks(connection, {each.organization_id for each in new})
            places = [
                (each.id, place)
                for each in new
                for place in (
                    EVENTS,
                    *(hook.id for hook in hooks if hook.organization_id == each.organization_id),
                )
            ]
            await insert_rows(connection, deliveries, [_entered(*place, at_ms) for place in places])
        return len(fresh)

    async def claim(self, limit: int) -> list[Delivery]:
        """Deliveries that are due, the longest due first."""
        async with self._database.begin() as connection:
            found = list(await connection.execute(_DUE, {"limit": limit}))
            claimed = []
            for row in found:
                taken = (await connection.execute(_CLAIM, _claim(row))).one_or_none()
                if taken is not None:
                    notice = Notice(row.notice_id, row.organization_id, row.body)
                    claimed.append(
                        Delivery(notice, row.destination, row.tries + 1, taken.due_ms, row.entered_ms)
                    )
        return claimed

    async def ended(self, delivery: Delivery, code: str | None) -> None:
        """It arrived (no code), or is given up."""
        await self._set(delivery, code, None)

    async def later(self, delivery: Delivery, code: str, after_ms: int) -> None:
        await self._set(delivery, code, now_ms() + after_ms)

    async def _set(self, delivery: Delivery, code: str | None, due: Any) -> None:
        """Nothing where another has claimed it meanwhile."""
        statement = (
            update(deliveries)
            .where(
                deliveries.c.notice_id == delivery.notice.id,
                deliveries.c.destination == delivery.destination,
                deliveries.c.due_ms == delivery.due_ms,
            )
            .values(due_ms=due, code=code)
        )
        async with self._database.connect() as connection:
            await connection.execute(statement)

    async def hook(self, hook_id: str) -> Hook | None:
        """None where it was removed."""
        async with self._database.connect() as connection:
            row = (await connection.execute(_HOOKS.where(webhooks.c.id == hook_id))).one_or_none()
            return None if row is None else Hook(*row)

    async def forget(self, before_ms: int) -> None:
        """Notices entered before, whose windows are long closed, with their deliveries."""
        async with self._database.begin() as connection:
            old = select(notices.c.id).where(notices.c.at_ms < before_ms)
            await connection.execute(delete(deliveries).where(deliveries.c.notice_id.in_(old)))
            await connection.execute(delete(notices).where(notices.c.at_ms < before_ms))


_HOOKS = select(webhooks.c.id, webhooks.c.organization_id, webhooks.c.url, webhooks.c.secret_wrapped).where(
    webhooks.c.removed_ms.is_(None)
)

_DUE = (
    select(
        deliveries.c.notice_id,
        deliveries.c.destination,
        deliveries.c.tries,
        deliveries.c.due_ms,
        notices.c.organization_id,
        notices.c.body,
        notices.c.at_ms.label("entered_ms"),
    )
    .join(notices, notices.c.id == deliveries.c.notice_id)
    .where(deliveries.c.due_ms <= now_ms())
    .order_by(deliveries.c.due_ms)
    .limit(bindparam("limit"))
)
_CLAIM = (
    update(deliveries)
    .where(
        deliveries.c.notice_id == bindparam("of_notice"),
        deliveries.c.destination == bindparam("at_destination"),
        deliveries.c.due_ms == bindparam("seen_ms"),
    )
    .values(due_ms=now_ms() + CLAIM_MS, tries=deliveries.c.tries + 1)
    .returning(deliveries.c.due_ms)
)


async def _hooks(connection: AsyncConnection, organizations: set[int]) -> list[Hook]:
    statement = _HOOKS.where(webhooks.c.organization_id.in_(organizations))
    return [Hook(*row) for row in await connection.execute(statement)]


def _entered(notice_id: str, destination: str, at_ms: int) -> dict[str, Any]:
    return {
        "notice_id": notice_id,
        "destination": destination,
        "tries": 0,
        "due_ms": at_ms,
        "at_ms": at_ms,
    }


def _claim(row: Any) -> dict[str, Any]:
    return {"of_notice": row.notice_id, "at_destination": row.destination, "seen_ms": row.due_ms}
