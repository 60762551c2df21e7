"""Organizations: who is billed."""

from typing import NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound
from broker.ops.changes import change, check_name
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables import organizations


class Organization(NamedTuple):
    """One organization."""

    id: int
    name: str
    created_ms: int


async def create(database: Database, name: str) -> Organization:
    """Raises Conflict where the name is taken."""
    check_name("an organization", name)
    async with change(database) as connection:
        if await find(connection, name) is not None:
            raise Conflict(f"organization {name} is there already")
        return await add(connection, name)


async def list_all(database: Database) -> list[Organization]:
    """By name."""
    async with database.connect() as connection:
        rows = await connection.execute(select(organizations).order_by(organizations.c.name))
        return [Organization(*row) for row in rows]


async def add(connection: AsyncConnection, name: str) -> Organization:
    """Inside a change whose caller has looked that the name is free."""
    row = {"name": name, "created_ms": now_ms()}
    made = await connection.execute(insert(organizations).values(row).returning(organizations))
    return Organization(*made.one())


async def find(connection: AsyncConnection, name: str) -> Organization | None:
    """By name."""
    row = (await connection.execute(select(organizations).where(organizations.c.name == name))).one_or_none()
    return None if row is None else Organization(*row)


async def get(connection: AsyncConnection, name: str) -> Organization:
    """Raises NotFound."""
    found = await find(connection, name)
    if found is None:
        raise NotFound(f"no organization {name}; `headworks orgs list` names them")
    return found
