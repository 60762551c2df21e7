"""The directory: what it shows, how soon it follows, and what it does about entries that cannot be read."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Table, update

from broker.errors import DatabaseUnavailable, DirectoryBehind, SecretMissing, SettingsInvalid
from broker.identity import directory as directory_module
from broker.identity.credential import Credential
from broker.identity.directory import Directory, ProjectSettings
from broker.ops import applications, keys, organizations, projects
from broker.ops.bootstrap import bootstrap
from broker.ops.changes import change
from broker.ops.projects import Address
from broker.quota.limits import Limits
from broker.store.database import Database
from broker.store.tables import identity

SEARCH = Address("acme", "search")
REFRESH_MS = 20
DEADLINE_S = 10


class Events:
    """Takes the place of the module's logger: what was logged, and a signal at each."""

    def __init__(self) -> None:
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def _note(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))
        task = asyncio.get_running_loop().create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    info = warning = error = _note

    async def _tell(self) -> None:
        async with self._came:
            self._came.notify_all()

    def names(self) -> list[str]:
        return [event for event, _ in self.logged]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self._came:
            await self._came.wait_for(condition)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    found = Events()
    monkeypatch.setattr(directory_module, "_log", found)
    return found


@pytest.fixture
async def credential(database: Database, kek: bytes) -> Credential:
    return await bootstrap(database, kek, SEARCH, "indexer", ProjectSettings(nanodollars_per_day=5))


