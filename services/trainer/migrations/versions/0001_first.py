"""The first tables of the trainer.

Version 0001, after nothing.
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
        "deployment",
        sa.Column("name", sa.String(length=240), nullable=False),
        sa.Column("model", sa.String(length=240), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("deployment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deployment_model"), ["model"], unique=False)

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
        "model",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=240), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("is_base", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("charset_digest", sa.String(length=64), nullable=False),
        sa.Column("num_characters", sa.Integer(), nullable=False),
        sa.Column("model_size", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("base_metrics", sa.JSON(), nullable=False),
        sa.Column("task", sa.String(length=240), nullable=False),
        sa.Column("dataset_version", sa.String(length=340), nullable=False),
        sa.Column("base", sa.String(length=240), nullable=False),
        sa.Column("code_version", sa.String(length=60), nullable=False),
        sa.Column("gate", sa.JSON(), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("name"),
    )
    with op.batch_alter_table("model", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_bundle_digest"), ["bundle_digest"], unique=False)
        batch_op.create_index("model_by_project", ["project", "is_base", "uid"], unique=False)

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
        "task",
        sa.Column("uid", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=240), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(length=240), nullable=False),
        sa.Column("algorithm", sa.String(length=60), nullable=False),
        sa.Column("base", sa.String(length=240), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("num_gpus", sa.Integer(), nullable=False),
        sa.Column("gpu_type", sa.String(length=60), nullable=False),
        sa.Column("validation_fraction", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error_message", sa.String(), nullable=False),
        sa.Column("version", sa.String(length=340), nullable=False),
        sa.Column("model", sa.String(length=240), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("terminate_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("project", "request_id"),
    )
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_state"), ["state"], unique=False)
        batch_op.create_index("task_by_project", ["project", "uid"], unique=False)

    op.create_table(
        "log",
        sa.Column("task_uid", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_uid"], ["task.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_uid", "sequence"),
    )
    op.create_table(
        "node",
        sa.Column("task_uid", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["task_uid"], ["task.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_uid", "node_id"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("node")
    op.drop_table("log")
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.drop_index("task_by_project")
        batch_op.drop_index(batch_op.f("ix_task_state"))

    op.drop_table("task")
    op.drop_table("outbox")
    with op.batch_alter_table("model", schema=None) as batch_op:
        batch_op.drop_index("model_by_project")
        batch_op.drop_index(batch_op.f("ix_model_bundle_digest"))

    op.drop_table("model")
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_inbox_heard_time"))

    op.drop_table("inbox")
    with op.batch_alter_table("deployment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deployment_model"))

    op.drop_table("deployment")
