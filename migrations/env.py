"""What Alembic runs: the migrations, on the connection that `broker.store.migrate` gives it.

The `alembic` command gives none; then the database is the one that the settings name.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection

from broker.settings import Settings
from broker.store.database import Database
from broker.store.tables.base import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    database = await Database.open(Settings.load().database)
    try:
        async with database.begin() as connection:
            await connection.run_sync(run)
    finally:
        await database.close()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(connect_and_run())
else:
    run(given)