async def test_a_key_leads_to_its_application_its_project_and_the_secret(
    database: Database, kek: bytes, credential: Credential
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        key = directory.key(credential.key_id)
        assert key is not None
        assert (key.application, key.secret, key.revoked) == ("indexer", credential.secret, False)
        assert directory.applications["indexer"].id == key.application_id
        project = directory.project(key.project_id)
        assert (project.name, project.organization_id) == ("search", key.organization_id)
        assert project.settings == ProjectSettings(nanodollars_per_day=5)
        assert directory.key("0123456789abcdef") is None


async def test_a_key_hides_its_secret_in_its_repr(
    database: Database, kek: bytes, credential: Credential
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        assert repr(credential.secret) not in repr(directory.key(credential.key_id))


async def test_a_revocation_arrives_by_itself(
    database: Database, kek: bytes, credential: Credential, events: Events
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        await keys.revoke(database, credential.key_id)
        await events.until(lambda: "directory.refreshed" in events.names())
        key = directory.key(credential.key_id)
        assert key is not None
        assert key.revoked


async def test_new_applications_and_settings_arrive_by_themselves(
    database: Database, kek: bytes, credential: Credential, events: Events
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        await applications.create(database, "crawler", SEARCH)
        await projects.set_settings(database, SEARCH, {"requests_per_minute": 7})
        await events.until(lambda: directory.revision == 3)
        assert directory.applications.keys() == {"indexer", "crawler"}
        [project] = directory.projects.values()
        assert project.settings.requests_per_minute == 7


async def test_without_a_change_nothing_is_loaded_again(
    database: Database, kek: bytes, credential: Credential, events: Events
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        before = directory.projects
        await directory.refresh()
        assert directory.projects is before
        assert events.logged == []


async def test_while_the_database_is_away_the_last_snapshot_stays_and_it_is_said_once(
    database: Database, kek: bytes, credential: Credential, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()
    tries = 0

    def away() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            tried.set()
        raise DatabaseUnavailable("the database is away")

    async with Directory(database, kek, REFRESH_MS) as directory:
        with monkeypatch.context() as patch:
            patch.setattr(database, "connect", away)
            await asyncio.wait_for(tried.wait(), DEADLINE_S)
            assert directory.key(credential.key_id) is not None
        await events.until(lambda: "directory.available" in events.names())
    assert events.names() == ["directory.unavailable", "directory.available"]


async def test_no_directory_without_a_database(
    database: Database, kek: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("the database is away")

    monkeypatch.setattr(database, "connect", away)
    with pytest.raises(DatabaseUnavailable):
        await Directory(database, kek, REFRESH_MS).__aenter__()


async def test_another_key_encryption_key_is_told_at_the_start(
    database: Database, credential: Credential
) -> None:
    with pytest.raises(SecretMissing, match=f"does not fit key {credential.key_id}"):
        await Directory(database, bytes(32), REFRESH_MS).__aenter__()


async def test_a_revoked_key_that_cannot_be_read_stops_nobody(
    database: Database, kek: bytes, credential: Credential
) -> None:
    await keys.revoke(database, credential.key_id)
    async with Directory(database, bytes(32), REFRESH_MS) as directory:
        assert directory.key(credential.key_id) is None
        fresh = await keys.create(database, bytes(32), "indexer")
        await directory.refresh()
        assert directory.key(fresh.key_id) is not None


async def test_settings_that_cannot_be_read_are_told_at_the_start(
    database: Database, kek: bytes, credential: Credential
) -> None:
    await _spoil_settings(database)
    with pytest.raises(SettingsInvalid, match="settings of project search are not valid: colour"):
        await Directory(database, kek, REFRESH_MS).__aenter__()


async def test_settings_that_become_unreadable_leave_the_last_ones_and_other_changes_arrive(
    database: Database, kek: bytes, credential: Credential, events: Events
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        await _spoil_settings(database)
        await keys.revoke(database, credential.key_id)
        await events.until(lambda: directory.revision == 3)
        [project] = directory.projects.values()
        assert project.settings.nanodollars_per_day == 5
        key = directory.key(credential.key_id)
        assert key is not None
        assert key.revoked
    assert "directory.entry_unreadable" in events.names()


async def test_a_directory_that_cannot_follow_any_more_is_not_believed(
    database: Database, kek: bytes, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    directory = await Directory(database, kek, REFRESH_MS).__aenter__()
    monkeypatch.setattr(database, "connect", broken)
    assert directory._following is not None
    await asyncio.wait({directory._following}, timeout=DEADLINE_S)
    with pytest.raises(DirectoryBehind) as raised:
        directory.key(credential.key_id)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert raised.value.retryable
    with pytest.raises(ZeroDivisionError):
        await directory.__aexit__(None, None, None)


async def _spoil_settings(database: Database) -> None:
    async with change(database) as connection:
        await connection.execute(update(identity.projects).values(settings={"colour": "red"}))


async def test_a_budget_has_the_limits_of_key_project_and_organization(
    database: Database, kek: bytes, credential: Credential
) -> None:
    await organizations.set_settings(
        database, "acme", {"nanodollars_per_month": 9, "time_zone": "Asia/Tokyo"}
    )
    await keys.set_settings(database, credential.key_id, {"tokens_per_minute": 3})
    async with Directory(database, kek, REFRESH_MS) as directory:
        key = directory.key(credential.key_id)
        assert key is not None
        budget = directory.budget(key.id)
        assert (budget.organization_id, budget.project_id, budget.key_id) == (
            *(key.organization_id, key.project_id, key.id),
        )
        assert budget.organization.caps() == Limits(nanodollars_per_month=9).caps()
        assert budget.project.caps() == Limits(nanodollars_per_day=5).caps()
        assert budget.key.caps() == Limits(tokens_per_minute=3).caps()
        assert directory.time_zone(key.organization_id) == "Asia/Tokyo"
        assert [each.name for each in directory.organizations.values()] == ["acme"]


async def test_a_budget_stays_the_same_object_until_a_limit_of_it_changes(
    database: Database, kek: bytes, credential: Credential
) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        first = directory.budget(credential.key_id)
        await applications.create(database, "crawler", SEARCH)
        await directory.refresh()
        assert directory.budget(credential.key_id) is first
        await organizations.set_settings(database, "acme", {"requests_per_minute": 3})
        await directory.refresh()
        changed = directory.budget(credential.key_id)
        assert changed.organization.requests_per_minute == 3
        assert first.organization.requests_per_minute is None


async def test_the_budget_of_a_revoked_key_is_known_though_its_secret_is_not(
    database: Database, kek: bytes, credential: Credential
) -> None:
    """Its jobs that were admitted before go on."""
    await keys.revoke(database, credential.key_id)
    async with Directory(database, bytes(32), REFRESH_MS) as directory:
        assert directory.key(credential.key_id) is None
        assert directory.budget(credential.key_id).project.nanodollars_per_day == 5


async def test_what_the_directory_has_not_read_yet_is_waited_for(database: Database, kek: bytes) -> None:
    async with Directory(database, kek, REFRESH_MS) as directory:
        for ask in (lambda: directory.budget("new"), lambda: directory.time_zone(99)):
            with pytest.raises(DirectoryBehind) as caught:
                ask()
            assert caught.value.retryable


@pytest.mark.parametrize("table", [identity.organizations, identity.keys])
async def test_settings_of_any_level_that_become_unreadable_leave_the_last_ones(
    database: Database, kek: bytes, credential: Credential, table: Table
) -> None:
    await organizations.set_settings(database, "acme", {"requests_per_minute": 3})
    await keys.set_settings(database, credential.key_id, {"requests_per_minute": 4})
    async with Directory(database, kek, REFRESH_MS) as directory:
        async with change(database) as connection:
            await connection.execute(update(table).values(settings={"colour": "red"}))
        await directory.refresh()
        budget = directory.budget(credential.key_id)
        assert (budget.organization.requests_per_minute, budget.key.requests_per_minute) == (3, 4)
        assert directory.key(credential.key_id) is not None
    with pytest.raises(SettingsInvalid, match="colour"):
        await Directory(database, kek, REFRESH_MS).__aenter__()
