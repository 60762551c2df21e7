"""The identity tables at one revision, put together for those who look things up."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import ConfigurationError, SecretMissing, SettingsInvalid
from broker.identity.settings import KeySettings, OrganizationSettings, ProjectSettings, S, read_settings
from broker.identity.wrapping import unwrap
from broker.quota.budget import Budget
from broker.quota.limits import Limits
from broker.store.tables.identity import applications, directory_revision, keys, organizations, projects


class Organization(NamedTuple):
    id: int
    name: str
    settings: OrganizationSettings


class Project(NamedTuple):
    """Its name is unique in its organization."""

    id: int
    organization_id: int
    name: str
    settings: ProjectSettings


class Application(NamedTuple):
    """Its name is unique over all organizations, because topics are named after it."""

    id: int
    project_id: int
    name: str


class Key(NamedTuple):
    """An application's key. Its repr hides the secret."""

    id: str
    application: str
    application_id: int
    organization_id: int
    project_id: int
    secret: bytes
    revoked: bool

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, application={self.application!r}, revoked={self.revoked})"


@dataclass(frozen=True)
class Snapshot:
    revision: int = -1
    organizations: dict[int, Organization] = field(default_factory=dict)
    projects: dict[int, Project] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    """By the key's id."""
    unreadable: tuple[ConfigurationError, ...] = ()


class Rows(NamedTuple):
    revision: int
    keys: list[Any]
    applications: list[Any]
    projects: list[Any]
    organizations: list[Any]


async def read_revision(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(select(directory_revision.c.revision))).scalar_one()
    return found


async def read_rows(connection: AsyncConnection) -> Rows:
    """The revision first, and what is pointed at after what points: rows are added and changed, never
    deleted, so whatever is committed in between leaves nothing dangling and is seen the next time.
    """
    revision = await read_revision(connection)
    tables = (keys, applications, projects, organizations)
    return Rows(revision, *[list(await connection.execute(select(table))) for table in tables])


def assemble(rows: Rows, kek: bytes, last: Snapshot) -> Snapshot:
    """An entry that cannot be read keeps its state in `last`, if it has one there."""
    faults: list[ConfigurationError] = []
    found_organizations = _organizations(rows, last, faults)
    found_projects = _projects(rows, last, faults)
    found_applications = {row.id: Application(row.id, row.project_id, row.name) for row in rows.applications}
    found_keys: dict[str, Key] = {}
    budgets: dict[str, Budget] = {}
    for row in rows.keys:
        application = found_applications[row.application_id]
        project = found_projects.get(application.project_id)
        organization = None if project is None else found_organizations.get(project.organization_id)
        if project is None or organization is None:
            continue
        budget = _budget(row, project, organization, last, faults)
        if budget is not None:
            budgets[row.id] = budget
        secret = _secret(row, kek, last, faults)
        if budget is not None and secret is not None:
            found_keys[row.id] = _key(row, application, project, secret)
    by_name = {application.name: application for application in found_applications.values()}
    return Snapshot(
        rows.revision, found_organizations, found_projects, by_name, found_keys, budgets, tuple(faults)
    )


def _organizations(rows: Rows, last: Snapshot, faults: list[ConfigurationError]) -> dict[int, Organization]:
    found: dict[int, Organization] = {}
    for row in rows.organizations:
        known = last.organizations.get(row.id)
        settings = _settings(OrganizationSettings, f"organization {row.name}", row, faults)
        if settings is not None:
            found[row.id] = Organization(row.id, row.name, settings)
        elif known is not None:
            found[row.id] = known
    return found


def _projects(rows: Rows, last: Snapshot, faults: list[ConfigurationError]) -> dict[int, Project]:
    found: dict[int, Project] = {}
    for row in rows.projects:
        known = last.projects.get(row.id)
        settings = _settings(ProjectSettings, f"project {row.name}", row, faults)
        if settings is not None:
            found[row.id] = Project(row.id, row.organization_id, row.name, settings)
        elif known is not None:
            found[row.id] = known
    return found


def _budget(
    row: Any,
    project: Project,
    organization: Organization,
    last: Snapshot,
    faults: list[ConfigurationError],
) -> Budget | None:
    """That of the last snapshot where it is equal, so that what is kept for a budget stays of use."""
    known = last.budgets.get(row.id)
    limits: Limits | None = _settings(KeySettings, f"key {row.id}", row, faults)
    if limits is None and known is not None:
        limits = known.key
    if limits is None:
        return None
    found = Budget(organization.id, project.id, row.id, organization.settings, project.settings, limits)
    return known if found == known else found


def _settings(kind: type[S], name: str, row: Any, faults: list[ConfigurationError]) -> S | None:
    try:
        return read_settings(kind, name, row.settings)
    except SettingsInvalid as error:
        faults.append(error)
        return None


def _secret(row: Any, kek: bytes, last: Snapshot, faults: list[ConfigurationError]) -> bytes | None:
    """A secret never changes under its id, so one unwrapped before is not unwrapped again."""
    known = last.keys.get(row.id)
    if known is not None:
        return known.secret
    try:
        return unwrap(kek, row.id, row.secret_wrapped)
    except SecretMissing as error:
        if row.revoked_ms is None:
            faults.append(error)
        return None


def _key(row: Any, application: Application, project: Project, secret: bytes) -> Key:
    return Key(
        id=row.id,
        application=application.name,
        application_id=application.id,
        organization_id=project.organization_id,
        project_id=project.id,
        secret=secret,
        revoked=row.revoked_ms is not None,
    )
