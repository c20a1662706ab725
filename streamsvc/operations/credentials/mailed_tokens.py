"""Consumes mailed tokens. The account's row is locked before the token's, as everywhere, to avoid deadlocks."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, lock_row


def consume_mailed_token(token: str, now: datetime, *kinds: str) -> MailedToken | None:
    """Consume an open token of one of these kinds, in the caller's transaction; None if there is none.

    Of concurrent requests with the same token only one gets it.
    """
    token_hash = hash_token(token)
    row = db.session.execute(
        sa.select(MailedToken.kind, MailedToken.account_id).where(
            MailedToken.token_hash == token_hash, MailedToken.kind.in_(kinds), *MailedToken.open_conditions(now)
        )
    ).first()
    if row is None:
        return None
    if row.account_id:
        lock_row(Account, row.account_id)
    return MailedToken.consume(row.kind, token_hash, now)
