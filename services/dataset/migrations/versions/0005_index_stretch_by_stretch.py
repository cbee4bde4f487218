"""Index stretch by stretch.

Version 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BY_CODE_POINT = sa.String(length=1024).with_variant(sa.String(length=1024, collation="C"), "postgresql")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "stretch",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("after", _BY_CODE_POINT, nullable=False),
        sa.Column("end", _BY_CODE_POINT, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "after"),
    )
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.add_column(sa.Column("num_submitted", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("num_returned", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("cursor", _BY_CODE_POINT, server_default=sa.text("''"), nullable=False))
    # They were counted among the labelled ones only.
    for column, label_state in (("num_submitted", "SUBMITTED"), ("num_returned", "RETURNED")):
        number = f"SELECT count(*) FROM image WHERE dataset_uid = dataset.uid AND state = 'USABLE' AND label_state = '{label_state}'"
        op.execute(f"UPDATE dataset SET {column} = ({number})")
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index("image_by_file_stem")
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("image", "key", type_=_BY_CODE_POINT)
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.create_index("image_by_file_stem", ["dataset_uid", "file_stem", "key"], unique=False)
        batch_op.create_index("image_by_state", ["dataset_uid", "state", "label_state", "key"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index("image_by_state")
        batch_op.drop_index("image_by_file_stem")
        batch_op.create_index("image_by_file_stem", ["dataset_uid", "file_stem"], unique=False)
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_column("cursor")
        batch_op.drop_column("num_returned")
        batch_op.drop_column("num_submitted")
    op.drop_table("stretch")
