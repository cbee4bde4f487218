"""Keep uploads.

Version 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "upload",
        sa.Column("upload_id", sa.String(length=40), nullable=False),
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("file_name", sa.String(length=1024), nullable=False),
        sa.Column("folder", sa.String(length=1024), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rename", sa.Boolean(), nullable=False),
        sa.Column("split_pages", sa.Boolean(), nullable=False),
        sa.Column("convert", sa.Boolean(), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("num_stored", sa.Integer(), nullable=False),
        sa.Column("num_already_there", sa.Integer(), nullable=False),
        sa.Column("num_skipped", sa.Integer(), nullable=False),
        sa.Column("num_failed", sa.Integer(), nullable=False),
        sa.Column("num_done", sa.Integer(), nullable=False),
        sa.Column("num_total", sa.Integer(), nullable=False),
        sa.Column("sync_owed", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("upload_id"),
        sa.UniqueConstraint("dataset_uid", "request_id"),
    )
    op.create_index("upload_by_dataset", "upload", ["dataset_uid", "upload_id"], unique=False)
    op.create_index("upload_by_state", "upload", ["state", "update_time"], unique=False)
    op.create_table(
        "upload_result",
        sa.Column("upload_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("result", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.upload_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("upload_id", "number"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("upload_result")
    op.drop_index("upload_by_state", table_name="upload")
    op.drop_index("upload_by_dataset", table_name="upload")
    op.drop_table("upload")
