"""which session added each credential, changes of addresses and passwords, recoveries that support starts"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

IS_PENDING = sa.text("canceled_at IS NULL AND completed_at IS NULL")
ADDED_COLUMNS = {
    "accounts": ("restored_status",),
    "device_codes": ("decided_by_session_id", "decided_at"),
    "identities": ("added_by_session_id",),
    "passkeys": ("added_by_session_id",),
    "recovery_codes": ("added_by_session_id", "created_at"),
    "sessions": ("method", "added_by_session_id"),
    "totp_factors": ("added_by_session_id",),
}
TIMES = ("decided_at", "created_at")
CODES_ARE_AS_OLD_AS_THEIR_AUTHENTICATOR = """
    UPDATE recovery_codes SET created_at = COALESCE(
        (SELECT confirmed_at FROM totp_factors WHERE totp_factors.account_id = recovery_codes.account_id),
        (SELECT created_at FROM accounts WHERE accounts.id = recovery_codes.account_id)
    )
"""
SESSIONS_THAT_SIGNED_UP = """
    UPDATE sessions SET method = 'sign_up' WHERE impersonated_by IS NULL AND created_at =
        (SELECT created_at FROM accounts WHERE accounts.id = sessions.account_id)
"""


def upgrade():
    for table, columns in ADDED_COLUMNS.items():
        for column in columns:
            op.add_column(table, sa.Column(column, UtcTime() if column in TIMES else sa.String()))
    op.execute(CODES_ARE_AS_OLD_AS_THEIR_AUTHENTICATOR)
    op.execute(SESSIONS_THAT_SIGNED_UP)
    with op.batch_alter_table("recovery_codes") as codes:
        codes.alter_column("created_at", existing_type=UtcTime(), nullable=False)
    op.create_index("ix_device_codes_account_id", "device_codes", ["account_id"])
    op.create_table(
        "credential_changes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("previous_email", sa.String()),
        sa.Column("added_by_session_id", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("kind IN ('email', 'password')", name=op.f("ck_credential_changes_kind")),
    )
    op.create_index("ix_credential_changes_account_id", "credential_changes", ["account_id", "id"])
    op.create_table(
        "account_recoveries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("started_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("since", UtcTime()),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("only_older_can_cancel", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("ready_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("canceled_at", UtcTime()),
        sa.Column("canceled_by", sa.String()),
        sa.Column("completed_at", UtcTime()),
    )
    op.create_index("ix_account_recoveries_account_id", "account_recoveries", ["account_id", "id"])
    op.create_index(
        "uq_account_recoveries_pending",
        "account_recoveries",
        ["account_id"],
        unique=True,
        sqlite_where=IS_PENDING,
        postgresql_where=IS_PENDING,
    )


def downgrade():
    op.drop_table("account_recoveries")
    op.drop_table("credential_changes")
    op.drop_index("ix_device_codes_account_id", "device_codes")
    for table, columns in ADDED_COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
