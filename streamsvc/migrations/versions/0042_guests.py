"""accounts of guests"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

CHECK = "ck_accounts_status"
IS_GUEST = sa.text("status = 'guest'")


def upgrade():
    with op.batch_alter_table("accounts") as accounts:
        accounts.drop_constraint(op.f(CHECK), type_="check")
        accounts.create_check_constraint(op.f(CHECK), "status IN ('active', 'disabled', 'deleted', 'guest')")
    op.create_index("ix_accounts_guests", "accounts", ["id"], sqlite_where=IS_GUEST, postgresql_where=IS_GUEST)


def downgrade():
    """Guests do not exist in the former version: they are deleted with what they own."""
    accounts = sa.table("accounts", sa.column("id"), sa.column("status"))
    profiles = sa.table("profiles", sa.column("id"), sa.column("account_id"))
    guest_ids = sa.select(accounts.c.id).where(accounts.c.status == "guest")
    profile_ids = sa.select(profiles.c.id).where(profiles.c.account_id.in_(guest_ids))
    for name in ("progress", "watchlist", "ratings"):
        table = sa.table(name, sa.column("profile_id"))
        op.execute(sa.delete(table).where(table.c.profile_id.in_(profile_ids)))
    for name in ("sessions", "devices", "profiles"):
        table = sa.table(name, sa.column("account_id"))
        op.execute(sa.delete(table).where(table.c.account_id.in_(guest_ids)))
    op.execute(sa.delete(accounts).where(accounts.c.status == "guest"))
    op.drop_index("ix_accounts_guests", "accounts")
    with op.batch_alter_table("accounts") as table:
        table.drop_constraint(op.f(CHECK), type_="check")
        table.create_check_constraint(op.f(CHECK), "status IN ('active', 'disabled', 'deleted')")
