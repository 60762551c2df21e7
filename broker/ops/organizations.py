"""Organizations: who is billed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound
from broker.identity.settings import OrganizationSettings, read_settings
from broker.ops.changes import anything, change, check_name, record_change
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables.identity import organizations


class Organization(NamedTuple):
    """One organization."""

    id: int
    name: str
    settings: OrganizationSettings
    created_ms: int


async def create(database: Database, name: str, settings: OrganizationSettings | None = None) -> Organization:
    """Without `settings` nothing is limited. Raises Conflict where the name is taken."""
    check_name("an organization", name)
    async with change(database) as connection:
        if await find(connection, name) is not None:
            raise Conflict(f"organization {name} is there already; `headworks orgs set` changes it")
        return await add(connection, name, settings)


async def set_settings(
    database: Database,
    name: str,
    changes: dict[str, Any],
    check: Callable[[OrganizationSettings], None] = anything,
) -> Organization:
    """Change the named fields of OrganizationSettings, not the rest. `check` may raise on those of before.

    Raises NotFound, and SettingsInvalid on an unknown field or a value out of bounds.
    """
    async with change(database) as connection:
        found = await get(connection, name)
        check(found.settings)
        document = found.settings.model_dump(mode="json") | changes
        settings = read_settings(OrganizationSettings, f"organization {name}", document)
        values = {"settings": settings.model_dump(mode="json", exclude_defaults=True)}
        await connection.execute(update(organizations).where(organizations.c.id == found.id).values(values))
        before = found.settings.model_dump(mode="json")
        await record_change(connection, "organization.set", name, before, settings.model_dump(mode="json"))
        return found._replace(settings=settings)


async def show(database: Database, name: str) -> Organization:
    """Raises NotFound."""
    async with database.connect() as connection:
        return await get(connection, name)


async def list_all(database: Database) -> list[Organization]:
    """By name."""
    async with database.connect() as connection:
        rows = await connection.execute(select(organizations).order_by(organizations.c.name))
        return [_organization(row) for row in rows]


async def add(
    connection: AsyncConnection, name: str, settings: OrganizationSettings | None = None
) -> Organization:
    """Inside a change whose caller has looked that the name is free."""
    stored = {} if settings is None else settings.model_dump(mode="json", exclude_defaults=True)
    row = {"name": name, "settings": stored, "created_ms": now_ms()}
    made = await connection.execute(insert(organizations).values(row).returning(organizations))
    found = _organization(made.one())
    await record_change(connection, "organization.create", name, {}, found.settings.model_dump(mode="json"))
    return found


async def find(connection: AsyncConnection, name: str) -> Organization | None:
    """By name."""
    row = (await connection.execute(select(organizations).where(organizations.c.name == name))).one_or_none()
    return None if row is None else _organization(row)


async def get(connection: AsyncConnection, name: str) -> Organization:
    """Raises NotFound."""
    found = await find(connection, name)
    if found is None:
        raise NotFound(f"no organization {name}; `headworks orgs list` names them")
    return found


def _organization(row: Any) -> Organization:
    settings = read_settings(OrganizationSettings, f"organization {row.name}", row.settings)
    return Organization(row.id, row.name, settings, row.created_ms)


async def time_zones(database: Database) -> dict[int, str]:
    """By the organizations' ids."""
    return {each.id: each.settings.time_zone for each in await list_all(database)}
