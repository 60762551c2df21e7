"""Parked jobs found by what they wait for."""

from collections.abc import Sequence

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_NAME = "ix_parked_reason_project_id_lane_partition_offset"


def upgrade() -> None:
    op.create_index(_NAME, "parked", ["reason", "project_id", "lane", "partition", "offset"], unique=False)


def downgrade() -> None:
    op.drop_index(_NAME, table_name="parked")
