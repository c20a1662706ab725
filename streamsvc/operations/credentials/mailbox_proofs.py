"""The first proof of a mailbox. Whoever signs up with somebody else's address must lose the account to its owner.

What was set before the first proof proves nothing, unless the proof comes from the session that signed up: its holder
then has both. Otherwise everything is revoked: password, sessions, factors and linked providers.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Session
from streamsvc.operations.credentials.access_revocation import revoke_access
from streamsvc.operations.outbox import audit
from streamsvc.rules.sign_in.access import REVOKE_EVERYTHING
from streamsvc.storage.database import fetch_existing, fetch_one

SIGN_UP = "sign_up"
"""The `method` of the session that signed up."""


@dataclass(frozen=True)
class Prover:
    """Who presents a mailed token: the live session of the request, if any, and its binding."""

    session_id: str | None = None
    binding: str = ""


def is_first_foreign_proof(account_id: str, prover: Prover) -> bool:
    """Whether the address is unproven until now, and the prover is not the session that signed up."""
    account = fetch_existing(sa.select(Account.email_verified_at).where(Account.id == account_id))
    if account.email_verified_at is not None:
        return False
    signed_up = (Session.id == prover.session_id, Session.account_id == account_id, Session.method == SIGN_UP)
    return fetch_one(sa.select(Session.id).where(*signed_up)) is None


def record_mailbox_proof(account: Account, prover: Prover, now: datetime) -> bool:
    """Mark the locked account's address as verified; whether everything set before was revoked for it."""
    if account.email_verified_at is not None:
        return False
    is_foreign = is_first_foreign_proof(account.id, prover)
    if is_foreign:
        revoke_access(account.id, REVOKE_EVERYTHING, now, cause="address_proved")
    account.email_verified_at = now
    audit.record_event("email_verified", account.id)
    return is_foreign
