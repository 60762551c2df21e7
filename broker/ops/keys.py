"""Keys: what an application signs with. The secret is shown once, when the key is made."""

from typing import NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import NotFound
from broker.identity.credential import Credential
from broker.identity.wrapping import unwrap, wrap
from broker.ops import applications
from broker.ops.changes import change
from broker.store import tables
from broker.store.clock import now_ms
from broker.store.database import Database

keys = tables.keys


class KeyRow(NamedTuple):
    """Without the secret."""

    id: str
    application: str
    created_ms: int
    revoked_ms: int | None


async def create(database: Database, kek: bytes, application: str) -> Credential:
    """Raises NotFound without the application, SecretMissing where `kek` is not the one of the other keys."""
    async with change(database) as connection:
        found = await applications.get(connection, application)
        return await add(connection, kek, found)


async def revoke(database: Database, key_id: str) -> KeyRow:
    """Revoking once more changes nothing. Raises NotFound."""
    async with change(database) as connection:
        await connection.execute(
            update(keys).where(keys.c.id == key_id, keys.c.revoked_ms.is_(None)).values(revoked_ms=now_ms())
        )
        row = (await connection.execute(_SELECT.where(keys.c.id == key_id))).one_or_none()
        if row is None:
            raise NotFound(f"no key {key_id[:64]}; `headworks keys list` names them")
        return KeyRow(*row)


async def list_all(database: Database, application: str | None = None) -> list[KeyRow]:
    """By application, then age; revoked ones too. Raises NotFound without the named application."""
    query = _SELECT.order_by(tables.applications.c.name, keys.c.created_ms, keys.c.id)
    async with database.connect() as connection:
        if application is not None:
            found = await applications.get(connection, application)
            query = query.where(keys.c.application_id == found.id)
        return [KeyRow(*row) for row in await connection.execute(query)]


async def add(
    connection: AsyncConnection, kek: bytes, application: applications.ApplicationRow
) -> Credential:
    """Raises SecretMissing where `kek` does not open the newest key that is there: one key-encryption key
    serves them all, or workers would not start again.
    """
    await _check_fits(connection, kek)
    credential = Credential.generate(application.name)
    row = {
        "id": credential.key_id,
        "application_id": application.id,
        "secret_wrapped": wrap(kek, credential.key_id, credential.secret),
        "created_ms": now_ms(),
    }
    await connection.execute(insert(keys).values(row))
    return credential


async def _check_fits(connection: AsyncConnection, kek: bytes) -> None:
    newest = (
        select(keys.c.id, keys.c.secret_wrapped)
        .where(keys.c.revoked_ms.is_(None))
        .order_by(keys.c.created_ms.desc())
        .limit(1)
    )
    row = (await connection.execute(newest)).one_or_none()
    if row is not None:
        unwrap(kek, row.id, row.secret_wrapped)


_SELECT = select(
    keys.c.id, tables.applications.c.name.label("application"), keys.c.created_ms, keys.c.revoked_ms
).join_from(keys, tables.applications)
