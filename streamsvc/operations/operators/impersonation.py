"""Impersonation: support staff get a read-only, short-lived session, which the owner sees in their list of sessions."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, ApiKey, Device, OperatorAccount, OperatorSession, Profile, Session
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.operations.credentials import sessions
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import ImpersonationInput
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security.operators import Operator
from streamsvc.settings import current_settings
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, lock_existing_row, lock_row

LIFETIME_NAME = "impersonation"


def start_impersonation(
    account_id: str, operator: Operator, body: ImpersonationInput, token: str, now: datetime
) -> Session:
    """Create an impersonation session with the hash of `token`, in the caller's transaction.

    Raises NotFound for the account or the profile, AccountNotActive, NotSignedIn.
    """
    account = lock_row(Account, account_id)
    if account is None or account.is_guest or account.status == "deleted":
        raise NotFound
    if account.status != "active":
        raise AccountNotActive
    profile_id = body["profile_id"]
    if profile_id and Profile.find_owned(account_id, profile_id) is None:
        raise NotFound
    _lock_active_operator(operator)
    device = Device(account_id=account_id, name="Support", kind="other", created_at=now, last_seen_at=now)
    device.removed_at = now  # belongs to no viewer: not listed, not counted
    db.session.add(device)
    db.session.flush()
    session = Session(
        account_id=account_id,
        device_id=device.id,
        profile_id=profile_id or Profile.find_default_id(account_id),
        token_hash=hash_token(token),
        lifetime=LIFETIME_NAME,
        epoch=current_settings().session_epoch,
        service_epoch=CURRENT_SERVICE_EPOCH,
        created_at=now,
        authenticated_at=now,
        last_seen_at=now,
        added_by_session_id=operator.session.session_id if operator.session else None,
        impersonated_by=operator.id,
        impersonation_reason=body["reason"],
    )
    db.session.add(session)
    db.session.flush()
    security_events.publish_session_started(session, "impersonation", device.kind, is_new_device=False)
    audit.record_event(
        "impersonation_started", account_id, actor=operator.id, session=session.id, reason=body["reason"]
    )
    return session


def end_operator_sessions(operator_id: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> list[str]:
    """End the operator's sessions that meet the conditions, and the impersonations that they began; their ids."""
    ended = OperatorSession.revoke_all(operator_id, now, *conditions)
    session_guard.note_ended_credentials(ended)
    sessions.end_impersonations(operator_id, now, Session.added_by_session_id.in_(ended))
    return ended


def _lock_active_operator(operator: Operator) -> None:
    """Lock the operator or API key, so that disabling it concurrently ends the new session too. Raises NotSignedIn."""
    if operator.session:
        account = lock_existing_row(OperatorAccount, operator.id)
        has_ended = (OperatorSession.id == operator.session.session_id, OperatorSession.ended_at.is_not(None))
        is_ended = db.session.scalar(sa.select(OperatorSession.id).where(*has_ended)) is not None
        is_active = account.status == "active" and account.role == operator.session.role and not is_ended
    else:
        is_active = lock_existing_row(ApiKey, operator.id).revoked_at is None
    if not is_active:
        raise NotSignedIn(presented=True)
