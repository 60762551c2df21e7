"""Who may send what: a snapshot of the identity tables, refreshed when they change."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from pydantic import Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import ConfigurationError, DirectoryBehind, SecretMissing, SettingsInvalid, Unavailable
from broker.identity.wrapping import unwrap
from broker.pricing.book import ModelPrice
from broker.store.database import Database
from broker.store.tables import applications, directory_revision, keys, projects
from broker.telemetry.events import Event
from schemas.base import Record
from schemas.bodies import TOKENS_MAX
from schemas.envelope import TTL_S_MAX

_log = structlog.stdlib.get_logger(__name__)

NANODOLLARS_MAX = 2**53 - 1
"""Redis scripts count in doubles, so no amount of money may exceed what a double holds exactly."""


class ProjectSettings(Record):
    """What a project may do. Stored as JSON in `projects.settings`."""

    models_allowed: tuple[str, ...] | None = None
    """None allows every model that has a price."""
    output_tokens_default: int = Field(1024, ge=1, le=TOKENS_MAX)
    """The output limit of a request that sets none."""
    ttl_s_max: int = Field(TTL_S_MAX, ge=1, le=TTL_S_MAX)
    nanodollars_per_day: int | None = Field(None, ge=0, le=NANODOLLARS_MAX)
    """None sets no budget."""
    requests_per_minute: int | None = Field(None, ge=0, le=NANODOLLARS_MAX)
    prices: tuple[ModelPrice, ...] = ()
    """Put before the price book: models that it lacks, terms of the project's own."""

    @model_validator(mode="after")
    def _names_one_price(self) -> Self:
        names = [name for price in self.prices for name in (price.model, *price.aliases)]
        if len(set(names)) < len(names):
            raise ValueError("a name stands for two prices")
        return self


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
class _Snapshot:
    revision: int = -1
    projects: dict[int, Project] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    unreadable: tuple[ConfigurationError, ...] = ()


class Directory:
    """The identity tables in memory.

    `async with Directory(database, kek, refresh_ms)` loads them, and from then on asks every `refresh_ms` for
    the one number that each change raises; a change, and so a revocation, is seen no later than that and a
    query. While the database is away the last snapshot stays: nothing is admitted without it anyway.

    Entering raises Unavailable where the database is away, and ConfigurationError where the key-encryption
    key does not fit or a project's settings cannot be read: no worker starts half-blind. Should a later
    change bring such an entry, its last readable state stays, and the fault is logged.
    """

    def __init__(self, database: Database, kek: bytes, refresh_ms: int) -> None:
        self._database = database
        self._kek = kek
        self._refresh_ms = refresh_ms
        self._snapshot = _Snapshot()
        self._away = False
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        snapshot = await self._load(self._snapshot)
        for error in snapshot.unreadable:
            raise error
        self._snapshot = snapshot
        self._following = asyncio.create_task(self._follow(), name="directory")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    def key(self, key_id: str) -> Key | None:
        """A revoked key is given too, so that it can be refused by name."""
        return self._current().keys.get(key_id)

    def project(self, project_id: int) -> Project:
        """Raises DirectoryBehind where it is not known: whoever names it by its id has read of it elsewhere,
        and the next refresh brings it.
        """
        found = self._current().projects.get(project_id)
        if found is None:
            raise DirectoryBehind(f"project {project_id} is not known here yet")
        return found

    @property
    def projects(self) -> dict[int, Project]:
        return self._current().projects

    @property
    def applications(self) -> dict[str, Application]:
        """By name."""
        return self._current().applications

    @property
    def revision(self) -> int:
        return self._current().revision

    async def refresh(self) -> None:
        """Look for a change now. Raises Unavailable where the database is away."""
        async with self._database.connect() as connection:
            revision = await _revision(connection)
        if revision != self._snapshot.revision:
            self._adopt(await self._load(self._snapshot))

    def _current(self) -> _Snapshot:
        """Raises DirectoryBehind where an unforeseen error has ended the refreshing: a directory that no
        longer follows must not be believed, and no job may end for it.
        """
        if self._following is not None and self._following.done():
            cause = self._following.exception()
            raise DirectoryBehind("changes are followed no more: start the process anew") from cause
        return self._snapshot

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_ms / 1000)
            try:
                await self.refresh()
            except Unavailable as error:
                self._note_away(error)
            else:
                self._note_back()

    def _note_away(self, error: Unavailable) -> None:
        if not self._away:
            _log.warning(Event.DIRECTORY_UNAVAILABLE, code=error.code, revision=self._snapshot.revision)
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            _log.info(Event.DIRECTORY_AVAILABLE, revision=self._snapshot.revision)
        self._away = False

    def _adopt(self, snapshot: _Snapshot) -> None:
        for error in snapshot.unreadable:
            _log.error(Event.DIRECTORY_ENTRY_UNREADABLE, code=error.code, detail=str(error))
        _log.info(Event.DIRECTORY_REFRESHED, revision=snapshot.revision, keys=len(snapshot.keys))
        self._snapshot = snapshot

    async def _load(self, last: _Snapshot) -> _Snapshot:
        async with self._database.connect() as connection:
            rows = await _read(connection)
        return _assemble(rows, self._kek, last)


