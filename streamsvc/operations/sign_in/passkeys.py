"""Passkeys (WebAuthn level 2): made, removed, and signed in with.

An authenticator that knew its user proves two things at once: what one has, and what one knows or is. One that did
not proves the first alone, and an account with an authenticator app is asked for its code as ever.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways import authenticators
from streamsvc.gateways.authenticators import VerificationFailed, VerifiedCredential
from streamsvc.models import Account, Passkey, PendingFlow
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import pending_flows
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.refusals.accounts import InvalidCredentials, PasskeyInvalid, PasskeyLimit
from streamsvc.rules.sign_in.passkeys import MAX_PASSKEYS, is_sign_count_valid, relying_party_and_origin
from streamsvc.storage.database import db, fetch_one, lock_row

CHALLENGE_BYTES = 32
REAUTHENTICATION_FLOW = "passkey_reauthentication"
UNKNOWN_PASSKEY_DETAIL = "This passkey does not open an account here."


@dataclass(frozen=True)
class VerifiedAssertion:
    """A passkey that signed the challenge of an open ceremony."""

    passkey: sa.Row
    flow: sa.Row
    response: VerifiedCredential


def start_passkey_registration(account_id: str, email: str, session_id: str, now: datetime) -> dict:
    """What to ask an authenticator for, in the caller's unit of work. Raises PasskeyLimit."""
    known = _list_credential_ids(account_id)
    if len(known) >= MAX_PASSKEYS:
        raise PasskeyLimit(limit=MAX_PASSKEYS)
    challenge = _create_challenge("passkey_registration", now, session_id=session_id)
    return authenticators.creation_options(_relying_party()[0], challenge, account_id, email, known)


def complete_passkey_registration(
    account_id: str, session_id: str, credential: dict, name: str, now: datetime
) -> Passkey:
    """Keep the passkey that was made for this session. Raises PasskeyInvalid, PasskeyLimit."""
    try:
        challenge = authenticators.read_challenge(credential)
        began = pending_flows.find_session_flow("passkey_registration", challenge.hex(), session_id, now)
        if began is None:
            raise PasskeyInvalid
        made = authenticators.verify_registration(credential, challenge, *_relying_party())
    except VerificationFailed:
        raise PasskeyInvalid from None
    account = lock_row(Account, account_id)
    if not PendingFlow.consume(began.id, now):
        raise PasskeyInvalid
    if len(_list_credential_ids(account_id)) >= MAX_PASSKEYS:
        raise PasskeyLimit(limit=MAX_PASSKEYS)
    passkey = Passkey(account_id=account_id, credential_id=made.credential_id, public_key=made.public_key, name=name)
    passkey.sign_count, passkey.created_at = made.sign_count, now
    db.session.add(passkey)
    try:
        db.session.flush()
    except IntegrityError:  # the authenticator's id is somebody's already
        db.session.rollback()
        raise PasskeyInvalid from None
    audit.record_event("authn_factor_added", account_id, factor="passkey", passkey=passkey.id)
    mail.enqueue_mail("factor_added", account.email, now, factor=f"The passkey “{name}”")
    return passkey


def delete_passkey(passkey: Passkey, now: datetime) -> None:
    """From now on it opens nothing."""
    audit.record_event("authn_factor_removed", passkey.account_id, factor="passkey", passkey=passkey.id)
    told = {"factor": f"The passkey “{passkey.name}”"}
    mail.enqueue_mail("factor_removed", db.session.get(Account, passkey.account_id).email, now, **told)
    db.session.delete(passkey)


def start_passkey_sign_in(binding: str | None, now: datetime) -> dict:
    """What to ask an authenticator for, in the caller's unit of work; with a `binding`, for who holds it alone."""
    return authenticators.request_options(
        _relying_party()[0], _create_challenge("passkey_sign_in", now, binding=binding)
    )


