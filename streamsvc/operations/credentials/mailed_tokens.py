"""Using up what was mailed. The account's row is locked before the proof's, as everywhere: nobody waits in a circle."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Proof
from streamsvc.rules.sign_in.sessions import fingerprint
from streamsvc.storage.database import db, lock


def use(token: str, now: datetime, *kinds: str) -> Proof | None:
    """Use up the proof of one of these kinds, once whoever asks, in the caller's unit of work; None: there is none."""
    kept = fingerprint(token)
    found = db.session.execute(
        sa.select(Proof.kind, Proof.account_id).where(Proof.token_hash == kept, Proof.kind.in_(kinds), *Proof.open(now))
    ).first()
    if found is None:
        return None
    if found.account_id:
        lock(Account, found.account_id)
    return Proof.use(found.kind, kept, now)
