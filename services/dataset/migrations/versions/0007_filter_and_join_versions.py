"""Filter versions, make them of several datasets, keep a test set.

Version 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BY_CODE_POINT = sa.String(length=1024).with_variant(sa.String(length=1024, collation="C"), "postgresql")
_PLAIN = sa.String(length=1024)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "test_image",
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("key", _BY_CODE_POINT, nullable=False),
        sa.PrimaryKeyConstraint("dataset_uid", "image_id"),
    )
    op.create_index("test_image_by_key", "test_image", ["dataset_uid", "key"], unique=False)
    counts = ("num_added", "num_removed", "num_image_changed", "num_labels_changed", "num_test_changed", "num_unchanged")
    op.create_table(
        "version_diff",
        sa.Column("old_id", sa.String(length=40), nullable=False),
        sa.Column("new_id", sa.String(length=40), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        sa.ForeignKeyConstraint(["old_id"], ["version.version_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["new_id"], ["version.version_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("old_id", "new_id"),
    )
    op.create_index("version_diff_by_new", "version_diff", ["new_id"], unique=False)
    op.add_column("version", sa.Column("parts", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("version", sa.Column("filter", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("version_entry", sa.Column("is_test", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("version_entry", sa.Column("part", sa.Integer(), server_default="0", nullable=False))
    _change_key(["version_id", "part", "image_id"], ["version_id", "part", "key"], _BY_CODE_POINT)


def downgrade() -> None:
    """Undo. Versions of several datasets are forgotten: the older form has no place for them."""
    op.execute("DELETE FROM version_entry WHERE version_id IN (SELECT version_id FROM version_entry WHERE part > 0)")
    op.execute("DELETE FROM version WHERE num_images > 0 AND version_id NOT IN (SELECT version_id FROM version_entry)")
    _change_key(["version_id", "image_id"], ["version_id", "key"], _PLAIN)
    with op.batch_alter_table("version_entry", schema=None) as batch_op:
        batch_op.drop_column("part")
        batch_op.drop_column("is_test")
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.drop_column("filter")
        batch_op.drop_column("parts")
    op.drop_table("version_diff")
    op.drop_table("test_image")


def _change_key(primary: list[str], order: list[str], key_type: sa.types.TypeEngine[str]) -> None:
    op.drop_index("version_entry_by_key", "version_entry")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("version_entry_pkey", "version_entry", type_="primary")
        op.create_primary_key("version_entry_pkey", "version_entry", primary)
        op.alter_column("version_entry", "key", type_=key_type)
    else:
        # SQLite writes the table anew; the name that the constraint is given is for this alone.
        naming = {"pk": "%(table_name)s_pkey"}
        with op.batch_alter_table("version_entry", schema=None, naming_convention=naming, recreate="always") as batch_op:
            batch_op.drop_constraint("version_entry_pkey", type_="primary")
            batch_op.create_primary_key("version_entry_pkey", primary)
    op.create_index("version_entry_by_key", "version_entry", order, unique=False)
