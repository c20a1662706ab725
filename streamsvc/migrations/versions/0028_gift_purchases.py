"""gifts bought by viewers; gift codes that can be revoked"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("gift_codes", sa.Column("revoked_at", UtcTime()))
    op.create_table(
        "gift_purchases",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id"), nullable=False),
        sa.Column("gift_code_id", sa.String(), sa.ForeignKey("gift_codes.id")),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("price_id", sa.String(), sa.ForeignKey("prices.id")),
        sa.Column("periods", sa.Integer()),
        *(sa.Column(name, sa.String()) for name in ("recipient_email", "recipient_name", "sender_name", "message")),
        sa.Column("deliver_on", sa.Date(), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("delivered_at", UtcTime()),
        sa.Column("revoked_for", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("revoked_for IN ('refund', 'dispute')", name=op.f("ck_gift_purchases_revoked_for")),
    )
    op.create_index("ix_gift_purchases_account_id", "gift_purchases", ["account_id", "id"])
    op.create_index("uq_gift_purchases_invoice_id", "gift_purchases", ["invoice_id"], unique=True)
    op.create_index("uq_gift_purchases_gift_code_id", "gift_purchases", ["gift_code_id"], unique=True)


def downgrade():
    op.drop_table("gift_purchases")
    # A code that was revoked must not become usable again.
    op.execute("UPDATE gift_codes SET expires_at = revoked_at WHERE revoked_at IS NOT NULL")
    with op.batch_alter_table("gift_codes") as gift_codes:
        gift_codes.drop_column("revoked_at")
