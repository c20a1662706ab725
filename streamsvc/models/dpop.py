"""dpop_proofs: the proofs that were used, so that none is accepted twice."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class DpopProof(Base):
    __tablename__ = "dpop_proofs"
    __table_args__ = (sa.Index("ix_dpop_proofs_expires_at", "expires_at"),)

    proof_hash: Mapped[str] = mapped_column(primary_key=True)
    """The hash of the key's thumbprint and the proof's `jti`."""
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
