"""Policy documents, where they decide, what people decide in their stead, and what detectors flag beside."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from broker.store.tables.base import metadata

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

flags = Table(
    "flags",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("detector", String(32), nullable=False),
    Column("version", String(128), nullable=False),
    Column("revision", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("found", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("application_id", "job_id", "run", "phase", "detector"),
    CheckConstraint("phase IN ('request', 'answer')", name="phase"),
)
"""What plugged-in detectors found in jobs, beside the decisions and no part of them.

`revision`: by which the job was decided. `sha256`: of the value that was looked at, as it went on. `found`:
a list of kind, score, places and marks (passage, start, end), and no text.
"""