def verify_passkey_sign_in(credential: dict, binding: str, by_cookie: bool, now: datetime) -> VerifiedAssertion:
    """Who signed; the challenge is still open. Raises InvalidCredentials."""
    return _verify_assertion(
        credential, lambda key: pending_flows.find_browser_flow("passkey_sign_in", key, binding, by_cookie, now)
    )


def start_passkey_reauthentication(account_id: str, session_id: str, now: datetime) -> dict:
    """What to ask an authenticator for, to prove once more who one is; in the caller's unit of work."""
    challenge = _create_challenge(REAUTHENTICATION_FLOW, now, session_id=session_id)
    return authenticators.request_options(_relying_party()[0], challenge, _list_credential_ids(account_id))


def complete_passkey_reauthentication(credential: dict, account_id: str, session_id: str, now: datetime) -> None:
    """One of the account's own passkeys signed this session's challenge. Commits. Raises InvalidCredentials."""
    signed = _verify_assertion(
        credential, lambda key: pending_flows.find_session_flow(REAUTHENTICATION_FLOW, key, session_id, now)
    )
    if signed.passkey.account_id != account_id:
        raise _record_failure(account_id, "another account's passkey")
    consume_assertion(signed, now)
    db.session.commit()


def _verify_assertion(credential: dict, find_flow) -> VerifiedAssertion:
    """`began_with(challenge in hex)`: the open ceremony, or None."""
    account_id = None
    try:
        challenge = authenticators.read_challenge(credential)
        began = find_flow(challenge.hex())
        kept = fetch_one(sa.select(*Passkey.__table__.c).where(Passkey.credential_id == str(credential.get("id"))))
        if began is None or kept is None:
            raise VerificationFailed("unknown challenge" if began is None else "unknown passkey")
        account_id = kept.account_id
        answer = authenticators.verify_assertion(credential, challenge, *_relying_party(), kept.public_key)
        if authenticators.read_user_handle(credential) not in (None, account_id):
            raise VerificationFailed("another user's handle")
    except VerificationFailed as error:
        raise _record_failure(account_id, str(error)) from None
    return VerifiedAssertion(kept, began, answer)


def consume_assertion(assertion: VerifiedAssertion, now: datetime) -> str:
    """Use the challenge up and count on, in the caller's unit of work; the account's id. Raises InvalidCredentials."""
    account = lock_row(Account, assertion.passkey.account_id)
    kept = lock_row(Passkey, assertion.passkey.id)
    if not PendingFlow.consume(assertion.flow.id, now) or kept is None or not can_sign_in(account):
        db.session.rollback()
        raise _record_failure(assertion.passkey.account_id, "challenge used, passkey removed or account closed")
    if not is_sign_count_valid(kept.sign_count, assertion.response.sign_count):
        counts = {"kept": kept.sign_count, "told": assertion.response.sign_count}
        audit.record_event("authn_passkey_count_regressed", account.id, actor="anonymous", passkey=kept.id, **counts)
        raise _record_failure(account.id, "the count ran back: there may be a copy of the passkey")
    kept.sign_count, kept.last_used_at = assertion.response.sign_count, now
    return account.id


def _record_failure(account_id: str | None, reason: str) -> InvalidCredentials:
    """Commits what is told in the audit log."""
    audit.record_event("authn_login_fail", account_id, actor="anonymous", method="passkey", why=reason)
    db.session.commit()
    return InvalidCredentials(detail=UNKNOWN_PASSKEY_DETAIL)


def _create_challenge(kind: str, now: datetime, **owner) -> bytes:
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    pending_flows.start_flow(kind, challenge.hex(), now, **owner)
    return challenge


def _list_credential_ids(account_id: str) -> list[str]:
    return list(db.session.scalars(sa.select(Passkey.credential_id).where(Passkey.account_id == account_id)))


def _relying_party() -> tuple[str, str]:
    return relying_party_and_origin(current_app.extensions["settings"].public_url)
