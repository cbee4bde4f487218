"""Import labels.

Version 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

from libs.runtime.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "label_import",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("overwrite", sa.Boolean(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("prefix", sa.String(length=1024), nullable=False),
        sa.Column("file_name", sa.String(length=1024), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("num_rows", "num_imported", "num_repaired", "num_skipped", "num_failed", "num_image_missing", "num_boxes")
        ),
        sa.Column("cursor_file", sa.String(length=1024), nullable=False),
        sa.Column("cursor_rows", sa.Integer(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("dataset_uid", "request_id"),
    )
    op.create_index("label_import_by_dataset", "label_import", ["dataset_uid", "uid"])
    op.create_index("ix_label_import_state", "label_import", ["state"])
    op.create_table(
        "label_import_part",
        sa.Column("import_uid", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_uid", "number"),
        sa.ForeignKeyConstraint(["import_uid"], ["label_import.uid"], ondelete="CASCADE"),
    )
    op.create_table(
        "label_import_row",
        sa.Column("import_uid", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("label_file", sa.String(length=1024), nullable=False),
        sa.Column("num_boxes", sa.Integer(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("import_uid", "number"),
        sa.ForeignKeyConstraint(["import_uid"], ["label_import.uid"], ondelete="CASCADE"),
    )
    op.create_index("label_import_row_by_outcome", "label_import_row", ["import_uid", "outcome", "number"])
    op.create_index("label_import_row_by_image", "label_import_row", ["import_uid", "image_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("label_import_row")
    op.drop_table("label_import_part")
    op.drop_table("label_import")
