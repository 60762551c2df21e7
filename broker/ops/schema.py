"""The database's tables, brought to this version: on the record of operations like any other change."""

from broker.ops.changes import act, record_change
from broker.settings import DatabaseSettings
from broker.store import migrate
from broker.store.database import Database


async def upgrade(settings: DatabaseSettings) -> None:
    """Again it changes nothing. Raises SettingsInvalid, DatabaseUnavailable."""
    database = await Database.open(settings)
    try:
        before = await migrate.stored_revision(database)
        await migrate.upgrade(settings.url.get_secret_value())
        revisions = [{"revision": each} for each in (before, await migrate.stored_revision(database))]
        async with act(database) as connection:
            await record_change(connection, "database.upgrade", "database", *revisions)
    finally:
        await database.close()
