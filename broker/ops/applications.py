"""Applications: who publishes jobs and where the replies go."""

from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound
from broker.ops import projects
from broker.ops.changes import change, check_name, record_change
from broker.ops.projects import Address
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables import identity
from broker.store.tables.identity import applications


class ApplicationRow(NamedTuple):
    """One application. Its name is unique over all organizations."""

    id: int
    name: str
    project: Address
    created_ms: int


async def create(database: Database, name: str, project: Address) -> ApplicationRow:
    """The topics are the caller's to make.

    Raises NotFound without the project, Conflict where the name is taken.
    """
    check_name("an application", name)
    async with change(database) as connection:
        if await find(connection, name) is not None:
            raise Conflict(f"application {name} is there already: names are unique over all organizations")
        return await add(connection, name, project)


async def list_all(database: Database) -> list[ApplicationRow]:
    """By name."""
    async with database.connect() as connection:
        rows = await connection.execute(_SELECT.order_by(applications.c.name))
        return [_row(row) for row in rows]


async def show(database: Database, name: str) -> ApplicationRow:
    """Raises NotFound."""
    async with database.connect() as connection:
        return await get(connection, name)


async def names(database: Database) -> list[str]:
    """Sorted."""
    async with database.connect() as connection:
        return list(await connection.scalars(select(applications.c.name).order_by(applications.c.name)))


async def add(connection: AsyncConnection, name: str, project: Address) -> ApplicationRow:
    """Raises NotFound without the project."""
    row = {
        "project_id": (await projects.get(connection, project)).id,
        "name": name,
        "created_ms": now_ms(),
    }
    made = await connection.execute(insert(applications).values(row).returning(applications))
    stored = made.one()
    subject = f"application:{name}"
    await record_change(connection, "application.create", subject, {}, {"project": str(project)})
    return ApplicationRow(stored.id, name, project, stored.created_ms)


async def find(connection: AsyncConnection, name: str) -> ApplicationRow | None:
    """By name."""
    row = (await connection.execute(_SELECT.where(applications.c.name == name))).one_or_none()
    return None if row is None else _row(row)


async def get(connection: AsyncConnection, name: str) -> ApplicationRow:
    """Raises NotFound."""
    found = await find(connection, name)
    if found is None:
        raise NotFound(f"no application {name}; `headworks apps list` names them")
    return found


_SELECT = (
    select(
        applications.c.id,
        applications.c.name,
        identity.organizations.c.name.label("organization"),
        identity.projects.c.name.label("project"),
        applications.c.created_ms,
    )
    .join_from(applications, identity.projects)
    .join(identity.organizations)
)


def _row(row: Any) -> ApplicationRow:
    return ApplicationRow(row.id, row.name, Address(row.organization, row.project), row.created_ms)
