"""Using up what was mailed. The account's row is locked before the proof's, as everywhere: nobody waits in a circle."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, lock_row


def consume_mailed_token(token: str, now: datetime, *kinds: str) -> MailedToken | None:
    """Use up the proof of one of these kinds, once whoever asks, in the caller's unit of work; None: there is none."""
    kept = hash_token(token)
    found = db.session.execute(
        sa.select(MailedToken.kind, MailedToken.account_id).where(
            MailedToken.token_hash == kept, MailedToken.kind.in_(kinds), *MailedToken.open_conditions(now)
        )
    ).first()
    if found is None:
        return None
    if found.account_id:
        lock_row(Account, found.account_id)
    return MailedToken.consume(found.kind, kept, now)
