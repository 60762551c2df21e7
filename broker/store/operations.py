"""What operators changed, as an audit chain of its own beside those of the jobs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit import chain
from broker.store import positions
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.positions import Place
from broker.store.tables.audit import audit

PLACE: Final = Place("operations", 0)
"""No topic has this name, so it can be no chain of SETTLE's."""


class Operation(NamedTuple):
    """`before` and `after` have the fields that changed; what was not there before has no `before`."""

    actor: str
    action: str
    subject: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class OperationRow(NamedTuple):
    at_ms: int
    operation: Operation


async def record(connection: AsyncConnection, operation: Operation) -> None:
    """Append to the chain, within the transaction of the change itself.

    Inside `broker.ops.changes.change`: the lock that it takes lets one change at a time come here.
    """
    head = await positions.read(connection, PLACE)
    at_ms = (await connection.execute(select(now_ms()))).scalar_one()
    canonical = chain.canonical({"at_ms": at_ms, **operation._asdict()})
    hashed = chain.link(head.chain_head, canonical)
    row = {
        "topic": head.topic,
        "partition": head.partition,
        "position": head.chain_length,
        "entry": orjson.loads(canonical),
        "hash": hashed,
    }
    await connection.execute(insert(audit).values(row))
    length = head.chain_length + 1
    goal = head._replace(next_offset=length, chain_length=length, chain_head=hashed)
    await positions.move(connection, [(head, goal)], {})


async def last_on(connection: AsyncConnection, action: str, subject: str) -> Operation | None:
    """The last of one kind on one subject, within a transaction."""
    statement = (
        _entries()
        .where(audit.c.entry["subject"].as_string() == subject, audit.c.entry["action"].as_string() == action)
        .limit(1)
    )
    entry = await connection.scalar(statement)
    return None if entry is None else _row(entry).operation


async def latest(database: Database, limit: int, subject: str | None = None) -> Sequence[OperationRow]:
    """The last `limit` operations, of all or on one subject, the newest first. Raises DatabaseUnavailable."""
    statement = _entries().limit(limit)
    if subject is not None:
        statement = statement.where(audit.c.entry["subject"].as_string() == subject)
    async with database.connect() as connection:
        return [_row(entry) for entry in await connection.scalars(statement)]


def _entries() -> Select[Any]:
    """The newest first."""
    return (
        select(audit.c.entry)
        .where(audit.c.topic == PLACE.topic, audit.c.partition == PLACE.partition)
        .order_by(audit.c.position.desc())
    )


def _row(entry: Mapping[str, Any]) -> OperationRow:
    fields = {name: entry[name] for name in Operation._fields}
    return OperationRow(entry["at_ms"], Operation(**fields))
