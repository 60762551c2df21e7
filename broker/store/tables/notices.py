"""What organizations are told, and how far that has come."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

from broker.store.tables.base import metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("url", String(2000), nullable=False),
    Column("secret_wrapped", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("removed_ms", BigInteger),
)
"""Where an organization's notices go. `secret_wrapped` as in `keys`, bound to the webhook's id."""

notices = Table(
    "notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""What an organization is told, once: `id` says what it is about. `body`: as it is sent."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("notice_id", String(64), nullable=False),
    Column("destination", String(32), nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("due_ms", BigInteger),
    Column("code", String(32)),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("notice_id", "destination"),
    Index(None, "due_ms"),
)
"""A notice on its way to a webhook (its id), or to the topic (`events`). `due_ms`: when it is tried next, or
by when whoever tries it has failed; none when it has ended. `code`: how the last try did.
"""
