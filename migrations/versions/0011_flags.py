"""What plugged-in detectors found in jobs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "flags",
        sa.Column("application_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("detector", sa.String(32), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("phase IN ('request', 'answer')", name=op.f("ck_flags_phase")),
        sa.PrimaryKeyConstraint(
            "application_id", "job_id", "run", "phase", "detector", name=op.f("pk_flags")
        ),
    )


def downgrade() -> None:
    op.drop_table("flags")
