"""idempotency keys: which members of a stored response are secrets; pending flows: when claimed

Also renews the keys of email addresses beyond ASCII, which now are NFKC with the domain in ASCII. Where two accounts
have the same one, the older keeps it, and the other one the key that it has.

Until now a placeholder in the text was what told a secret, so that a name in a response could pass for one. Responses
that are stored already get the members that this service wrote placeholders into.
"""

import json
import re

import sqlalchemy as sa
from alembic import op

from streamsvc.rules.emails import email_key
from streamsvc.storage.database import Json, UtcTime

revision = "0034"
down_revision = "0032"
branch_labels = None
depends_on = None

KEYS = sa.table("idempotency_keys", *map(sa.column, ("id", "body")), sa.column("secret_members", Json))
PLACEHOLDER = re.compile(r"(\[(?:secret|key|code|authenticator|trust) shown once\])")
MEMBERS = {"token", "secret", "otpauth_uri", "device_code", "user_code", "verification_uri_complete"}


def upgrade():
    op.add_column("pending_flows", sa.Column("claimed_at", UtcTime()))
    op.add_column("idempotency_keys", sa.Column("secret_members", Json))
    connection = op.get_bind()
    stored = sa.select(KEYS.c.id, KEYS.c.body).where(KEYS.c.body.like("% shown once]%"))
    for key_id, body in connection.execute(stored).all():
        members = list(find_members(json.loads(body)))
        connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(secret_members=members))
    for table in ("accounts", "operators"):
        renew_email_keys(connection, sa.table(table, *map(sa.column, ("id", "email", "email_key"))))


def renew_email_keys(connection, table):
    rows = connection.execute(sa.select(table.c.id, table.c.email, table.c.email_key).order_by(table.c.id)).all()
    used = {row.email_key for row in rows}
    for row in rows:
        new_key = email_key(row.email)
        if new_key not in used:
            connection.execute(sa.update(table).where(table.c.id == row.id).values(email_key=new_key))
            used.add(new_key)


def find_members(value, path=()):
    """Yield the members with placeholders: {path, parts, placeholders}."""
    if isinstance(value, str) and path and path[-1] in MEMBERS:
        pieces = PLACEHOLDER.split(value)
        if len(pieces) > 1:
            yield {"path": list(path), "parts": pieces[::2], "placeholders": pieces[1::2]}
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from find_members(inner, (*path, name))


def downgrade():
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.drop_column("secret_members")
    with op.batch_alter_table("pending_flows") as flows:
        flows.drop_column("claimed_at")
