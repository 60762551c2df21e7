"""Notices: entered once, delivered by one process at a time, until they end."""

import asyncio

from sqlalchemy import insert, update

from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.notices import EVENTS, Delivery, Notice, Notices
from broker.store.tables.identity import organizations
from broker.store.tables.notices import deliveries, webhooks

BODY = {"type": "budget.threshold", "data": {"percent": 80}}
FIRST, SECOND = Notice("first", 2, BODY), Notice("second", 3, BODY)


async def _hooks(database: Database) -> None:
    """Two of the second organization, of which one is removed; none of the third."""
    async with database.begin() as connection:
        for number in (2, 3):
            row = {"id": number, "name": f"org-{number}", "created_ms": 0}
            await connection.execute(insert(organizations).values(row))
        for name, removed_ms in (("hook-1", None), ("hook-2", 7)):
            row = {"id": name, "organization_id": 2, "url": "https://x.example/", "created_ms": 0}
            await connection.execute(
                insert(webhooks).values(row | {"secret_wrapped": b"s", "removed_ms": removed_ms})
            )


def _places(found: list[Delivery]) -> set[tuple[str, str, int]]:
    return {(each.notice.id, each.destination, each.tries) for each in found}


async def test_each_notice_goes_to_the_topic_and_to_its_organization_s_webhooks(database: Database) -> None:
    await _hooks(database)
    store = Notices(database)
    assert await store.enter([FIRST, SECOND]) == 2
    claimed = await store.claim(9)
    assert _places(claimed) == {("first", EVENTS, 1), ("first", "hook-1", 1), ("second", EVENTS, 1)}
    assert claimed[0].notice.body == BODY


async def test_a_notice_is_entered_once(database: Database) -> None:
    store = Notices(database)
    assert await store.enter([FIRST]) == 1
    assert await store.enter([FIRST, SECOND]) == 1
    assert await store.enter([]) == 0
    assert len(await store.claim(9)) == 2


async def test_what_is_claimed_is_nobody_else_s(database: Database) -> None:
    store = Notices(database)
    await store.enter([Notice(f"n{number}", 3, BODY) for number in range(20)])
    halves = await asyncio.gather(store.claim(20), store.claim(20))
    assert sum(map(len, halves)) == 20
    assert await store.claim(20) == []


async def test_what_its_claimant_died_with_is_claimed_again(database: Database) -> None:
    store = Notices(database)
    await store.enter([FIRST])
    (lost,) = await store.claim(1)
    async with database.begin() as connection:
        await connection.execute(update(deliveries).values(due_ms=now_ms() - 1))
    (again,) = await store.claim(1)
    assert (again.notice, again.tries) == (FIRST, 2)
    await store.ended(lost, None)  # comes too late, and ends nothing
    await store.later(again, "timeout", -1)
    (third,) = await store.claim(1)
    assert third.tries == 3


async def test_what_has_ended_is_not_due_again(database: Database) -> None:
    store = Notices(database)
    await store.enter([FIRST])
    (delivery,) = await store.claim(1)
    await store.ended(delivery, None)
    assert await store.claim(1) == []


async def test_a_later_try_waits(database: Database) -> None:
    store = Notices(database)
    await store.enter([FIRST])
    (delivery,) = await store.claim(1)
    await store.later(delivery, "status_500", 3_600_000)
    assert await store.claim(1) == []


async def test_a_webhook_that_was_removed_is_none(database: Database) -> None:
    await _hooks(database)
    store = Notices(database)
    found = await store.hook("hook-1")
    assert found is not None
    assert (found.organization_id, found.url, found.secret_wrapped) == (2, "https://x.example/", b"s")
    assert await store.hook("hook-2") is None


async def test_old_notices_are_forgotten_with_their_deliveries(database: Database) -> None:
    store = Notices(database)
    await store.enter([FIRST])
    await store.forget(0)
    assert await store.enter([FIRST]) == 0
    await store.forget(2**62)
    assert await store.claim(9) == []
    assert await store.enter([FIRST]) == 1
