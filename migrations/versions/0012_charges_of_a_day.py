"""What a rebuild sums up of charges, in the index by which it finds them: it need not read the table."""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_NAME = "ix_charges_organization_id_day"
_COLUMNS = ["organization_id", "day"]
_SUMMED = ["project_id", "key_id", "month", "minute", "nanodollars", "tokens"]


def upgrade() -> None:
    op.drop_index(_NAME, table_name="charges")
    op.create_index(_NAME, "charges", _COLUMNS, unique=False, postgresql_include=_SUMMED)


def downgrade() -> None:
    op.drop_index(_NAME, table_name="charges")
    op.create_index(_NAME, "charges", _COLUMNS, unique=False)
