"""What a charge is reckoned from, whole: reasoning, and the tier of service."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("charges", sa.Column("reasoning_tokens", sa.BigInteger()))
    op.add_column("charges", sa.Column("service_tier", sa.String(16)))


def downgrade() -> None:
    op.drop_column("charges", "service_tier")
    op.drop_column("charges", "reasoning_tokens")
