"""Keep a trash.

Version 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

from libs.runtime.tables import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("dataset", sa.Column("trash_time", UtcDateTime(), nullable=True))
    op.add_column("dataset", sa.Column("purge_time", UtcDateTime(), nullable=True))
