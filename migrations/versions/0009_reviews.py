"""Jobs that wait for a reviewer, and who is one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("application_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("decision_id", sa.String(32), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("input_sha256", sa.String(64), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("value_sha256", sa.String(64), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(16), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(128), nullable=True),
        sa.Column("why", sa.String(500), nullable=True),
        sa.CheckConstraint(
            "verdict IN ('approved', 'denied', 'expired', 'cancelled')", name=op.f("ck_reviews_verdict")
        ),
        sa.PrimaryKeyConstraint("application_id", "job_id", "run", name=op.f("pk_reviews")),
        sa.UniqueConstraint("id", name=op.f("uq_reviews_id")),
    )
    op.create_index("ix_reviews_verdict_deadline_ms", "reviews", ["verdict", "deadline_ms"])
    op.create_index("ix_reviews_told_ms", "reviews", ["told_ms"])
    op.create_table(
        "roles",
        sa.Column("operator", sa.String(128), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("given_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("role IN ('reviewer')", name=op.f("ck_roles_role")),
        sa.PrimaryKeyConstraint("operator", "role", name=op.f("pk_roles")),
    )


def downgrade() -> None:
    op.drop_table("roles")
    op.drop_index("ix_reviews_told_ms", table_name="reviews")
    op.drop_index("ix_reviews_verdict_deadline_ms", table_name="reviews")
    op.drop_table("reviews")
