"""Support looks on as a viewer: a session that changes nothing, ends soon, and that the owner sees among their own."""

from datetime import datetime

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Account, ApiKey, Device, OperatorAccount, Profile, Session
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security.operators import Operator
from streamsvc.storage.database import db, lock_row

LIFETIME_NAME = "impersonation"


def start_impersonation(account_id: str, operator: Operator, body: dict, token: str, now: datetime) -> Session:
    """A session under `token`, in the caller's unit of work; `asked` is {reason, profile_id}.

    Raises NotFound for the account or the profile, AccountNotActive, NotSignedIn.
    """
    account = lock_row(Account, account_id)
    if account is None or account.status == "deleted":
        raise NotFound
    if account.status != "active":
        raise AccountNotActive
    profile_id = body["profile_id"]
    if profile_id and Profile.of(account_id, profile_id) is None:
        raise NotFound
    _lock_active_operator(operator)
    device = Device(account_id=account_id, name="Support", kind="other", created_at=now, last_seen_at=now)
    device.removed_at = now  # it is nobody's: not listed, not counted
    db.session.add(device)
    db.session.flush()
    session = Session(
        account_id=account_id,
        device_id=device.id,
        profile_id=profile_id or Profile.find_default_id(account_id),
        token_hash=hash_token(token),
        lifetime=LIFETIME_NAME,
        epoch=current_app.extensions["settings"].session_epoch,
        created_at=now,
        authenticated_at=now,
        last_seen_at=now,
        impersonated_by=operator.id,
        impersonation_reason=body["reason"],
    )
    db.session.add(session)
    db.session.flush()
    audit.record_event(
        "impersonation_started", account_id, actor=operator.id, session=session.id, reason=body["reason"]
    )
    return session


def revoke_impersonations(operator_id: str, now: datetime) -> None:
    """End whatever this operator, or this API key, looks at; in the caller's unit of work."""
    theirs = (Session.impersonated_by == operator_id, Session.ended_at.is_(None))
    db.session.execute(sa.update(Session).where(*theirs).values(ended_at=now))


def _lock_active_operator(operator: Operator) -> None:
    """Lock who asks, so that disabling them at this moment ends this session too. Raises NotSignedIn."""
    if operator.session:
        person = lock_row(OperatorAccount, operator.id)
        still = person.status == "active" and person.role == operator.session.role
    else:
        still = lock_row(ApiKey, operator.id).revoked_at is None
    if not still:
        raise NotSignedIn(presented=True)
