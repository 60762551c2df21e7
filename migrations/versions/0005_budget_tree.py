"""Budgets of organizations and keys, tokens and months on record."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_MONTH = {
    "postgresql": (
        "extract(year FROM DATE '1970-01-01' + day)::integer * 12"
        " + extract(month FROM DATE '1970-01-01' + day)::integer - 1"
    ),
    "sqlite": (
        "CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12"
        " + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1"
    ),
}
_HELD_TOKENS = {
    "postgresql": "(a.hold ->> 'input_tokens')::bigint + (a.hold ->> 'output_tokens')::bigint",
    "sqlite": "json_extract(a.hold, '$.input_tokens') + json_extract(a.hold, '$.output_tokens')",
}


def upgrade() -> None:
    for table in ("organizations", "keys"):
        op.add_column(table, sa.Column("settings", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("attempts", sa.Column("key_id", sa.String(length=32)))
    op.add_column("charges", sa.Column("month", sa.Integer()))
    op.add_column("charges", sa.Column("tokens", sa.BigInteger()))
    _fill()
    with op.batch_alter_table("charges") as charges:
        charges.alter_column("month", existing_type=sa.Integer(), nullable=False)
        charges.alter_column("tokens", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("ix_charges_organization_id_day", "charges", ["organization_id", "day"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_charges_organization_id_day", table_name="charges")
    op.drop_column("charges", "tokens")
    op.drop_column("charges", "month")
    op.drop_column("attempts", "key_id")
    for table in ("keys", "organizations"):
        op.drop_column(table, "settings")


def _fill() -> None:
    """A charge that was estimated cost what was held, so it counts the tokens that were."""
    dialect = op.get_bind().dialect.name
    op.execute(
        f"UPDATE charges SET month = {_MONTH[dialect]},"  # noqa: S608  # text of ours
        " tokens = coalesce(input_tokens, 0) + coalesce(output_tokens, 0)"
    )
    op.execute(
        "UPDATE charges SET tokens = coalesce((SELECT "  # noqa: S608  # text of ours
        f"{_HELD_TOKENS[dialect]} FROM attempts AS a WHERE a.application_id = charges.application_id"
        " AND a.job_id = charges.job_id AND a.run = charges.run AND a.attempt = charges.attempt), tokens)"
        " WHERE estimated"
    )
