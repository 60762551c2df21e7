"""Policy documents, and which of them decides where."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "policy_revisions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_revisions"),
    )
    op.create_table(
        "policy_activations",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Integer()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("revision", sa.String(64)),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('activate', 'rollback', 'shadow')", name="ck_policy_activations_kind"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_policy_activations_project_id_projects"
        ),
        sa.ForeignKeyConstraint(
            ["revision"], ["policy_revisions.id"], name="fk_policy_activations_revision_policy_revisions"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_policy_activations"),
    )


def downgrade() -> None:
    op.drop_table("policy_activations")
    op.drop_table("policy_revisions")
