"""All that an application needs to publish, made where it is missing: for `headworks dev` and tests."""

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict
from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.ops import applications, keys, organizations, projects
from broker.ops.applications import ApplicationRow
from broker.ops.changes import change, check_name
from broker.ops.projects import Address
from broker.store.database import Database


async def bootstrap(
    database: Database, kek: bytes, address: Address, application: str, settings: ProjectSettings
) -> Credential:
    """Make organization, project and application where they are missing, and always a fresh key.

    A project that is there keeps its settings. Raises Conflict where another project owns the application,
    SecretMissing where `kek` is not the one of the other keys.
    """
    check_name("an application", application)
    async with change(database) as connection:
        await ensure_organization(connection, address.organization)
        await ensure_project(connection, address, settings)
        return await keys.add(connection, kek, await ensure_application(connection, application, address))


async def ensure_organization(connection: AsyncConnection, name: str) -> None:
    """Make it where it is missing."""
    if await organizations.find(connection, name) is None:
        await organizations.add(connection, name)


async def ensure_project(connection: AsyncConnection, address: Address, settings: ProjectSettings) -> None:
    """Make it where it is missing; one that is there keeps its settings."""
    if await projects.find(connection, address) is None:
        await projects.add(connection, address, settings)


async def ensure_application(connection: AsyncConnection, name: str, project: Address) -> ApplicationRow:
    """Raises Conflict where another project owns it."""
    found = await applications.find(connection, name)
    if found is None:
        return await applications.add(connection, name, project)
    if found.project != project:
        raise Conflict(f"application {name} belongs to project {found.project}")
    return found
