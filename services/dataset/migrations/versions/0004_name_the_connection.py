"""Name the connection of datasets in OSS.

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
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        # A replica of the version before goes on adding rows without it.
        batch_op.add_column(sa.Column("connection", sa.String(length=100), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_column("connection")