class _Rows(NamedTuple):
    revision: int
    keys: list[Any]
    applications: list[Any]
    projects: list[Any]


async def _revision(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(select(directory_revision.c.revision))).scalar_one()
    return found


async def _read(connection: AsyncConnection) -> _Rows:
    """The revision first, and what is pointed at after what points: rows are added and changed, never
    deleted, so whatever is committed in between leaves nothing dangling and is seen the next time.
    """
    revision = await _revision(connection)
    tables = [list(await connection.execute(select(table))) for table in (keys, applications, projects)]
    return _Rows(revision, *tables)


def _assemble(rows: _Rows, kek: bytes, last: _Snapshot) -> _Snapshot:
    """An entry that cannot be read keeps its state in `last`, if it has one there."""
    faults: list[ConfigurationError] = []
    found_projects = _projects(rows, last, faults)
    found_applications = {row.id: Application(row.id, row.project_id, row.name) for row in rows.applications}
    found_keys: dict[str, Key] = {}
    for row in rows.keys:
        application = found_applications[row.application_id]
        project = found_projects.get(application.project_id)
        key = None if project is None else _key(row, application, project, _secret(row, kek, last, faults))
        if key is not None:
            found_keys[key.id] = key
    by_name = {application.name: application for application in found_applications.values()}
    return _Snapshot(rows.revision, found_projects, by_name, found_keys, tuple(faults))


def _projects(rows: _Rows, last: _Snapshot, faults: list[ConfigurationError]) -> dict[int, Project]:
    found: dict[int, Project] = {}
    for row in rows.projects:
        try:
            settings = read_settings(row.name, row.settings)
        except SettingsInvalid as error:
            faults.append(error)
            if row.id in last.projects:
                found[row.id] = last.projects[row.id]
        else:
            found[row.id] = Project(row.id, row.organization_id, row.name, settings)
    return found


def _secret(row: Any, kek: bytes, last: _Snapshot, faults: list[ConfigurationError]) -> bytes | None:
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


def _key(row: Any, application: Application, project: Project, secret: bytes | None) -> Key | None:
    if secret is None:
        return None
    return Key(
        id=row.id,
        application=application.name,
        application_id=application.id,
        organization_id=project.organization_id,
        project_id=project.id,
        secret=secret,
        revoked=row.revoked_ms is not None,
    )


def read_settings(project: str, document: Any) -> ProjectSettings:
    """Raises SettingsInvalid, naming the project and each wrong field."""
    try:
        return ProjectSettings.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        fields = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in details)
        raise SettingsInvalid(f"settings of project {project} are not valid: {fields}") from None
