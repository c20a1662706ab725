"""Passkeys (WebAuthn level 2): registration, removal, sign-in and reauthentication.

A passkey whose authenticator verified its user counts as two factors: possession, and knowledge or biometrics. Without
user verification it counts as one, and an account with an authenticator app must give its code as well.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways import authenticators
from streamsvc.gateways.authenticators import VerificationFailed, VerifiedCredential
from streamsvc.models import Account, Passkey, PendingFlow
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import pending_flows
from streamsvc.operations.credentials.factor_notices import enqueue_factor_added_mail
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.refusals.accounts import InvalidCredentials, PasskeyInvalid, PasskeyLimit
from streamsvc.rules.sign_in.passkeys import MAX_PASSKEYS, is_sign_count_valid, relying_party_and_origin
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_one, lock_existing_row, lock_row

CHALLENGE_BYTES = 32
REAUTHENTICATION_FLOW = "passkey_reauthentication"
UNKNOWN_PASSKEY_DETAIL = "This passkey cannot be used to sign in to an account here."


@dataclass(frozen=True)
class VerifiedAssertion:
    """A passkey's valid signature over the challenge of an open flow."""

    passkey: sa.Row
    flow: sa.Row
    response: VerifiedCredential


def start_passkey_registration(account_id: str, email: str, session_id: str, now: datetime) -> dict:
    """Return the options to create a passkey with, in the caller's transaction. Raises PasskeyLimit."""
    credential_ids = _list_credential_ids(account_id)
    if len(credential_ids) >= MAX_PASSKEYS:
        raise PasskeyLimit(limit=MAX_PASSKEYS)
    challenge = _create_challenge("passkey_registration", now, session_id=session_id)
    return authenticators.creation_options(_relying_party()[0], challenge, account_id, email, credential_ids)


def complete_passkey_registration(
    account_id: str, session_id: str, credential: Mapping[str, Any], name: str, now: datetime
) -> Passkey:
    """Verify and store a passkey created for this session. Raises PasskeyInvalid, PasskeyLimit."""
    try:
        challenge = authenticators.read_challenge(credential)
        flow = pending_flows.find_session_flow("passkey_registration", challenge.hex(), session_id, now)
        if flow is None:
            raise PasskeyInvalid
        verified = authenticators.verify_registration(credential, challenge, *_relying_party())
    except VerificationFailed:
        raise PasskeyInvalid from None
    account = lock_existing_row(Account, account_id)
    if not PendingFlow.consume(flow.id, now):
        raise PasskeyInvalid
    if len(_list_credential_ids(account_id)) >= MAX_PASSKEYS:
        raise PasskeyLimit(limit=MAX_PASSKEYS)
    passkey = Passkey(account_id=account_id, credential_id=verified.credential_id, name=name)
    passkey.public_key, passkey.sign_count, passkey.created_at = verified.public_key, verified.sign_count, now
    passkey.added_by_session_id = session_id
    db.session.add(passkey)
    try:
        db.session.flush()
    except IntegrityError:  # another passkey has this credential id
        db.session.rollback()
        raise PasskeyInvalid from None
    audit.record_event("authn_factor_added", account_id, factor="passkey", passkey=passkey.id)
    security_events.publish_factor_added(account_id, "passkey", passkey.id)
    enqueue_factor_added_mail(account.email, account_id, session_id, f"The passkey “{name}”", now)
    return passkey


def delete_passkey(passkey: Passkey, now: datetime) -> None:
    """Delete a passkey and notify its owner by mail."""
    audit.record_event("authn_factor_removed", passkey.account_id, factor="passkey", passkey=passkey.id)
    security_events.publish_factor_removed(passkey.account_id, "passkey", passkey.id)
    email = db.session.get_one(Account, passkey.account_id).email
    mail.enqueue_mail("factor_removed", email, now, factor=f"The passkey “{passkey.name}”")
    db.session.delete(passkey)


def start_passkey_sign_in(binding: str | None, now: datetime) -> dict:
    """Return the options to sign in with, in the caller's transaction; only the holder of `binding` can use them."""
    challenge = _create_challenge("passkey_sign_in", now, binding=binding)
    return authenticators.request_options(_relying_party()[0], challenge)


