"""live channels and their programmes"""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0060"
branch_labels = None
depends_on = None

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade():
    op.create_table(
        "channels",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("age_gate", sa.Integer(), nullable=False),
        sa.Column("guide_key", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("pk", name="pk_channels"),
        sa.UniqueConstraint("id", name="uq_channels_id"),
        sa.UniqueConstraint("external_id", name="uq_channels_external_id"),
    )
    op.create_index("ix_channels_position", "channels", ["position", "pk"])
    op.create_index("ix_channels_guide_key", "channels", ["guide_key"])
    op.create_table(
        "channel_media_files",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("path", Sortable, nullable=False),
        sa.Column("channel_pk", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["channel_pk"], ["channels.pk"], name="fk_channel_media_files_channel_pk_channels"),
        sa.PrimaryKeyConstraint("host", "path", "channel_pk", name="pk_channel_media_files"),
    )
    op.create_index("ix_channel_media_files_channel_pk", "channel_media_files", ["channel_pk"])
    op.create_table(
        "programmes",
        sa.Column("channel_pk", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("min_age", sa.Integer()),
        sa.Column("title_id", sa.String()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["channel_pk"], ["channels.pk"], name="fk_programmes_channel_pk_channels"),
        sa.PrimaryKeyConstraint("channel_pk", "starts_at", name="pk_programmes"),
        sa.UniqueConstraint("id", name="uq_programmes_id"),
    )


def downgrade():
    for table in ("programmes", "channel_media_files", "channels"):
        op.drop_table(table)
