"""Every table, as SQLAlchemy Core. Money is BIGINT nano-dollars; times are BIGINT Unix milliseconds.

identity     organizations, projects, applications, keys, directory_revision
ledger       jobs, cancels, attempts, verdicts, terminals, charges, workers, positions, waiters
on record    audit, dead_letters, parked
policy       policy_revisions, policy_activations, reviews, roles
notices      webhooks, notices, deliveries

The hot path only inserts: an attempt's end is a row of `verdicts`, not an update of `attempts`.
Digests are lower-case hexadecimal text, job ids UUIDs.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

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
    Index(None, "organization_id", "day"),
)
"""Append-only. `day`, `month` and `minute` are the windows of the hold, which the charge belongs to; `tokens`
is what counts against budgets of tokens (`schemas.state.Charge.tokens`).
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

positions = Table(
    "positions",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("chain_length", BigInteger, nullable=False),
    Column("chain_head", String(64), nullable=False),
    PrimaryKeyConstraint("topic", "partition"),
)
"""How far SETTLE has come in each partition of `outcomes.*`, and the head of that partition's audit chain."""

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

audit = Table(
    "audit",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("entry", JSON, nullable=False),
    Column("hash", String(64), nullable=False),
    PrimaryKeyConstraint("topic", "partition", "position"),
)
"""One hash chain a partition of `outcomes.*` (`broker.audit.chain`). Entries hold digests, never texts."""

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

policy_revisions = Table(
    "policy_revisions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
"""Policy documents, kept for ever. `id`: SHA-256 of the canonical form; `text`: as it was handed in."""

policy_activations = Table(
    "policy_activations",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", ForeignKey("projects.id")),
    Column("kind", String(16), nullable=False),
    Column("revision", ForeignKey("policy_revisions.id")),
    Column("at_ms", BigInteger, nullable=False),
    CheckConstraint("kind IN ('activate', 'rollback', 'shadow')", name="kind"),
)
"""Append-only: what operators did, in order. Which revision decides where follows from it alone.

`project_id`: None for the default. `revision`: of a rollback None, of a shadow None where it ends.
"""

reviews = Table(
    "reviews",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("id", String(32), nullable=False),
    Column("organization_id", Integer, nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("decision_id", String(32), nullable=False),
    Column("revision", String(64), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("score", Integer, nullable=False),
    Column("input_sha256", String(64), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("value_sha256", String(64), nullable=False),
    Column("held_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("told_ms", BigInteger),
    Column("verdict", String(16)),
    Column("decided_ms", BigInteger),
    Column("decided_by", String(128)),
    Column("why", String(500)),
    PrimaryKeyConstraint("application_id", "job_id", "run"),
    UniqueConstraint("id"),
    CheckConstraint("verdict IN ('approved', 'denied', 'expired', 'cancelled')", name="verdict"),
    Index(None, "verdict", "deadline_ms"),
    Index(None, "told_ms"),
)
"""Jobs that policy held until a reviewer decides. `verdict`: how that ended, written once; none before.

`decision_id` to `input_sha256`: of the decision that holds it. `partition` and `offset`: of its record in
`parked`, whose value has the digest `value_sha256`. `told_ms`: since when its notice is on record.
"""

roles = Table(
    "roles",
    metadata,
    Column("operator", String(128), nullable=False),
    Column("role", String(32), nullable=False),
    Column("given_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("operator", "role"),
    CheckConstraint("role IN ('reviewer')", name="role"),
)
"""What operators may do beyond what everybody with access to the database may."""

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
