"""Webhooks: where an organization's notices go. The secret is shown once, when the webhook is added."""

import hashlib
import os
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import func, insert, select, update
from yarl import URL

from broker.errors import Conflict, NotFound
from broker.identity.wrapping import unwrap, wrap
from broker.ops import organizations
from broker.ops.changes import change, record_change
from broker.settings import WebhookSettings
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.notices import Hook
from broker.store.tables.identity import organizations as owners
from broker.store.tables.notices import webhooks
from broker.webhooks import SECRET_BYTES, check_url

PER_ORGANIZATION_MAX = 10


class WebhookRow(NamedTuple):
    """Without the secret."""

    id: str
    organization: str
    url: str
    created_ms: int


class Added(NamedTuple):
    id: str
    secret: bytes


async def add(
    database: Database, kek: bytes, settings: WebhookSettings, organization: str, url: str
) -> Added:
    """Raises SettingsInvalid on an address that no message will go to, NotFound without the organization,
    Conflict where it has as many as it may have.
    """
    check_url(url, settings)
    added = Added(f"wh{uuid4().hex[:14]}", os.urandom(SECRET_BYTES))
    async with change(database) as connection:
        owner = await organizations.get(connection, organization)
        present = (webhooks.c.organization_id == owner.id) & webhooks.c.removed_ms.is_(None)
        count = select(func.count()).select_from(webhooks).where(present)
        if (await connection.execute(count)).scalar_one() >= PER_ORGANIZATION_MAX:
            raise Conflict(f"{organization} has {PER_ORGANIZATION_MAX} webhooks, and may have no more")
        row = {
            "id": added.id,
            "organization_id": owner.id,
            "url": url,
            "secret_wrapped": wrap(kek, added.id, added.secret),
            "created_ms": now_ms(),
        }
        await connection.execute(insert(webhooks).values(row))
        after = {"organization": organization, **_about(url)}
        await record_change(connection, "webhook.add", f"webhook:{added.id}", {}, after)
    return added


async def remove(database: Database, webhook_id: str) -> None:
    """Removing once more changes nothing. Raises NotFound."""
    async with change(database) as connection:
        known = select(webhooks.c.url, webhooks.c.removed_ms).where(webhooks.c.id == webhook_id)
        found = (await connection.execute(known)).one_or_none()
        if found is None:
            raise NotFound(f"no webhook {webhook_id[:64]}; `headworks webhooks list` names them")
        standing = (webhooks.c.id == webhook_id) & webhooks.c.removed_ms.is_(None)
        await connection.execute(update(webhooks).where(standing).values(removed_ms=now_ms()))
        before = {"removed": found.removed_ms is not None}
        await record_change(connection, "webhook.remove", f"webhook:{webhook_id}", before, {"removed": True})


async def list_all(database: Database) -> list[WebhookRow]:
    """By organization, then age; none that was removed."""
    columns = (webhooks.c.id, owners.c.name, webhooks.c.url, webhooks.c.created_ms)
    statement = (
        select(*columns)
        .join(owners, owners.c.id == webhooks.c.organization_id)
        .where(webhooks.c.removed_ms.is_(None))
        .order_by(owners.c.name, webhooks.c.created_ms, webhooks.c.id)
    )
    async with database.connect() as connection:
        return [WebhookRow(*row) for row in await connection.execute(statement)]


def _about(url: str) -> dict[str, str]:
    """Who knows the address knows which it is; its path may be a secret of the receiver's."""
    return {"host": URL(url).host or "", "url_sha256": hashlib.sha256(url.encode()).hexdigest()}


def secret_of(kek: bytes, hook: Hook) -> bytes:
    """Raises SecretMissing where `kek` is not the one that it was wrapped under."""
    return unwrap(kek, hook.id, hook.secret_wrapped)
