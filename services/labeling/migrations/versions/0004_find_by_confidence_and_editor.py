"""Find pages by the confidence of their suggestions, and by who edited them last.

Version 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

from services.labeling.boxes import Source
from services.labeling.convert import boxes_from_bytes

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ROWS = 500


def upgrade() -> None:
    """Apply."""
    op.add_column("page", sa.Column("lowest_confidence", sa.Float(), nullable=True))
    op.add_column("page", sa.Column("last_editor", sa.String(length=100), server_default=sa.text("''"), nullable=False))
    op.create_index("page_by_editor", "page", ["project", "dataset_id", "last_editor", "key"])
    op.create_index("page_by_confidence", "page", ["project", "dataset_id", "lowest_confidence", "key"])
    op.execute(
        "UPDATE page SET last_editor = COALESCE((SELECT actor FROM operation "
        "WHERE operation.page_uid = page.uid AND operation.sequence = page.edited_sequence), '') WHERE edited_sequence > 0"
    )
    _fill_confidences()


def _fill_confidences() -> None:
    """From what stands on the pages."""
    bind = op.get_bind()
    following = sa.text(
        "SELECT page.uid, content.boxes FROM page JOIN content ON content.page_uid = page.uid "
        "WHERE page.num_suggestions > 0 AND page.uid > :uid ORDER BY page.uid LIMIT :size"
    )
    put = sa.text("UPDATE page SET lowest_confidence = :lowest WHERE uid = :uid")
    uid = ""
    while rows := bind.execute(following, {"uid": uid, "size": _ROWS}).all():
        for row in rows:
            lowest = min((box.confidence for box in boxes_from_bytes(bytes(row.boxes)) if box.source is Source.SUGGESTED), default=None)
            bind.execute(put, {"lowest": lowest, "uid": row.uid})
        uid = rows[-1].uid


def downgrade() -> None:
    """Undo."""
    op.drop_index("page_by_confidence", "page")
    op.drop_index("page_by_editor", "page")
    op.drop_column("page", "last_editor")
    op.drop_column("page", "lowest_confidence")
