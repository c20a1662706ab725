"""customers at the payment provider; lookups of methods and refunds by the provider's reference"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade():
    customers = op.create_table(
        "provider_customers",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_provider_customers_account_id_accounts"),
        sa.PrimaryKeyConstraint("account_id", name="pk_provider_customers"),
        sa.UniqueConstraint("reference", name="uq_provider_customers_reference"),
    )
    _store_customers_of_methods(customers)
    op.create_index("ix_payment_methods_reference", "payment_methods", ["reference"])
    op.create_index("uq_refunds_provider_reference", "refunds", ["provider_reference"], unique=True)


def _store_customers_of_methods(customers: sa.Table) -> None:
    """Store the customer of each account's latest method, whose reference is `cus_…/pm_…`."""
    connection = op.get_bind()
    columns = [sa.column(name) for name in ("id", "account_id", "provider", "reference")]
    methods = sa.table("payment_methods", *columns, sa.column("created_at", UtcTime()))
    by_account, by_reference = {}, {}
    statement = sa.select(methods).where(methods.c.provider == "stripe").order_by(methods.c.id)
    for row in connection.execute(statement):
        reference = row.reference.partition("/")[0]
        if by_reference.setdefault(reference, row.account_id) == row.account_id:
            by_account[row.account_id] = {
                "account_id": row.account_id,
                "provider": row.provider,
                "reference": reference,
                "created_at": row.created_at,
            }
    if by_account:
        connection.execute(sa.insert(customers), list(by_account.values()))


def downgrade():
    op.drop_index("uq_refunds_provider_reference", "refunds")
    op.drop_index("ix_payment_methods_reference", "payment_methods")
    op.drop_table("provider_customers")
