"""Jobs that are called off, and parked ones found by their ids."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "cancels",
        sa.Column("application_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("origin", sa.String(length=300), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "job_id", name="pk_cancels"),
    )
    op.create_index("ix_cancels_revision", "cancels", ["revision"], unique=False)
    op.create_index("ix_cancels_until_ms", "cancels", ["until_ms"], unique=False)
    op.create_index("ix_parked_application_id_job_id", "parked", ["application_id", "job_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_parked_application_id_job_id", table_name="parked")
    op.drop_table("cancels")
