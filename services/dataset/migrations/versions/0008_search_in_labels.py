"""Search in labels.

Version 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

from services.dataset.boxes import boxes_from_bytes
from services.dataset.search.words import entry_of, words_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ROWS = 500


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "search_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dataset_uid", sa.String(length=40), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("words", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dataset_uid", "image_id"),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX sql_search_words ON search_entry USING gin (array_to_tsvector(string_to_array(words, ' ')))")
    else:
        # Without a copy of the words and without their places: a third of the size.
        op.execute("CREATE VIRTUAL TABLE sql_search_words USING fts5 (words, content='', detail=none, tokenize='ascii')")
    _fill()


def _fill() -> None:
    """Take in the labels that are there already."""
    bind = op.get_bind()
    is_lite = bind.dialect.name == "sqlite"
    entry = sa.text("INSERT INTO search_entry (dataset_uid, image_id, words) VALUES (:uid, :image_id, :words) RETURNING id")
    following = "SELECT dataset_uid, image_id, data FROM boxes WHERE (dataset_uid, image_id) > (:uid, :image_id) ORDER BY 1, 2 LIMIT :size"
    uid, image_id = "", ""
    while rows := bind.execute(sa.text(following), {"uid": uid, "image_id": image_id, "size": _ROWS}).all():
        for row in rows:
            texts = [box.text for box in boxes_from_bytes(bytes(row.data)) if box.text]
            if not texts:
                continue
            words = entry_of(row.dataset_uid, words_of(texts))
            values = {"uid": row.dataset_uid, "image_id": row.image_id, "words": None if is_lite else words}
            number = bind.execute(entry, values).scalar_one()
            if is_lite:
                put = sa.text("INSERT INTO sql_search_words (rowid, words) VALUES (:id, :words)")
                bind.execute(put, {"id": number, "words": words})
        uid, image_id = rows[-1].dataset_uid, rows[-1].image_id


def downgrade() -> None:
    """Undo."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE sql_search_words")
    op.drop_table("search_entry")
