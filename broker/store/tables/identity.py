"""Who may send jobs, and under which settings."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from broker.store.tables.base import metadata

organizations = Table(
    "organizations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("settings", JSON, server_default="{}", nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
"""`settings` holds a `broker.identity.settings.OrganizationSettings`: limits, the time zone."""

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("organization_id", "name"),
)
"""`settings` holds a `broker.identity.settings.ProjectSettings`: models, limits, defaults."""

applications = Table(
    "applications",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", String(63), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("application_id", ForeignKey("applications.id"), nullable=False),
    Column("secret_wrapped", LargeBinary, nullable=False),
    Column("settings", JSON, server_default="{}", nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)
"""`secret_wrapped`: nonce and AES-256-GCM ciphertext under the key-encryption key, bound to the key's id.
`settings` holds a `broker.identity.settings.KeySettings`: limits.
"""

directory_revision = Table(
    "directory_revision",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row; raised by every change to the identity tables, so that a cache asks for one number."""
