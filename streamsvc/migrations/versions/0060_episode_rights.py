"""windows, plans, age ratings, languages and ids of episodes"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

EPISODE_COLUMNS = {
    "rights": {"type_": sa.Text()},
    "age_gate": {"type_": sa.Integer()},
    "windowed": {"type_": sa.Boolean(), "nullable": False, "server_default": sa.false()},
    "plan_limited": {"type_": sa.Boolean(), "nullable": False, "server_default": sa.false()},
    "localizations": {"type_": sa.Text()},
    "detail": {"type_": sa.Text()},
}


def upgrade():
    for name, options in EPISODE_COLUMNS.items():
        op.add_column("episodes", sa.Column(name, **options))
    op.create_table(
        "part_windows",
        sa.Column("title_pk", sa.Integer(), sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False),
        sa.Column("item", sa.String(), primary_key=True),
        sa.Column("country", sa.String(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("starts_at", UtcTime()),
        sa.Column("ends_at", UtcTime()),
    )
    op.create_index("ix_part_windows_starts_at", "part_windows", ["starts_at"])
    op.create_index("ix_part_windows_ends_at", "part_windows", ["ends_at"])
    op.create_table(
        "episode_plans",
        sa.Column("title_pk", sa.Integer(), sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False),
        sa.Column("item", sa.String(), primary_key=True),
        sa.Column("plan_code", sa.String(), primary_key=True),
    )


def downgrade():
    op.drop_table("episode_plans")
    op.drop_table("part_windows")
    for name in reversed(EPISODE_COLUMNS):
        op.drop_column("episodes", name)
