"""What operators do to organizations, projects, applications and keys."""

import asyncio

import pytest
from sqlalchemy import select

from broker.errors import Conflict, NotFound, SecretMissing, SettingsInvalid
from broker.identity.directory import Directory, ProjectSettings
from broker.identity.settings import KeySettings, OrganizationSettings
from broker.identity.wrapping import unwrap
from broker.ops import applications, budgets, keys, organizations, projects
from broker.ops.bootstrap import bootstrap
from broker.ops.projects import Address
from broker.store.database import Database
from broker.store.tables import identity

SEARCH = Address("acme", "search")
NO_LIMITS = ProjectSettings()


async def _revision(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(select(identity.directory_revision.c.revision))).scalar_one())


async def _prepared(database: Database) -> None:
    await organizations.create(database, "acme")
    await projects.create(database, SEARCH, NO_LIMITS)
    await applications.create(database, "indexer", SEARCH)


async def test_what_is_made_is_listed(database: Database, kek: bytes) -> None:
    await _prepared(database)
    credential = await keys.create(database, kek, "indexer")
    assert [row.name for row in await organizations.list_all(database)] == ["acme"]
    assert [row.address for row in await projects.list_all(database)] == [SEARCH]
    assert [(row.name, row.project) for row in await applications.list_all(database)] == [("indexer", SEARCH)]
    [key] = await keys.list_all(database)
    assert (key.id, key.application, key.revoked_ms) == (credential.key_id, "indexer", None)
    assert await keys.list_all(database, "indexer") == [key]


async def test_every_change_raises_the_revision_by_one(database: Database, kek: bytes) -> None:
    await _prepared(database)
    credential = await keys.create(database, kek, "indexer")
    await projects.set_settings(database, SEARCH, {"requests_per_minute": 5})
    await keys.revoke(database, credential.key_id)
    assert await _revision(database) == 6


async def test_a_change_that_is_refused_leaves_the_revision(database: Database) -> None:
    await organizations.create(database, "acme")
    with pytest.raises(Conflict):
        await organizations.create(database, "acme")
    assert await _revision(database) == 1


async def test_names_that_are_taken_are_conflicts(database: Database) -> None:
    await _prepared(database)
    with pytest.raises(Conflict, match="project acme/search is there already"):
        await projects.create(database, SEARCH, NO_LIMITS)
    with pytest.raises(Conflict, match="application indexer is there already"):
        await applications.create(database, "indexer", SEARCH)


async def test_of_changes_at_once_none_is_lost(database: Database) -> None:
    await asyncio.gather(*(organizations.create(database, f"org-{number}") for number in range(8)))
    assert len(await organizations.list_all(database)) == 8
    assert await _revision(database) == 8


