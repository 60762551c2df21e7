"""What estimated charges were found to be, beside the charges."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_COUNTED = ["project_id", "key_id", "month", "nanodollars", "tokens"]
_ESTIMATED = "ix_charges_estimated"


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(128), nullable=True),
        sa.Column("operator", sa.String(128), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("nanodollars", sa.BigInteger(), nullable=False),
        sa.Column("rows_sha256", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )
    op.create_table(
        "uncounted",
        sa.Column("reconciliation_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("reconciliation_id", name=op.f("pk_uncounted")),
    )
    _create_corrections()
    op.create_index(
        _ESTIMATED,
        "charges",
        ["at_ms", "application_id", "job_id", "run", "attempt"],
        postgresql_where=sa.text("estimated"),
        sqlite_where=sa.text("estimated"),
    )


def _create_corrections() -> None:
    op.create_table(
        "corrections",
        sa.Column("application_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("reconciliation_id", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("billed_day", sa.Integer(), nullable=False),
        sa.Column("billed_month", sa.Integer(), nullable=False),
        sa.Column("nanodollars", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("figure_nanodollars", sa.BigInteger(), nullable=False),
        sa.Column("figure_tokens", sa.BigInteger(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.CheckConstraint("figure_nanodollars >= 0", name=op.f("ck_corrections_figure_nanodollars")),
        sa.PrimaryKeyConstraint(
            "application_id", "job_id", "run", "attempt", "number", name=op.f("pk_corrections")
        ),
    )
    op.create_index("ix_corrections_reconciliation_id", "corrections", ["reconciliation_id"])
    op.create_index(
        "ix_corrections_organization_id_day",
        "corrections",
        ["organization_id", "day"],
        postgresql_include=_COUNTED,
    )


def downgrade() -> None:
    op.drop_index(_ESTIMATED, table_name="charges")
    for table in ("corrections", "uncounted", "reconciliations"):
        op.drop_table(table)
