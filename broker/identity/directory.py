"""Who may send what: a snapshot of the identity tables, refreshed when they change."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog

from broker import tasks
from broker.errors import DirectoryBehind, Unavailable
from broker.identity.settings import ProjectSettings
from broker.identity.snapshot import (
    Application,
    Key,
    Organization,
    Project,
    Snapshot,
    assemble,
    read_revision,
    read_rows,
)
from broker.quota.budget import Budget
from broker.store.database import Database
from broker.telemetry.events import Event

__all__ = ["Application", "Directory", "Key", "Organization", "Project", "ProjectSettings"]

_log = structlog.stdlib.get_logger(__name__)


class Directory:
    """The identity tables in memory.

    `async with Directory(database, kek, refresh_ms)` loads them, and from then on asks every `refresh_ms` for
    the one number that each change raises; a change, and so a revocation, is seen no later than that and a
    query. While the database is away the last snapshot stays: nothing is admitted without it anyway.

    Entering raises Unavailable where the database is away, and ConfigurationError where the key-encryption
    key does not fit or an entry's settings cannot be read: no worker starts half-blind. Should a later
    change bring such an entry, its last readable state stays, and the fault is logged.
    """

    def __init__(self, database: Database, kek: bytes, refresh_ms: int) -> None:
        self._database = database
        self._kek = kek
        self._refresh_ms = refresh_ms
        self._snapshot = Snapshot()
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
        await tasks.end(following)

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

    def budget(self, key_id: str) -> Budget:
        """The limits of a key, its project and its organization: the same object for as long as nothing
        changes. Raises DirectoryBehind where the key is not known, as `project` does.
        """
        found = self._current().budgets.get(key_id)
        if found is None:
            raise DirectoryBehind(f"key {key_id} is not known here yet")
        return found

    def organization(self, organization_id: int) -> Organization:
        """Raises DirectoryBehind where it is not known, as `project` does."""
        found = self._current().organizations.get(organization_id)
        if found is None:
            raise DirectoryBehind(f"organization {organization_id} is not known here yet")
        return found

    def time_zone(self, organization_id: int) -> str:
        """In which an organization's days and months are reckoned. Raises DirectoryBehind."""
        return self.organization(organization_id).settings.time_zone

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """Of every key, by its id."""
        return self._current().budgets

    @property
    def organizations(self) -> dict[int, Organization]:
        return self._current().organizations

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
            revision = await read_revision(connection)
        if revision != self._snapshot.revision:
            self._adopt(await self._load(self._snapshot))

    def _current(self) -> Snapshot:
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

    def _adopt(self, snapshot: Snapshot) -> None:
        for error in snapshot.unreadable:
            _log.error(Event.DIRECTORY_ENTRY_UNREADABLE, code=error.code, detail=str(error))
        _log.info(Event.DIRECTORY_REFRESHED, revision=snapshot.revision, keys=len(snapshot.keys))
        self._snapshot = snapshot

    async def _load(self, last: Snapshot) -> Snapshot:
        async with self._database.connect() as connection:
            rows = await read_rows(connection)
        return assemble(rows, self._kek, last)
