"""Projects: what their jobs may ask for. One is addressed as `organization/project`."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound, SettingsInvalid
from broker.identity.settings import ProjectSettings, read_settings
from broker.ops import organizations
from broker.ops.changes import anything, change, check_name, record_change
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables import identity
from broker.store.tables.identity import projects


class Address(NamedTuple):
    """Written `organization/project`."""

    organization: str
    project: str

    def __str__(self) -> str:
        return f"{self.organization}/{self.project}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises SettingsInvalid on another form."""
        organization, slash, project = text.partition("/")
        if not slash:
            raise SettingsInvalid(f"a project is written organization/project, not {text[:80]!r}")
        return cls(check_name("an organization", organization), check_name("a project", project))


class ProjectRow(NamedTuple):
    """One project."""

    id: int
    address: Address
    settings: ProjectSettings
    created_ms: int


async def create(database: Database, address: Address, settings: ProjectSettings) -> ProjectRow:
    """Raises NotFound without the organization, Conflict where the name is taken."""
    async with change(database) as connection:
        if await find(connection, address) is not None:
            raise Conflict(f"project {address} is there already; `headworks projects set` changes it")
        return await add(connection, address, settings)


async def set_settings(
    database: Database,
    address: Address,
    changes: dict[str, Any],
    check: Callable[[ProjectSettings], None] = anything,
) -> ProjectRow:
    """Change the named fields of ProjectSettings, not the rest. `check` may raise on those of before.

    Raises NotFound, and SettingsInvalid on an unknown field or a value out of bounds.
    """
    async with change(database) as connection:
        project = await get(connection, address)
        check(project.settings)
        document = project.settings.model_dump(mode="json") | changes
        settings = read_settings(ProjectSettings, f"project {address}", document)
        stored = settings.model_dump(mode="json", exclude_defaults=True)
        await connection.execute(update(projects).where(projects.c.id == project.id).values(settings=stored))
        before = project.settings.model_dump(mode="json")
        await record_change(connection, "project.set", str(address), before, settings.model_dump(mode="json"))
        return project._replace(settings=settings)


async def show(database: Database, address: Address) -> ProjectRow:
    """Raises NotFound."""
    async with database.connect() as connection:
        return await get(connection, address)


async def list_all(database: Database) -> list[ProjectRow]:
    """By organization, then name."""
    async with database.connect() as connection:
        rows = await connection.execute(_SELECT.order_by(identity.organizations.c.name, projects.c.name))
        return [_row(row) for row in rows]


async def add(connection: AsyncConnection, address: Address, settings: ProjectSettings) -> ProjectRow:
    """Raises NotFound without the organization."""
    organization = await organizations.get(connection, address.organization)
    row = {
        "organization_id": organization.id,
        "name": address.project,
        "settings": settings.model_dump(mode="json", exclude_defaults=True),
        "created_ms": now_ms(),
    }
    made = await connection.execute(insert(projects).values(row).returning(projects))
    stored = made.one()
    await record_change(connection, "project.create", str(address), {}, settings.model_dump(mode="json"))
    return ProjectRow(stored.id, address, settings, stored.created_ms)


async def find(connection: AsyncConnection, address: Address) -> ProjectRow | None:
    """By address."""
    organization, project = address
    query = _SELECT.where(identity.organizations.c.name == organization, projects.c.name == project)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _row(row)


async def get(connection: AsyncConnection, address: Address) -> ProjectRow:
    """Raises NotFound."""
    found = await find(connection, address)
    if found is None:
        raise NotFound(f"no project {address}; `headworks projects list` names them")
    return found


_SELECT = select(
    projects.c.id,
    identity.organizations.c.name.label("organization"),
    projects.c.name,
    projects.c.settings,
    projects.c.created_ms,
).join_from(projects, identity.organizations)


def _row(row: Any) -> ProjectRow:
    address = Address(row.organization, row.name)
    return ProjectRow(
        row.id, address, read_settings(ProjectSettings, f"project {address}", row.settings), row.created_ms
    )
