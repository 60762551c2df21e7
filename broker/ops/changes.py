"""The one way in which the identity tables change: under the directory's revision, which it raises."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import SettingsInvalid
from broker.store.database import Database
from broker.store.tables import directory_revision
from schemas.topics import APPLICATION_PATTERN


@asynccontextmanager
async def change(database: Database) -> AsyncIterator[AsyncConnection]:
    """One transaction. Raising the revision first locks its row, so changes come one after another and what
    was looked up inside stays true until the commit.
    """
    async with database.begin() as connection:
        await connection.execute(
            update(directory_revision).values(revision=directory_revision.c.revision + 1)
        )
        yield connection


def check_name(kind: str, name: str) -> str:
    """Names become parts of topics and of paths. Raises SettingsInvalid."""
    if re.fullmatch(APPLICATION_PATTERN, name) is None:
        raise SettingsInvalid(
            f"{name[:80]!r} cannot name {kind}: lower-case letters, digits and inner hyphens, at most 63"
        )
    return name
