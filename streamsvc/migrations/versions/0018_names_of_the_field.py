"""tables and columns by the field's names: encrypted columns, mailed tokens, pending flows"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = {"proofs": "mailed_tokens", "ceremonies": "pending_flows"}
INDEXES = {
    ("proofs", "account_id"): ["account_id", "kind"],
    ("proofs", "expires_at"): ["expires_at"],
    ("ceremonies", "expires_at"): ["expires_at"],
}
COLUMNS = {
    ("api_keys", "signing_sealed"): "signing_key_encrypted",
    ("totp_factors", "secret_sealed"): "secret_encrypted",
    ("operators", "totp_sealed"): "totp_encrypted",
    ("operators", "totp_pending_sealed"): "totp_pending_encrypted",
    ("webhook_endpoints", "secret_sealed"): "secret_encrypted",
    ("webhook_endpoints", "old_secret_sealed"): "old_secret_encrypted",
}


def upgrade():
    for table, name in INDEXES:
        op.drop_index(f"ix_{table}_{name}", table)
    for old, new in TABLES.items():
        op.rename_table(old, new)
    for (table, name), columns in INDEXES.items():
        op.create_index(f"ix_{TABLES[table]}_{name}", TABLES[table], columns)
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def downgrade():
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    for table, name in INDEXES:
        op.drop_index(f"ix_{TABLES[table]}_{name}", TABLES[table])
    for old, new in TABLES.items():
        op.rename_table(new, old)
    for (table, name), columns in INDEXES.items():
        op.create_index(f"ix_{table}_{name}", table, columns)
