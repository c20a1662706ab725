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
from streamsvc.gateways.authenticators import Answer, Unproved
from streamsvc.models import Account, Ceremony, Passkey
from streamsvc.operations.accounts.accounts import may_sign_in
from streamsvc.operations.credentials import ceremonies
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.refusals.accounts import InvalidCredentials, PasskeyInvalid, PasskeyLimit
from streamsvc.rules.sign_in.passkeys import MOST, counts_on, site_of
from streamsvc.storage.database import db, lock, one_row

CHALLENGE_BYTES = 32
REAUTHENTICATION = "passkey_reauthentication"
NO_ENTRY = "This passkey does not open an account here."


@dataclass(frozen=True)
class Signed:
    """A passkey that signed the challenge of an open ceremony."""

    passkey: sa.Row
    ceremony: sa.Row
    answer: Answer


def registration_options(account_id: str, email: str, session_id: str, now: datetime) -> dict:
    """What to ask an authenticator for, in the caller's unit of work. Raises PasskeyLimit."""
    known = _known(account_id)
    if len(known) >= MOST:
        raise PasskeyLimit(limit=MOST)
    challenge = _challenge("passkey_registration", now, session_id=session_id)
    return authenticators.creation_options(_site()[0], challenge, account_id, email, known)


def register(account_id: str, session_id: str, credential: dict, name: str, now: datetime) -> Passkey:
    """Keep the passkey that was made for this session. Raises PasskeyInvalid, PasskeyLimit."""
    try:
        challenge = authenticators.challenge_in(credential)
        began = ceremonies.of_session("passkey_registration", challenge.hex(), session_id, now)
        if began is None:
            raise PasskeyInvalid
        made = authenticators.made(credential, challenge, *_site())
    except Unproved:
        raise PasskeyInvalid from None
    account = lock(Account, account_id)
    if not Ceremony.use(began.id, now):
        raise PasskeyInvalid
    if len(_known(account_id)) >= MOST:
        raise PasskeyLimit(limit=MOST)
    passkey = Passkey(account_id=account_id, credential_id=made.credential_id, public_key=made.key, name=name)
    passkey.sign_count, passkey.created_at = made.sign_count, now
    db.session.add(passkey)
    try:
        db.session.flush()
    except IntegrityError:  # the authenticator's id is somebody's already
        db.session.rollback()
        raise PasskeyInvalid from None
    audit.record("authn_factor_added", account_id, factor="passkey", passkey=passkey.id)
    mail.post("factor_added", account.email, now, factor=f"The passkey “{name}”")
    return passkey


def remove(passkey: Passkey, now: datetime) -> None:
    """From now on it opens nothing."""
    audit.record("authn_factor_removed", passkey.account_id, factor="passkey", passkey=passkey.id)
    told = {"factor": f"The passkey “{passkey.name}”"}
    mail.post("factor_removed", db.session.get(Account, passkey.account_id).email, now, **told)
    db.session.delete(passkey)


def sign_in_options(binding: str | None, now: datetime) -> dict:
    """What to ask an authenticator for, in the caller's unit of work; with a `binding`, for who holds it alone."""
    return authenticators.request_options(_site()[0], _challenge("passkey_sign_in", now, binding=binding))


def signed_by(credential: dict, binding: str, by_cookie: bool, now: datetime) -> Signed:
    """Who signed; the challenge is still open. Raises InvalidCredentials."""
    return _signed(credential, lambda key: ceremonies.of_browser("passkey_sign_in", key, binding, by_cookie, now))


def proof_options(account_id: str, session_id: str, now: datetime) -> dict:
    """What to ask an authenticator for, to prove once more who one is; in the caller's unit of work."""
    challenge = _challenge(REAUTHENTICATION, now, session_id=session_id)
    return authenticators.request_options(_site()[0], challenge, _known(account_id))


def prove(credential: dict, account_id: str, session_id: str, now: datetime) -> None:
    """One of the account's own passkeys signed this session's challenge. Commits. Raises InvalidCredentials."""
    signed = _signed(credential, lambda key: ceremonies.of_session(REAUTHENTICATION, key, session_id, now))
    if signed.passkey.account_id != account_id:
        raise _refusal(account_id, "another account's passkey")
    use(signed, now)
    db.session.commit()


def _signed(credential: dict, began_with) -> Signed:
    """`began_with(challenge in hex)`: the open ceremony, or None."""
    account_id = None
    try:
        challenge = authenticators.challenge_in(credential)
        began = began_with(challenge.hex())
        kept = one_row(sa.select(*Passkey.__table__.c).where(Passkey.credential_id == str(credential.get("id"))))
        if began is None or kept is None:
            raise Unproved("unknown challenge" if began is None else "unknown passkey")
        account_id = kept.account_id
        answer = authenticators.signed(credential, challenge, *_site(), kept.public_key)
        if authenticators.user_handle_of(credential) not in (None, account_id):
            raise Unproved("another user's handle")
    except Unproved as error:
        raise _refusal(account_id, str(error)) from None
    return Signed(kept, began, answer)


def use(signed: Signed, now: datetime) -> str:
    """Use the challenge up and count on, in the caller's unit of work; the account's id. Raises InvalidCredentials."""
    account = lock(Account, signed.passkey.account_id)
    kept = lock(Passkey, signed.passkey.id)
    if not Ceremony.use(signed.ceremony.id, now) or kept is None or not may_sign_in(account):
        db.session.rollback()
        raise _refusal(signed.passkey.account_id, "challenge used, passkey removed or account closed")
    if not counts_on(kept.sign_count, signed.answer.sign_count):
        counts = {"kept": kept.sign_count, "told": signed.answer.sign_count}
        audit.record("authn_passkey_count_regressed", account.id, actor="anonymous", passkey=kept.id, **counts)
        raise _refusal(account.id, "the count ran back: there may be a copy of the passkey")
    kept.sign_count, kept.last_used_at = signed.answer.sign_count, now
    return account.id


def _refusal(account_id: str | None, why: str) -> InvalidCredentials:
    """Commits what is told in the audit log."""
    audit.record("authn_login_fail", account_id, actor="anonymous", method="passkey", why=why)
    db.session.commit()
    return InvalidCredentials(detail=NO_ENTRY)


def _challenge(kind: str, now: datetime, **who) -> bytes:
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    ceremonies.begin(kind, challenge.hex(), now, **who)
    return challenge


def _known(account_id: str) -> list[str]:
    return list(db.session.scalars(sa.select(Passkey.credential_id).where(Passkey.account_id == account_id)))


def _site() -> tuple[str, str]:
    return site_of(current_app.extensions["settings"].public_url)
