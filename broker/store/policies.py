"""Policy documents by their content, and in which order operators made which of them decide."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.policy.policy_set import Activation, Kind
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables.policy import policy_activations, policy_revisions

_COLUMNS = [policy_activations.c[name] for name in Activation._fields]


class Stored(NamedTuple):
    """`id`: SHA-256 of the document's canonical form, in hexadecimal."""

    id: str
    text: str
    created_ms: int


class Policies:
    """As a worker follows them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beyond(self, number: int) -> list[Activation]:
        """Those after the one of that number, in order."""
        async with self._database.connect() as connection:
            return await beyond(connection, number)

    async def texts(self, ids: Collection[str]) -> dict[str, str]:
        """By id."""
        if not ids:
            return {}
        query = select(policy_revisions.c.id, policy_revisions.c.text)
        async with self._database.connect() as connection:
            found = await connection.execute(query.where(policy_revisions.c.id.in_(sorted(ids))))
            return {row.id: row.text for row in found}


async def beyond(connection: AsyncConnection, number: int = 0) -> list[Activation]:
    """The activations after the one of that number, which count from 1."""
    query = select(*_COLUMNS).where(policy_activations.c.number > number)
    found = await connection.execute(query.order_by(policy_activations.c.number))
    return [Activation(*row) for row in found]


async def append(
    connection: AsyncConnection, project_id: int | None, kind: Kind, revision: str | None
) -> None:
    """Inside `broker.ops.changes.change`: its lock lets one come after another, so numbers have no gaps."""
    last = select(func.coalesce(func.max(policy_activations.c.number), 0))
    row = {
        "number": (await connection.execute(last)).scalar_one() + 1,
        "project_id": project_id,
        "kind": kind,
        "revision": revision,
        "at_ms": now_ms(),
    }
    await connection.execute(insert(policy_activations).values(row))


async def keep(connection: AsyncConnection, id_: str, text: str) -> bool:
    """Inside `change`, as `append`. Whether it is new; of a document that is there the first text stays."""
    if await connection.scalar(select(policy_revisions.c.id).where(policy_revisions.c.id == id_)) is not None:
        return False
    row = {"id": id_, "text": text, "created_ms": now_ms()}
    await connection.execute(insert(policy_revisions).values(row))
    return True


async def find(connection: AsyncConnection, prefix: str, limit: int = 2) -> Sequence[Stored]:
    """Those whose ids begin so. `prefix`: hexadecimal digits."""
    query = select(policy_revisions).where(policy_revisions.c.id.startswith(prefix, autoescape=True))
    return [Stored(*row) for row in await connection.execute(query.order_by("id").limit(limit))]


async def every(connection: AsyncConnection) -> Sequence[Stored]:
    """The oldest first."""
    query = select(policy_revisions).order_by(policy_revisions.c.created_ms, policy_revisions.c.id)
    return [Stored(*row) for row in await connection.execute(query)]
