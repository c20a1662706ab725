"""gift codes for periods of a price"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

REFERENCES = {"price_id": "prices", "subscription_id": "subscriptions"}


def upgrade():
    with op.batch_alter_table("gift_codes") as gift_codes:
        gift_codes.add_column(sa.Column("periods", sa.Integer()))
        for column, table in REFERENCES.items():
            gift_codes.add_column(sa.Column(column, sa.String()))
            gift_codes.create_foreign_key(f"fk_gift_codes_{column}_{table}", table, [column], ["id"])


def downgrade():
    with op.batch_alter_table("gift_codes") as gift_codes:
        for column, table in REFERENCES.items():
            gift_codes.drop_constraint(f"fk_gift_codes_{column}_{table}", type_="foreignkey")
            gift_codes.drop_column(column)
        gift_codes.drop_column("periods")
