"""Datasets, their index, label history and versions.

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
        "dataset",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("dataset_id", sa.String(length=30), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("storage_type", sa.String(length=20), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_labeled", sa.Integer(), nullable=False),
        sa.Column("num_unlabeled", sa.Integer(), nullable=False),
        sa.Column("num_rejected", sa.Integer(), nullable=False),
        sa.Column("num_boxes", sa.Integer(), nullable=False),
        sa.Column("num_with_findings", sa.Integer(), nullable=False),
        sa.Column("sync_number", sa.Integer(), nullable=False),
        sa.Column("sync_wanted", sa.Boolean(), nullable=False),
        sa.Column("num_seen", sa.Integer(), nullable=False),
        sa.Column("num_changed", sa.Integer(), nullable=False),
        sa.Column("images_per_second", sa.Float(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("project", "dataset_id"),
        sa.UniqueConstraint("project", "request_id"),
    )
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dataset_sync_wanted"), ["sync_wanted"], unique=False)

    op.create_table(
        "image",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("file_stem", sa.String(length=1024), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("label_state", sa.String(length=20), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("store_etag", sa.String(length=100), nullable=False),
        sa.Column("label_key", sa.String(length=1024), nullable=False),
        sa.Column("label_etag", sa.String(length=100), nullable=False),
        sa.Column("label_digest", sa.String(length=64), nullable=False),
        sa.Column("num_boxes", sa.Integer(), nullable=False),
        sa.Column("image_findings", sa.JSON(), nullable=False),
        sa.Column("label_findings", sa.JSON(), nullable=False),
        sa.Column("shares_label_with", sa.JSON(), nullable=False),
        sa.Column("source_tag", sa.String(length=32), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "image_id"),
    )
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.create_index("image_by_file_stem", ["dataset_uid", "file_stem"], unique=False)
        batch_op.create_index("image_by_key", ["dataset_uid", "key"], unique=False)

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
        "purge",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("dataset_id", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
    )
    op.create_table(
        "replaced_labels",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("dataset", sa.String(length=200), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("label_key", sa.String(length=1024), nullable=False),
        sa.Column("etag", sa.String(length=100), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("replace_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
    )
    with op.batch_alter_table("replaced_labels", schema=None) as batch_op:
        batch_op.create_index("replaced_labels_by_image", ["dataset", "image_id"], unique=False)

    op.create_table(
        "version",
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_labeled", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version_id"),
        sa.UniqueConstraint("dataset_uid", "request_id"),
    )
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.create_index("version_by_dataset", ["dataset_uid", "version_id"], unique=False)

    op.create_table(
        "boxes",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_uid", "image_id"], ["image.dataset_uid", "image.image_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_uid", "image_id"),
    )
    op.create_table(
        "version_entry",
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("store_etag", sa.String(length=100), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("label_digest", sa.String(length=64), nullable=False),
        sa.Column("boxes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.version_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version_id", "image_id"),
    )
    with op.batch_alter_table("version_entry", schema=None) as batch_op:
        batch_op.create_index("version_entry_by_key", ["version_id", "key"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("version_entry", schema=None) as batch_op:
        batch_op.drop_index("version_entry_by_key")

    op.drop_table("version_entry")
    op.drop_table("boxes")
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.drop_index("version_by_dataset")

    op.drop_table("version")
    with op.batch_alter_table("replaced_labels", schema=None) as batch_op:
        batch_op.drop_index("replaced_labels_by_image")

    op.drop_table("replaced_labels")
    op.drop_table("purge")
    op.drop_table("outbox")
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_inbox_heard_time"))

    op.drop_table("inbox")
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index("image_by_key")
        batch_op.drop_index("image_by_file_stem")

    op.drop_table("image")
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dataset_sync_wanted"))

    op.drop_table("dataset")
