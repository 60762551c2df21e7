"""Bring a database's schema to what this version needs, or see whether it is there."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, text

from broker.errors import DatabaseBehind
from broker.settings import DatabaseSettings
from broker.store.database import Database

_STATEMENT_TIMEOUT_MS = 3_600_000
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7527605601647616372)")
"""Any number that no other advisory lock uses: the bytes of `hwmigrat`."""

_MIGRATIONS = Path(__file__).parents[2] / "migrations"
"""Beside the package, in a checkout as where a wheel was installed."""


async def upgrade(url: str, revision: str = "head") -> None:
    """Go forward to `revision`: all of it or, where a step fails, nothing. Of several who do it at once, one
    does it.

    Raises SettingsInvalid for a URL of another kind, DatabaseUnavailable.
    """
    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Go back to `revision`; `base` takes every table away, and what is in them. Raises as `upgrade` does."""
    await _run(url, lambda config: command.downgrade(config, revision))


async def check(database: Database) -> None:
    """Raises DatabaseBehind unless the schema is the one that this version needs, DatabaseUnavailable."""
    stored = await stored_revision(database)
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    if stored is not None and stored not in known:
        raise DatabaseBehind(
            f"the database is at revision {stored}, which this version of Headworks does not know: "
            "run the version that upgraded it, or a later one"
        )
    if stored != scripts.get_current_head():
        at = "has no tables yet" if stored is None else f"is at revision {stored}"
        raise DatabaseBehind(
            f"the database {at}; this version needs {scripts.get_current_head()}: run `headworks db upgrade`"
        )


async def stored_revision(database: Database) -> str | None:
    """None where no migration was ever run. Raises DatabaseUnavailable."""
    async with database.connect() as connection:
        return await connection.run_sync(_stored)


def _stored(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def _run(url: str, step: Callable[[Config], None]) -> None:
    settings = DatabaseSettings(url=SecretStr(url), statement_timeout_ms=_STATEMENT_TIMEOUT_MS)
    database = await Database.open(settings)
    try:
        async with database.begin() as connection:
            if database.dialect == "postgresql":
                await connection.execute(_ONE_AT_A_TIME)
            await connection.run_sync(lambda sync: step(_config(sync)))
    finally:
        await database.close()


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
