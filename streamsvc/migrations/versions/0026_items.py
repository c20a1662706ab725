"""add-ons as items, tax categories, part payments"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

RATES = sa.table("tax_rates", *map(sa.column, ("country", "rate_ppm", "name")), sa.column("updated_at", UtcTime()))


def upgrade():
    op.add_column("plans", sa.Column("addon_features", Json, nullable=False, server_default="{}"))
    op.add_column("plans", sa.Column("includes", Json, nullable=False, server_default="[]"))
    op.add_column("plans", sa.Column("sold_with", Json, nullable=False, server_default="[]"))
    op.add_column("plans", sa.Column("tax_category", sa.String(), nullable=False, server_default="standard"))
    op.add_column("subscriptions", sa.Column("addons", Json))
    op.add_column("subscriptions", sa.Column("addon_grants", Json))
    op.add_column("invoice_lines", sa.Column("tax_category", sa.String()))
    op.add_column("invoice_lines", sa.Column("tax_name", sa.String()))
    op.add_column("payments", sa.Column("requested_minor", sa.BigInteger()))
    op.add_column("payments", sa.Column("reference", sa.String()))
    with op.batch_alter_table("payments") as payments:
        payments.alter_column("payment_method_id", existing_type=sa.String(), nullable=True)
    replace_tax_rates(["country", "category"], sa.select(RATES, sa.literal("standard").label("category")))


def downgrade():
    replace_tax_rates(["country"], sa.select(RATES).where(sa.column("category") == "standard"))
    with op.batch_alter_table("payments") as payments:
        payments.alter_column("payment_method_id", existing_type=sa.String(), nullable=False)
        payments.drop_column("reference")
        payments.drop_column("requested_minor")
    for table, columns in (
        ("invoice_lines", ("tax_name", "tax_category")),
        ("subscriptions", ("addon_grants", "addons")),
        ("plans", ("tax_category", "sold_with", "includes", "addon_features")),
    ):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)


def replace_tax_rates(key, former_rates):
    """Create the table again with this primary key: SQLite cannot change it. There are few rows per country."""
    rows = [dict(row) for row in op.get_bind().execute(former_rates).mappings()]
    op.drop_table("tax_rates")
    table = op.create_table(
        "tax_rates",
        *(sa.Column(name, sa.String(), primary_key=True) for name in key),
        sa.Column("rate_ppm", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )
    if rows:
        op.bulk_insert(table, rows)
