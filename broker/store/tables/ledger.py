"""What became of each job, and who works at it.

The hot path only inserts: an attempt's end is a row of `verdicts`, not an update of `attempts`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
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

jobs = Table(
    "jobs",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("value_sha256", String(64), nullable=False),
    Column("origin", String(300), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("appended_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id"),
)
"""`origin` is the coordinate at which the job was first seen."""

cancels = Table(
    "cancels",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("origin", String(300), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id"),
    Index(None, "revision"),
    Index(None, "until_ms"),
)
"""Jobs that their application called off, maybe before they came: at `origin`, signed with `key_id`.

`until_ms`: the job's deadline, or the latest that it can have. `revision` grows with each commit, so that a
snapshot asks only for what is new.
"""

attempts = Table(
    "attempts",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("owner", String(32), nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("key_id", String(32)),
    Column("target", String(63), nullable=False),
    Column("model", String(128), nullable=False),
    Column("hold", JSON, nullable=False),
    Column("price_version", String(64), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run", "attempt"),
    Index(None, "project_id", "started_ms"),
)
"""The intent, on record before the call. `owner`: a worker's incarnation; `hold`: a `schemas.state.Hold`;
`key_id`: None on record from before keys had budgets.
"""

verdicts = Table(
    "verdicts",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("charge", JSON, nullable=False),
    Column("due_ms", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run", "attempt"),
    CheckConstraint("kind IN ('failed', 'unknown')", name="kind"),
)
"""How an attempt ended that did not give the job its outcome; whoever inserts it first decides.

`charge` is the `schemas.state.Charge` that travels on; `due_ms` when the next attempt may start.
"""

terminals = Table(
    "terminals",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("reason", String(64)),
    Column("outcome", String(300), nullable=False),
    Column("value_sha256", String(64), nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run"),
)
"""`outcome`: the coordinate in `outcomes.*` whose value is the reply; `value_sha256`: that value's digest."""

charges = Table(
    "charges",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("organization_id", Integer, nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("model", String(128), nullable=False),
    Column("target", String(63), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", String(64)),
    Column("hold_id", String(64), nullable=False),
    Column("hold_nanodollars", BigInteger, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("input_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("service_tier", String(16)),
    Column("tokens", BigInteger, nullable=False),
    Column("price_version", String(64), nullable=False),
    Column("day", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("department", String(128)),
    Column("feature", String(128)),
    Column("user", String(128)),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run", "attempt"),
    CheckConstraint("nanodollars >= 0", name="nanodollars"),
    Index(None, "project_id", "day"),
    Index(
        None,
        "organization_id",
        "day",
        postgresql_include=["project_id", "key_id", "month", "minute", "nanodollars", "tokens"],
    ),
    Index(
        "ix_charges_estimated",
        "at_ms",
        "application_id",
        "job_id",
        "run",
        "attempt",
        postgresql_where=text("estimated"),
        sqlite_where=text("estimated"),
    ),
)
"""Append-only. `day`, `month` and `minute` are the windows of the hold, which the charge belongs to; `tokens`
is what counts against budgets of tokens (`schemas.state.Charge.tokens`). The second index has what a rebuild
sums up, for the charges of one organization lie scattered among those of others; the third finds what waits
to be reconciled, and only that is in it.
"""

workers = Table(
    "workers",
    metadata,
    Column("incarnation", String(32), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
)
"""By the database's clock."""

waiters = Table(
    "waiters",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("reply_to", String(400), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run", "reply_to"),
)
"""Further places that await a job's reply: senders of a repeat while the job was still under way."""
