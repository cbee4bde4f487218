"""Train on several datasets.

Version 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.add_column(sa.Column("further_datasets", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.drop_column("further_datasets")
