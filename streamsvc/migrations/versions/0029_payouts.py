"""payouts of account credit"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "payouts",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("amount_minor", "paid_minor", "forced_minor")),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("bank_transfer_minor", sa.BigInteger(), nullable=False),
        sa.Column("bank_transfer_status", sa.String()),
        sa.Column("reference", sa.String()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime()),
        sa.CheckConstraint("status IN ('pending', 'paid', 'partly_paid', 'failed')", name=op.f("ck_payouts_status")),
        sa.CheckConstraint(
            "bank_transfer_status IN ('pending', 'paid', 'failed')", name=op.f("ck_payouts_bank_transfer_status")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payouts_amount")),
    )
    op.create_index("ix_payouts_account_id", "payouts", ["account_id", "id"])
    with op.batch_alter_table("refunds") as refunds:
        refunds.add_column(sa.Column("payout_id", sa.String()))
        refunds.create_foreign_key("fk_refunds_payout_id_payouts", "payouts", ["payout_id"], ["id"])
    op.create_index(
        "ix_refunds_payout_id",
        "refunds",
        ["payout_id"],
        sqlite_where=sa.text("payout_id IS NOT NULL"),
        postgresql_where=sa.text("payout_id IS NOT NULL"),
    )


def downgrade():
    op.drop_index("ix_refunds_payout_id", "refunds")
    with op.batch_alter_table("refunds") as refunds:
        refunds.drop_constraint("fk_refunds_payout_id_payouts", type_="foreignkey")
        refunds.drop_column("payout_id")
    op.drop_table("payouts")
