"""The checks of the database: there, new enough, at the newest migration, keys readable, clock kept."""

import time
from collections.abc import Sequence

from sqlalchemy import func, literal_column, select

from broker.errors import DatabaseUnavailable, HeadworksError, SettingsInvalid
from broker.identity.directory import Directory
from broker.ops.checks import Check, attempt, compare_clocks
from broker.settings import Settings
from broker.store import migrate
from broker.store.clock import now_ms
from broker.store.database import Database

_POSTGRESQL_MIN = 15
_START = "start PostgreSQL, or mend database.url"


async def check_database(settings: Settings) -> Sequence[Check]:
    """The rest is left out where the database does not answer."""
    try:
        database = await Database.open(settings.database)
    except HeadworksError as error:
        return [Check.failed("database", error, _START if error.retryable else "mend database.url")]
    try:
        return await _ask(settings, database)
    finally:
        await database.close()


async def _ask(settings: Settings, database: Database) -> Sequence[Check]:
    found = [
        await attempt("database", "use PostgreSQL 15 or later", lambda: _version(database)),
        await _clock(database),
        await attempt("migrations", "headworks db upgrade", lambda: _migrations(database)),
    ]
    if found[-1].ok and settings.secrets.key_encryption_key is not None:
        fix = "set the key-encryption key under which the keys were made"
        found.append(await attempt("keys", fix, lambda: _keys(settings, database)))
    return found


async def _version(database: Database) -> str:
    if database.dialect == "sqlite":
        async with database.connect() as connection:
            return f"SQLite {await connection.scalar(select(func.sqlite_version()))}"
    async with database.connect() as connection:
        version = str(
            await connection.scalar(select(func.current_setting(literal_column("'server_version'"))))
        )
    if int(version.split(".", maxsplit=1)[0]) < _POSTGRESQL_MIN:
        raise SettingsInvalid(f"PostgreSQL {version} is too old")
    return f"PostgreSQL {version}"


async def _migrations(database: Database) -> str:
    await migrate.check(database)
    return "at the newest"


async def _keys(settings: Settings, database: Database) -> str:
    async with Directory(database, settings.key_encryption_key(), refresh_ms=60_000) as directory:
        return f"the key-encryption key fits them all; applications: {len(directory.applications)}"


async def _clock(database: Database) -> Check:
    try:
        async with database.connect() as connection:
            sent_ms = time.time_ns() // 1_000_000
            theirs_ms = await connection.scalar(select(now_ms()))
            received_ms = time.time_ns() // 1_000_000
    except DatabaseUnavailable as error:
        return Check.failed("database clock", error, _START)
    return compare_clocks("database clock", sent_ms, theirs_ms or 0, received_ms)
