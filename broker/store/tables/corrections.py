"""What charges were found to be, once the provider's invoice or export of usage had come. Append-only."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Uuid,
)

from broker.store.tables.base import metadata

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("file_sha256", String(64), nullable=False),
    Column("reference", String(128)),
    Column("operator", String(128), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("rows_sha256", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""One batch of corrections, written in one transaction with its entry in the chain of operations, which says
the same. Numbered from 1 without a gap. A long file makes several. `rows`, `nanodollars`: the number and the
sum of its corrections; `rows_sha256`: `broker.store.corrections.digest` of them.
"""

corrections = Table(
    "corrections",
    metadata,
    Column("application_id", Integer, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("reconciliation_id", Integer, nullable=False),
    Column("organization_id", Integer, nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("day", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("billed_day", Integer, nullable=False),
    Column("billed_month", Integer, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("figure_nanodollars", BigInteger, nullable=False),
    Column("figure_tokens", BigInteger, nullable=False),
    Column("usage", JSON(none_as_null=True)),
    PrimaryKeyConstraint("application_id", "job_id", "run", "attempt", "number"),
    CheckConstraint("figure_nanodollars >= 0", name="figure_nanodollars"),
    Index(None, "reconciliation_id"),
    Index(
        None,
        "organization_id",
        "day",
        postgresql_include=["project_id", "key_id", "month", "nanodollars", "tokens"],
    ),
)
"""The corrections of a charge are numbered from 1, and each is a difference from what was known before it, so
that the charge and all of them sum up to the newest figure (`figure_nanodollars`, `figure_tokens`). `tokens`
is what counts against budgets of tokens; `input_tokens` and `output_tokens` are what the bill counts.
`usage`: a `schemas.state.Usage`, where the file told one.

Budgets count it where they counted the charge: project, key, `day` and `month` are the charge's. It is billed
in `billed_day` and `billed_month`, when it was written, by the calendar of the organization.
"""

uncounted = Table(
    "uncounted",
    metadata,
    Column("reconciliation_id", Integer, primary_key=True, autoincrement=False),
)
"""Reconciliations that the gate may not have been told of yet: written with them, deleted afterwards."""
