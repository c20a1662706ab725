"""sessions bound to a key of their device, and the proofs that were used"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("sessions", sa.Column("dpop_jkt", sa.String()))
    op.create_table(
        "dpop_proofs",
        sa.Column("proof_hash", sa.String(), primary_key=True),
        sa.Column("expires_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_dpop_proofs_expires_at", "dpop_proofs", ["expires_at"])


def downgrade():
    op.drop_table("dpop_proofs")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("dpop_jkt")
