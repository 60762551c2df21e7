"""The one way in which the identity tables change: under the directory's revision, which it raises."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import SettingsInvalid
from broker.ops.operator import operator
from broker.store.database import Database
from broker.store.operations import Operation, record
from broker.store.tables.identity import directory_revision
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


@asynccontextmanager
async def act(database: Database) -> AsyncIterator[AsyncConnection]:
    """One transaction, in line with changes: what they settle stays as it is until the commit. For what is to
    be on the record of operations and changes nothing that caches follow.
    """
    async with database.begin() as connection:
        await connection.execute(update(directory_revision).values(revision=directory_revision.c.revision))
        yield connection


async def record_change(
    connection: AsyncConnection,
    action: str,
    subject: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Put the fields that differ on the record of operations, within a `change` or an `act`; nothing where
    none does. Of what is made `before` is empty. No secret is a field, nor an address that may hold one.
    """
    changed = {name: after[name] for name in after if before.get(name) != after[name]}
    if changed:
        known = {name: before[name] for name in changed if name in before}
        await record(connection, Operation(operator(), action, subject, known, changed))


def anything(_settings: object) -> None:
    """What is there may be changed whatever it is."""


def check_name(kind: str, name: str) -> str:
    """Names become parts of topics and of paths. Raises SettingsInvalid."""
    if re.fullmatch(APPLICATION_PATTERN, name) is None:
        raise SettingsInvalid(
            f"{name[:80]!r} cannot name {kind}: lower-case letters, digits and inner hyphens, at most 63"
        )
    return name