async def test_of_two_who_want_the_same_name_one_gets_it(database: Database) -> None:
    ends = await asyncio.gather(
        *(organizations.create(database, "acme") for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(end, Conflict) for end in ends) == 3
    assert len(await organizations.list_all(database)) == 1


async def test_what_is_named_must_be_there(database: Database, kek: bytes) -> None:
    await organizations.create(database, "acme")
    with pytest.raises(NotFound, match="no organization nobody"):
        await projects.create(database, Address("nobody", "search"), NO_LIMITS)
    with pytest.raises(NotFound, match="no project acme/search"):
        await applications.create(database, "indexer", SEARCH)
    with pytest.raises(NotFound, match="no project acme/search"):
        await projects.set_settings(database, SEARCH, {})
    with pytest.raises(NotFound, match="no project acme/search"):
        await projects.show(database, SEARCH)
    with pytest.raises(NotFound, match="no application indexer"):
        await keys.create(database, kek, "indexer")
    with pytest.raises(NotFound, match="no application indexer"):
        await keys.list_all(database, "indexer")
    with pytest.raises(NotFound, match="no key 0123456789abcdef"):
        await keys.revoke(database, "0123456789abcdef")


@pytest.mark.parametrize("name", ["", "Acme", "-acme", "acme-", "a.b", "a/b", "a b", "x" * 64, "ä"])
async def test_names_become_parts_of_topics(database: Database, name: str) -> None:
    with pytest.raises(SettingsInvalid, match="cannot name an organization"):
        await organizations.create(database, name)


async def test_settings_change_by_field(database: Database) -> None:
    await _prepared(database)
    await projects.set_settings(database, SEARCH, {"nanodollars_per_day": 7, "models_allowed": ["a"]})
    changed = await projects.set_settings(database, SEARCH, {"models_allowed": None})
    assert changed.settings == ProjectSettings(nanodollars_per_day=7)
    assert await projects.show(database, SEARCH) == changed


@pytest.mark.parametrize(
    "wrong",
    [{"colour": "red"}, {"nanodollars_per_day": -1}, {"nanodollars_per_day": 2**53}, {"ttl_s_max": 0}],
)
async def test_wrong_settings_are_refused_and_nothing_changes(
    database: Database, wrong: dict[str, object]
) -> None:
    await _prepared(database)
    with pytest.raises(SettingsInvalid, match=f"project acme/search are not valid: {next(iter(wrong))}"):
        await projects.set_settings(database, SEARCH, wrong)
    assert (await projects.show(database, SEARCH)).settings == NO_LIMITS


async def test_limits_of_organizations_and_keys_change_by_field(database: Database, kek: bytes) -> None:
    await _prepared(database)
    credential = await keys.create(database, kek, "indexer", KeySettings(tokens_per_day=4))
    await organizations.set_settings(database, "acme", {"time_zone": "Europe/Berlin", "jobs_in_flight": 3})
    organization = await organizations.set_settings(database, "acme", {"jobs_in_flight": None})
    assert organization.settings == OrganizationSettings(time_zone="Europe/Berlin")
    assert await organizations.show(database, "acme") == organization
    key = await keys.set_settings(database, credential.key_id, {"requests_per_minute": 5})
    assert key.settings == KeySettings(tokens_per_day=4, requests_per_minute=5)
    assert await keys.show(database, credential.key_id) == key
    with pytest.raises(SettingsInvalid, match="organization acme are not valid: time_zone"):
        await organizations.set_settings(database, "acme", {"time_zone": "Mars/Olympus"})
    with pytest.raises(SettingsInvalid, match=f"key {credential.key_id} are not valid: time_zone"):
        await keys.set_settings(database, credential.key_id, {"time_zone": "UTC"})
    with pytest.raises(NotFound, match="no organization nobody"):
        await organizations.set_settings(database, "nobody", {})
    with pytest.raises(NotFound, match="no key 0123456789abcdef"):
        await keys.set_settings(database, "0123456789abcdef", {})


async def test_a_secret_is_stored_wrapped(database: Database, kek: bytes) -> None:
    await _prepared(database)
    credential = await keys.create(database, kek, "indexer")
    async with database.connect() as connection:
        wrapped = (await connection.execute(select(identity.keys.c.secret_wrapped))).scalar_one()
    assert credential.secret not in wrapped
    assert unwrap(kek, credential.key_id, wrapped) == credential.secret


async def test_no_key_is_made_under_another_key_encryption_key(database: Database, kek: bytes) -> None:
    await _prepared(database)
    await keys.create(database, kek, "indexer")
    with pytest.raises(SecretMissing):
        await keys.create(database, bytes(32), "indexer")
    assert len(await keys.list_all(database)) == 1


async def test_revoking_again_changes_nothing(database: Database, kek: bytes) -> None:
    await _prepared(database)
    credential = await keys.create(database, kek, "indexer")
    first = await keys.revoke(database, credential.key_id)
    assert first.revoked_ms is not None
    assert await keys.revoke(database, credential.key_id) == first


async def test_bootstrap_makes_what_is_missing_and_always_a_key(database: Database, kek: bytes) -> None:
    first = await bootstrap(database, kek, SEARCH, "indexer", ProjectSettings(requests_per_minute=5))
    second = await bootstrap(database, kek, SEARCH, "indexer", NO_LIMITS)
    assert first.key_id != second.key_id
    assert (await projects.show(database, SEARCH)).settings.requests_per_minute == 5
    async with Directory(database, kek, refresh_ms=60_000) as directory:
        assert directory.key(first.key_id) is not None
        assert directory.key(second.key_id) is not None


async def test_bootstrap_takes_no_application_from_another_project(database: Database, kek: bytes) -> None:
    await bootstrap(database, kek, SEARCH, "indexer", NO_LIMITS)
    with pytest.raises(Conflict, match="application indexer belongs to project acme/search"):
        await bootstrap(database, kek, Address("acme", "ads"), "indexer", NO_LIMITS)
    assert [row.address for row in await projects.list_all(database)] == [SEARCH]


async def test_who_raises_a_limit_lowers_none_that_another_raised_meanwhile(database: Database) -> None:
    await _prepared(database)
    subject = budgets.Subject("project", str(SEARCH))
    await budgets.set_limits(database, subject, {"requests_per_minute": 10})
    raises = [budgets.raise_limits(database, subject, {"requests_per_minute": most}) for most in (30, 20)]
    ends = await asyncio.gather(*raises, return_exceptions=True)
    assert {type(end) for end in ends} <= {budgets.Found, SettingsInvalid}
    assert (await budgets.find(database, subject)).limits.requests_per_minute == 30
