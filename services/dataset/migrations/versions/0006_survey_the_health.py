"""Survey the health of datasets.

Version 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY = sa.String(length=1024).with_variant(sa.String(length=1024, collation="C"), "postgresql")
_PLACE = sa.String(length=1044).with_variant(sa.String(length=1044, collation="C"), "postgresql")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "survey",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("cursor", _KEY, nullable=False),
        sa.Column("num_seen", sa.Integer(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("sync_number", sa.Integer(), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("tally", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid"),
    )
    op.create_index("ix_survey_wanted", "survey", ["wanted"])
    op.create_table(
        "health_report",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("sync_number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid"),
    )
    op.create_table(
        "finding_image",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("place", _PLACE, nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "run", "code", "place"),
    )
    op.create_table(
        "pixel_facts",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("store_etag", sa.String(length=100), nullable=False),
        sa.Column("dhash", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.BigInteger(), nullable=False),
        sa.Column("border", sa.Integer(), nullable=False),
        sa.Column("camera", sa.String(length=200), nullable=False),
        sa.Column("traits", sa.JSON(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "image_id"),
    )
    op.create_table(
        "normalization",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("cursor", _PLACE, nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("num_files", sa.Integer(), nullable=False),
        sa.Column("num_changed", sa.Integer(), nullable=False),
        sa.Column("num_skipped", sa.Integer(), nullable=False),
        sa.Column("num_failed", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid"),
    )
    op.create_index("ix_normalization_wanted", "normalization", ["wanted"])
    op.create_table(
        "normalized_file",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("result", sa.String(length=20), nullable=False),
        sa.Column("num_lines", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "key"),
    )
    # What was indexed by a version that knew no surveys gets its first one.
    op.execute(
        "INSERT INTO survey (dataset_uid, run, wanted, phase, cursor, num_seen, num_images, sync_number, error_message, tally) "
        "SELECT uid, 1, true, 'IMAGES', '', 0, num_images, sync_number, '', '' FROM dataset WHERE sync_number > 0"
    )


def downgrade() -> None:
    """Undo."""
    for table in ("normalized_file", "normalization", "pixel_facts", "finding_image", "health_report", "survey"):
        op.drop_table(table)