def verify_passkey_sign_in(
    credential: Mapping[str, Any], binding: str, by_cookie: bool, now: datetime
) -> VerifiedAssertion:
    """Verify an assertion without consuming its challenge. Raises InvalidCredentials."""

    def find_flow(challenge: str) -> sa.Row | None:
        return pending_flows.find_browser_flow("passkey_sign_in", challenge, binding, by_cookie, now)

    return _verify_assertion(credential, find_flow)


def start_passkey_reauthentication(account_id: str, session_id: str, now: datetime) -> dict:
    """Return the options to reauthenticate with, in the caller's transaction."""
    challenge = _create_challenge(REAUTHENTICATION_FLOW, now, session_id=session_id)
    return authenticators.request_options(_relying_party()[0], challenge, _list_credential_ids(account_id))


def complete_passkey_reauthentication(
    credential: Mapping[str, Any], account_id: str, session_id: str, now: datetime
) -> None:
    """Verify an assertion of one of the account's passkeys for this session. Commits. Raises InvalidCredentials."""

    def find_flow(challenge: str) -> sa.Row | None:
        return pending_flows.find_session_flow(REAUTHENTICATION_FLOW, challenge, session_id, now)

    assertion = _verify_assertion(credential, find_flow)
    if assertion.passkey.account_id != account_id:
        raise _record_failure(account_id, "passkey of another account")
    consume_assertion(assertion, now)
    db.session.commit()


def _verify_assertion(credential: Mapping[str, Any], find_flow: Callable[[str], sa.Row | None]) -> VerifiedAssertion:
    """Verify the credential against the flow that `find_flow` finds for its challenge, in hex.

    Raises InvalidCredentials.
    """
    account_id = None
    try:
        challenge = authenticators.read_challenge(credential)
        flow = find_flow(challenge.hex())
        passkey = fetch_one(sa.select(*Passkey.__table__.c).where(Passkey.credential_id == str(credential.get("id"))))
        if flow is None or passkey is None:
            raise VerificationFailed("unknown challenge" if flow is None else "unknown passkey")
        account_id = passkey.account_id
        response = authenticators.verify_assertion(credential, challenge, *_relying_party(), passkey.public_key)
        if authenticators.read_user_handle(credential) not in (None, account_id):
            raise VerificationFailed("user handle of another account")
    except VerificationFailed as error:
        raise _record_failure(account_id, str(error)) from None
    return VerifiedAssertion(passkey, flow, response)


def consume_assertion(assertion: VerifiedAssertion, now: datetime) -> str:
    """Consume the challenge and update the sign count, in the caller's transaction; returns the account's id.

    Raises InvalidCredentials, also if the sign count went back.
    """
    account = lock_existing_row(Account, assertion.passkey.account_id)
    passkey = lock_row(Passkey, assertion.passkey.id)
    if not PendingFlow.consume(assertion.flow.id, now) or passkey is None or not can_sign_in(account):
        db.session.rollback()
        raise _record_failure(assertion.passkey.account_id, "challenge used, passkey removed or account closed")
    sign_count = assertion.response.sign_count
    if not is_sign_count_valid(passkey.sign_count, sign_count):
        counts = {"stored_count": passkey.sign_count, "received_count": sign_count}
        audit.record_event("authn_passkey_count_regressed", account.id, actor="anonymous", passkey=passkey.id, **counts)
        raise _record_failure(account.id, "the sign count went back; the passkey may have been cloned")
    passkey.sign_count, passkey.last_used_at = sign_count, now
    return account.id


def _record_failure(account_id: str | None, reason: str) -> InvalidCredentials:
    """Record the failure in the audit log, and return the error to raise. Commits."""
    audit.record_event("authn_login_fail", account_id, actor="anonymous", method="passkey", why=reason)
    db.session.commit()
    return InvalidCredentials(detail=UNKNOWN_PASSKEY_DETAIL)


def _create_challenge(kind: str, now: datetime, **owner: Any) -> bytes:
    """Start a flow and return its challenge; `owner` is the `session_id` or `binding` that can complete it."""
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    pending_flows.start_flow(kind, challenge.hex(), now, **owner)
    return challenge


def _list_credential_ids(account_id: str) -> list[str]:
    return list(db.session.scalars(sa.select(Passkey.credential_id).where(Passkey.account_id == account_id)))


def _relying_party() -> tuple[str, list[str]]:
    """(relying party id, origins) of this service and its front ends; browsers require an origin to fit the id."""
    settings = current_settings()
    rp_id, own_origin = relying_party_and_origin(settings.public_url)
    return rp_id, [own_origin, *settings.cors_origins]
