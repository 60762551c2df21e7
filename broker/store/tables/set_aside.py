"""Records in topics of their own: where the dead letters are, and what is parked."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Uuid,
    text,
)

from broker.store.tables.base import metadata

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("coordinate", String(300), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run"),
)

_IN_LINE, _NOT_IN_LINE = text("line IS NOT NULL"), text("line IS NULL")

parked = Table(
    "parked",
    metadata,
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("appended_ms", BigInteger, nullable=False),
    Column("record_bytes", Integer, nullable=False),
    Column("line", String(64)),
    PrimaryKeyConstraint("partition", "offset"),
    Index(None, "lane", "due_ms", "appended_ms", "partition", "offset"),
    Index(None, "project_id", "due_ms", postgresql_where=_NOT_IN_LINE, sqlite_where=_NOT_IN_LINE),
    Index(None, "application_id", "job_id"),
    Index(
        None,
        *("line", "lane", "appended_ms", "partition", "offset"),
        postgresql_where=_IN_LINE,
        sqlite_where=_IN_LINE,
    ),
)
"""An index over the topic `parked`; the record itself is there.

By its place, not by its attempt: a job that is woken and parked again may be entered anew before the old
row is gone.
"""
