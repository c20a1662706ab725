"""tables and columns by the field's names: encrypted columns, billing holds, mailed tokens, rate-limit counters"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = {"proofs": "mailed_tokens", "ceremonies": "pending_flows", "throttles": "rate_limit_counters"}
COLUMNS = {
    ("api_keys", "signing_sealed"): "signing_key_encrypted",
    ("idempotency_keys", "begun"): "checkpoint",
    ("operators", "totp_sealed"): "totp_encrypted",
    ("operators", "totp_pending_sealed"): "totp_pending_encrypted",
    ("subscriptions", "parked_at"): "billing_held_at",
    ("subscriptions", "parked_reason"): "billing_hold_reason",
    ("totp_factors", "secret_sealed"): "secret_encrypted",
    ("webhook_endpoints", "secret_sealed"): "secret_encrypted",
    ("webhook_endpoints", "old_secret_sealed"): "old_secret_encrypted",
}


def upgrade():
    create_tables(*TABLES.values())
    for old, new in TABLES.items():
        move_rows(old, new)
    op.drop_index("ix_subscriptions_parked", "subscriptions")
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    create_hold_index("ix_subscriptions_on_billing_hold", "billing_held_at")


def downgrade():
    op.drop_index("ix_subscriptions_on_billing_hold", "subscriptions")
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    create_hold_index("ix_subscriptions_parked", "parked_at")
    create_tables(*TABLES)
    for old, new in TABLES.items():
        move_rows(new, old)


def create_hold_index(name, column):
    held = sa.text(f"{column} IS NOT NULL")
    op.create_index(name, "subscriptions", ["id"], sqlite_where=held, postgresql_where=held)


def create_tables(mailed_tokens, pending_flows, rate_limit_counters):
    """The three tables under the names given: constraints and indexes take their names from the table's."""
    op.create_table(
        mailed_tokens,
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id")),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), unique=True),
        sa.Column("data", Json, nullable=False),
        *lifetime(),
    )
    op.create_index(f"ix_{mailed_tokens}_account_id", mailed_tokens, ["account_id", "kind"])
    op.create_index(f"ix_{mailed_tokens}_expires_at", mailed_tokens, ["expires_at"])
    op.create_table(
        pending_flows,
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False, unique=True),
        sa.Column("session_id", sa.String(), sa.ForeignKey("sessions.id")),
        sa.Column("binding_hash", sa.String()),
        sa.Column("data", Json, nullable=False),
        *lifetime(),
    )
    op.create_index(f"ix_{pending_flows}_expires_at", pending_flows, ["expires_at"])
    op.create_table(
        rate_limit_counters,
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
    )
    op.create_index(f"ix_{rate_limit_counters}_until_s", rate_limit_counters, ["until_s"])


def lifetime():
    yield sa.Column("created_at", UtcTime(), nullable=False)
    yield sa.Column("expires_at", UtcTime(), nullable=False)
    yield sa.Column("used_at", UtcTime())


def move_rows(source, target):
    """Copy every row, then drop the source: both tables have the same columns in the same order."""
    op.execute(f"INSERT INTO {target} SELECT * FROM {source}")  # noqa: S608  (names from this file)
    op.drop_table(source)
