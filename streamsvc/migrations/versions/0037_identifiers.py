"""usernames and telephone numbers as sign-in identifiers"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0037"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "usernames",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("username", sa.String(), nullable=False, unique=True),
        sa.Column("skeleton", sa.String(), nullable=False, unique=True),
        sa.Column("set_at", UtcTime(), nullable=False),
        sa.Column("added_by_session_id", sa.String()),
    )
    op.create_table(
        "phones",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("number", sa.String(), nullable=False, unique=True),
        sa.Column("verified_at", UtcTime(), nullable=False),
        sa.Column("added_by_session_id", sa.String()),
    )
    op.create_table(
        "phone_verifications",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False, unique=True),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("code_hash", sa.String()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_phone_verifications_expires_at", "phone_verifications", ["expires_at"])
    op.create_table(
        "sandbox_sms",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("to", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("sent_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_sandbox_sms_to", "sandbox_sms", ["to", "id"])


def downgrade():
    for table in ("sandbox_sms", "phone_verifications", "phones", "usernames"):
        op.drop_table(table)
