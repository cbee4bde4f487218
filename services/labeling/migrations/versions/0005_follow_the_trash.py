"""Follow the trash.

Version 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "trash",
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("dataset_id", sa.String(length=30), nullable=False),
        sa.Column("is_trashed", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", "dataset_id"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("trash")
