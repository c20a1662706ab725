"""accounts, profiles, devices, sessions, API keys; jobs, workers, idempotency keys; the sandbox's clock and mails"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPEN_JOB = sa.text("done_at IS NULL AND failed_at IS NULL")


def upgrade():
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("email_verified_at", UtcTime()),
        sa.Column("password_hash", sa.String()),
        sa.Column("name", sa.String()),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_reason", sa.String()),
        sa.Column("disabled_until", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'disabled', 'deleted')", name=op.f("ck_accounts_status")),
    )
    op.create_index("uq_accounts_email_key", "accounts", ["email_key"], unique=True)
    op.create_table(
        "profiles",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("avatar", sa.String()),
        sa.Column("language", sa.String()),
        sa.Column("kids", sa.Boolean(), nullable=False),
        sa.Column("max_age", sa.Integer()),
        sa.Column("autoplay", sa.Boolean(), nullable=False),
        sa.Column("pin_hash", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_profiles_account_id", "profiles", ["account_id", "id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False, unique=True),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime()),
        sa.Column("revoked_at", UtcTime()),
        sa.Column("last_used_at", UtcTime()),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_seen_at", UtcTime(), nullable=False),
        sa.Column("removed_at", UtcTime()),
    )
    op.create_index("ix_devices_account_id", "devices", ["account_id", "id"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("device_id", sa.String(), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("profile_id", sa.String(), sa.ForeignKey("profiles.id")),
        sa.Column("token_hash", sa.String(), nullable=False, unique=True),
        sa.Column("lifetime", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("authenticated_at", UtcTime(), nullable=False),
        sa.Column("last_seen_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime()),
        sa.Column("address", sa.String()),
        sa.Column("user_agent", sa.String()),
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id", "id"])
    create_proofs()
    create_device_codes()
    create_passkeys()
    create_factors()
    create_security_tables()
    create_background_tables()
    create_sandbox_tables()


def create_proofs():
    op.create_table(
        "proofs",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id")),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), unique=True),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("used_at", UtcTime()),
    )
    op.create_index("ix_proofs_account_id", "proofs", ["account_id", "kind"])
    op.create_index("ix_proofs_expires_at", "proofs", ["expires_at"])


def create_device_codes():
    op.create_table(
        "device_codes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("device_code_hash", sa.String(), nullable=False, unique=True),
        sa.Column("user_code_hash", sa.String(), nullable=False, unique=True),
        sa.Column("device", Json, nullable=False),
        sa.Column("address", sa.String()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id")),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("next_poll_at", UtcTime(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'approved', 'denied', 'used')", name=op.f("ck_device_codes_status")),
    )
    op.create_index("ix_device_codes_expires_at", "device_codes", ["expires_at"])


def create_passkeys():
    op.create_table(
        "passkeys",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("credential_id", sa.String(), nullable=False, unique=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_used_at", UtcTime()),
    )
    op.create_index("ix_passkeys_account_id", "passkeys", ["account_id", "id"])


def create_factors():
    op.create_table(
        "totp_factors",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("secret_sealed", sa.String(), nullable=False),
        sa.Column("confirmed_at", UtcTime()),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False, unique=True),
        sa.Column("used_at", UtcTime()),
    )
    op.create_index("ix_recovery_codes_account_id", "recovery_codes", ["account_id"])


def create_security_tables():
    op.create_table(
        "throttles",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_throttles_until_s", "throttles", ["until_s"])
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("account_id", sa.String()),
        sa.Column("actor", sa.String()),
        sa.Column("details", Json),
        sa.Column("details_digest", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
    )
    op.create_index("ix_audit_events_account_id", "audit_events", ["account_id", "seq"])
    op.create_index("ix_audit_events_action", "audit_events", ["action", "seq"])


def create_background_tables():
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("dedupe", sa.String(), unique=True),
        sa.Column("run_at", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String()),
        sa.Column("leased_until", UtcTime()),
        sa.Column("done_at", UtcTime()),
        sa.Column("failed_at", UtcTime()),
        sa.Column("last_error", sa.String()),
    )
    op.create_index("ix_jobs_open_run_at", "jobs", ["run_at", "id"], sqlite_where=OPEN_JOB, postgresql_where=OPEN_JOB)
    op.create_table(
        "workers",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("leased_until", UtcTime()),
        sa.Column("begun", Json),
        sa.Column("status", sa.Integer()),
        sa.Column("content_type", sa.String()),
        sa.Column("body", sa.String()),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def create_sandbox_tables():
    op.create_table(
        "sandbox_clock",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("offset_us", sa.BigInteger(), nullable=False),
        sa.Column("moving_until", UtcTime()),
    )
    op.create_table(
        "sandbox_emails",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("to", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("html", sa.String()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sent_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_sandbox_emails_to", "sandbox_emails", ["to", "id"])


def downgrade():
    for table in (
        "sandbox_emails",
        "sandbox_clock",
        "idempotency_keys",
        "workers",
        "jobs",
        "audit_events",
        "throttles",
        "passkeys",
        "device_codes",
        "recovery_codes",
        "totp_factors",
        "proofs",
        "sessions",
        "devices",
        "api_keys",
        "profiles",
        "accounts",
    ):
        op.drop_table(table)
