"""Parked jobs in the order of their age, and how large their records are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_DUE_BEFORE = "ix_parked_lane_due_ms_partition_offset"
_DUE = "ix_parked_lane_due_ms_appended_ms_partition_offset"
_LINE_BEFORE = "ix_parked_reason_project_id_lane_partition_offset"
_LINE = "ix_parked_reason_project_id_lane_partition_appended_ms_offset"


def upgrade() -> None:
    """What is parked already is older than what comes, and counts as empty."""
    op.add_column("parked", sa.Column("appended_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("parked", sa.Column("record_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index(_DUE_BEFORE, table_name="parked")
    op.drop_index(_LINE_BEFORE, table_name="parked")
    op.create_index(_DUE, "parked", ["lane", "due_ms", "appended_ms", "partition", "offset"], unique=False)
    line = ["reason", "project_id", "lane", "partition", "appended_ms", "offset"]
    op.create_index(_LINE, "parked", line, unique=False)


def downgrade() -> None:
    op.drop_index(_LINE, table_name="parked")
    op.drop_index(_DUE, table_name="parked")
    op.create_index(_DUE_BEFORE, "parked", ["lane", "due_ms", "partition", "offset"], unique=False)
    line = ["reason", "project_id", "lane", "partition", "offset"]
    op.create_index(_LINE_BEFORE, "parked", line, unique=False)
    op.drop_column("parked", "record_bytes")
    op.drop_column("parked", "appended_ms")
