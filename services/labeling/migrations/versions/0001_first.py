"""Pages, their content and operations, and runs of models.

Version 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "inbox",
        sa.Column("durable", sa.String(length=100), nullable=False),
        sa.Column("message_id", sa.String(length=100), nullable=False),
        sa.Column("heard_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("durable", "message_id"),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_heard_time"), ["heard_time"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=200), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("told_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "page",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("dataset_id", sa.String(length=30), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("submitted_sequence", sa.Integer(), nullable=False),
        sa.Column("edited_sequence", sa.Integer(), nullable=False),
        sa.Column("num_boxes", sa.Integer(), nullable=False),
        sa.Column("num_suggestions", sa.Integer(), nullable=False),
        sa.Column("return_note", sa.String(), nullable=False),
        sa.Column("file_etag", sa.String(length=100), nullable=False),
        sa.Column("store_etag", sa.String(length=100), nullable=False),
        sa.Column("dataset_deleted", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("project", "dataset_id", "image_id"),
    )
    with op.batch_alter_table("page", schema=None) as batch_op:
        batch_op.create_index("page_by_key", ["project", "dataset_id", "key"], unique=False)
        batch_op.create_index("page_by_state", ["project", "dataset_id", "state", "key"], unique=False)

    op.create_table(
        "prelabel",
        sa.Column("prelabel_id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("dataset_id", sa.String(length=30), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=240), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_done", sa.Integer(), nullable=False),
        sa.Column("num_failed", sa.Integer(), nullable=False),
        sa.Column("num_boxes", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("prelabel_id"),
        sa.UniqueConstraint("project", "dataset_id", "request_id"),
    )
    with op.batch_alter_table("prelabel", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_prelabel_state"), ["state"], unique=False)

    op.create_table(
        "content",
        sa.Column("page_uid", sa.String(length=40), nullable=False),
        sa.Column("boxes", sa.LargeBinary(), nullable=False),
        sa.Column("used_ids", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["page_uid"],
            ["page.uid"],
        ),
        sa.PrimaryKeyConstraint("page_uid"),
    )
    op.create_table(
        "operation",
        sa.Column("page_uid", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("operation_id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["page_uid"],
            ["page.uid"],
        ),
        sa.PrimaryKeyConstraint("page_uid", "sequence"),
        sa.UniqueConstraint("page_uid", "operation_id"),
    )
    op.create_table(
        "prelabel_item",
        sa.Column("prelabel_id", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["prelabel_id"], ["prelabel.prelabel_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("prelabel_id", "image_id"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("prelabel_item")
    op.drop_table("operation")
    op.drop_table("content")
    with op.batch_alter_table("prelabel", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_prelabel_state"))

    op.drop_table("prelabel")
    with op.batch_alter_table("page", schema=None) as batch_op:
        batch_op.drop_index("page_by_state")
        batch_op.drop_index("page_by_key")

    op.drop_table("page")
    op.drop_table("outbox")
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_inbox_heard_time"))

    op.drop_table("inbox")
