"""sellers on invoices, legal entities with their countries, billing addresses, checks of VAT numbers"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATUSES = "'unchecked', 'valid', 'invalid'"


def upgrade():
    op.create_table(
        "legal_entities",
        sa.Column("code", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        *(sa.Column(name, sa.String()) for name in ("street", "postal_code", "city")),
        sa.Column("country", sa.String(), nullable=False),
        *(sa.Column(name, sa.String()) for name in ("vat_id", "tax_number", "registration", "email", "phone")),
        sa.Column("tax_exemption", sa.String()),
        sa.Column("prefix", sa.String(), nullable=False, unique=True),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "legal_entity_countries",
        sa.Column("country", sa.String(), primary_key=True),
        sa.Column("entity_code", sa.String(), sa.ForeignKey("legal_entities.code"), nullable=False),
    )
    op.create_index("ix_legal_entity_countries_entity_code", "legal_entity_countries", ["entity_code"])
    op.create_table(
        "billing_addresses",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        *(sa.Column(name, sa.String()) for name in ("name", "street", "postal_code", "city", "region")),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "tax_id_checks",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("completed_at", UtcTime()),
        *(sa.Column(name, sa.String()) for name in ("outcome", "error", "reference")),
        sa.CheckConstraint("outcome IN ('valid', 'invalid', 'unavailable')", name=op.f("ck_tax_id_checks_outcome")),
    )
    op.create_index("ix_tax_id_checks_account_id", "tax_id_checks", ["account_id", "id"])
    op.add_column("invoices", sa.Column("seller", Json))
    replace_statuses(STATUSES + ", 'unverified'")
    op.add_column("tax_ids", sa.Column("error", sa.String()))
    is_unconfirmed = sa.text("status IN ('unchecked', 'unverified')")
    op.create_index(
        "ix_tax_ids_unconfirmed",
        "tax_ids",
        ["account_id"],
        sqlite_where=is_unconfirmed,
        postgresql_where=is_unconfirmed,
    )


def downgrade():
    op.drop_index("ix_tax_ids_unconfirmed", "tax_ids")
    op.drop_column("tax_ids", "error")
    op.execute("UPDATE tax_ids SET status = 'unchecked' WHERE status = 'unverified'")
    replace_statuses(STATUSES)
    op.drop_column("invoices", "seller")
    for table in ("tax_id_checks", "billing_addresses", "legal_entity_countries", "legal_entities"):
        op.drop_table(table)


def replace_statuses(statuses):
    """Replace the constraint on the status of a VAT number."""
    with op.batch_alter_table("tax_ids") as tax_ids:
        tax_ids.drop_constraint(op.f("ck_tax_ids_status"), type_="check")
        tax_ids.create_check_constraint(op.f("ck_tax_ids_status"), f"status IN ({statuses})")
