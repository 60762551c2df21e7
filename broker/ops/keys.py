"""Keys: what an application signs with. The secret is shown once, when the key is made."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import NotFound
from broker.identity.credential import Credential
from broker.identity.settings import KeySettings, read_settings
from broker.identity.wrapping import unwrap, wrap
from broker.ops import applications
from broker.ops.changes import anything, change, record_change
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables import identity
from broker.store.tables.identity import keys


class KeyRow(NamedTuple):
    """Without the secret."""

    id: str
    application: str
    settings: KeySettings
    created_ms: int
    revoked_ms: int | None


async def create(
    database: Database, kek: bytes, application: str, settings: KeySettings | None = None
) -> Credential:
    """Without `settings` nothing is limited. Raises NotFound without the application, SecretMissing where
    `kek` is not the one of the other keys.
    """
    async with change(database) as connection:
        found = await applications.get(connection, application)
        return await add(connection, kek, found, settings)


async def set_settings(
    database: Database,
    key_id: str,
    changes: dict[str, Any],
    check: Callable[[KeySettings], None] = anything,
) -> KeyRow:
    """Change the named fields of KeySettings, not the rest. `check` may raise on those of before.

    Raises NotFound, and SettingsInvalid on an unknown field or a value out of bounds.
    """
    async with change(database) as connection:
        found = await get(connection, key_id)
        check(found.settings)
        document = found.settings.model_dump(mode="json") | changes
        settings = read_settings(KeySettings, f"key {key_id}", document)
        values = {"settings": settings.model_dump(mode="json", exclude_defaults=True)}
        await connection.execute(update(keys).where(keys.c.id == found.id).values(values))
        before = found.settings.model_dump(mode="json")
        await record_change(connection, "key.set", f"key:{key_id}", before, settings.model_dump(mode="json"))
        return found._replace(settings=settings)


async def show(database: Database, key_id: str) -> KeyRow:
    """Raises NotFound."""
    async with database.connect() as connection:
        return await get(connection, key_id)


async def revoke(database: Database, key_id: str) -> KeyRow:
    """Revoking once more changes nothing. Raises NotFound."""
    async with change(database) as connection:
        before = await get(connection, key_id)
        await connection.execute(
            update(keys).where(keys.c.id == key_id, keys.c.revoked_ms.is_(None)).values(revoked_ms=now_ms())
        )
        after = await get(connection, key_id)
        told = [{"revoked_ms": row.revoked_ms} for row in (before, after)]
        await record_change(connection, "key.revoke", f"key:{key_id}", *told)
        return after


async def list_all(database: Database, application: str | None = None) -> list[KeyRow]:
    """By application, then age; revoked ones too. Raises NotFound without the named application."""
    query = _SELECT.order_by(identity.applications.c.name, keys.c.created_ms, keys.c.id)
    async with database.connect() as connection:
        if application is not None:
            found = await applications.get(connection, application)
            query = query.where(keys.c.application_id == found.id)
        return [_row(row) for row in await connection.execute(query)]


async def add(
    connection: AsyncConnection,
    kek: bytes,
    application: applications.ApplicationRow,
    settings: KeySettings | None = None,
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
        "settings": {} if settings is None else settings.model_dump(mode="json", exclude_defaults=True),
        "created_ms": now_ms(),
    }
    await connection.execute(insert(keys).values(row))
    after = {"application": application.name, **(settings or KeySettings()).model_dump(mode="json")}
    await record_change(connection, "key.create", f"key:{credential.key_id}", {}, after)
    return credential


async def get(connection: AsyncConnection, key_id: str) -> KeyRow:
    """Raises NotFound."""
    row = (await connection.execute(_SELECT.where(keys.c.id == key_id))).one_or_none()
    if row is None:
        raise NotFound(f"no key {key_id[:64]}; `headworks keys list` names them")
    return _row(row)


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
    keys.c.id,
    identity.applications.c.name.label("application"),
    keys.c.settings,
    keys.c.created_ms,
    keys.c.revoked_ms,
).join_from(keys, identity.applications)


def _row(row: Any) -> KeyRow:
    settings = read_settings(KeySettings, f"key {row.id}", row.settings)
    return KeyRow(row.id, row.application, settings, row.created_ms, row.revoked_ms)
