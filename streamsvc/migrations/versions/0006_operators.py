"""operators as people, sessions in which support looks on, and what a front end signs with"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "operators",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String()),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String()),
        sa.Column("totp_sealed", sa.String()),
        sa.Column("totp_pending_sealed", sa.String()),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'disabled', 'removed')", name="status"),
    )
    op.create_index("uq_operators_email_key", "operators", ["email_key"], unique=True)
    op.create_table(
        "operator_codes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("operator_id", sa.String(), sa.ForeignKey("operators.id"), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False, unique=True),
        sa.Column("used_at", UtcTime()),
    )
    op.create_index("ix_operator_codes_operator_id", "operator_codes", ["operator_id"])
    op.create_table(
        "operator_sessions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("operator_id", sa.String(), sa.ForeignKey("operators.id"), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False, unique=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("authenticated_at", UtcTime(), nullable=False),
        sa.Column("last_seen_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime()),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("user_agent", sa.String(), nullable=False),
    )
    op.create_index("ix_operator_sessions_operator_id", "operator_sessions", ["operator_id", "id"])
    op.add_column("api_keys", sa.Column("signing_sealed", sa.String()))
    op.add_column("sessions", sa.Column("impersonated_by", sa.String()))
    op.add_column("sessions", sa.Column("impersonation_reason", sa.String()))
    op.create_index(
        "ix_sessions_impersonated_by",
        "sessions",
        ["impersonated_by"],
        sqlite_where=sa.text("impersonated_by IS NOT NULL"),
        postgresql_where=sa.text("impersonated_by IS NOT NULL"),
    )


def downgrade():
    op.drop_index("ix_sessions_impersonated_by", "sessions")
    op.drop_column("sessions", "impersonation_reason")
    op.drop_column("sessions", "impersonated_by")
    op.drop_column("api_keys", "signing_sealed")
    for table in ("operator_sessions", "operator_codes", "operators"):
        op.drop_table(table)
