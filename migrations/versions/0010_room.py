"""Parked jobs by the line in which they wait for room, and by project without those."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_LINE_BEFORE = "ix_parked_reason_project_id_lane_partition_appended_ms_offset"
_PROJECT_BEFORE = "ix_parked_project_id"
_LINE = "ix_parked_line_lane_appended_ms_partition_offset"
_PROJECT = "ix_parked_project_id_due_ms"


def upgrade() -> None:
    op.add_column("parked", sa.Column("line", sa.String(64), nullable=True))
    op.execute(
        "UPDATE parked SET line = (SELECT CAST(organization_id AS VARCHAR(20)) FROM projects"
        " WHERE projects.id = parked.project_id) || '/p' || CAST(project_id AS VARCHAR(20))"
        " WHERE reason = 'jobs_in_flight'"
    )
    op.drop_index(_LINE_BEFORE, table_name="parked")
    op.drop_index(_PROJECT_BEFORE, table_name="parked")
    in_line, not_in_line = sa.text("line IS NOT NULL"), sa.text("line IS NULL")
    line = ["line", "lane", "appended_ms", "partition", "offset"]
    op.create_index(_LINE, "parked", line, postgresql_where=in_line, sqlite_where=in_line)
    op.create_index(
        _PROJECT, "parked", ["project_id", "due_ms"], postgresql_where=not_in_line, sqlite_where=not_in_line
    )


def downgrade() -> None:
    op.drop_index(_PROJECT, table_name="parked")
    op.drop_index(_LINE, table_name="parked")
    op.drop_column("parked", "line")
    op.create_index(_PROJECT_BEFORE, "parked", ["project_id"], unique=False)
    line = ["reason", "project_id", "lane", "partition", "appended_ms", "offset"]
    op.create_index(_LINE_BEFORE, "parked", line, unique=False)
