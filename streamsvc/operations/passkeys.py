"""Passkeys (WebAuthn level 2): what an authenticator is asked, and what its answer proves.

The authenticator must verify its user, so one passkey is two proofs: something one has, and something one knows or is.
"""

import json
import secrets
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa
import webauthn
from flask import current_app
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from streamsvc.database import db
from streamsvc.models import Account, Passkey, PasskeyChallenge
from streamsvc.operations import audit, mail
from streamsvc.operations.accounts import may_sign_in
from streamsvc.rules.refusals import InvalidCredentials, PasskeyInvalid
from streamsvc.rules.sessions import fingerprint

CHALLENGE_LIFETIME = timedelta(minutes=5)
CHALLENGE_BYTES = 32
REQUIRED = UserVerificationRequirement.REQUIRED


def registration_options(account_id: str, email: str, now: datetime) -> dict:
    """PublicKeyCredentialCreationOptions in JSON, in the caller's unit of work."""
    known = db.session.scalars(sa.select(Passkey.credential_id).where(Passkey.account_id == account_id))
    options = webauthn.generate_registration_options(
        rp_id=_site().hostname,
        rp_name="streamsvc",
        user_id=account_id.encode(),
        user_name=email,
        challenge=_challenge(account_id, now),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in known],
    )
    return json.loads(webauthn.options_to_json(options))


def register(account_id: str, credential: dict, name: str, now: datetime) -> Passkey:
    """Keep the passkey that the authenticator made. Raises PasskeyInvalid."""
    challenge = _answered(credential, account_id, now)
    try:
        made = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_site().hostname,
            expected_origin=_origin(),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        raise PasskeyInvalid from None
    key_id = bytes_to_base64url(made.credential_id)
    if Passkey.by_credential(key_id):
        raise PasskeyInvalid
    passkey = Passkey(account_id=account_id, credential_id=key_id, public_key=made.credential_public_key, name=name)
    passkey.sign_count, passkey.created_at = made.sign_count, now
    db.session.add(passkey)
    db.session.flush()
    audit.record("authn_factor_added", account_id, factor="passkey", passkey=passkey.id)
    mail.post("factor_added", db.session.get(Account, account_id).email, now, factor="A passkey")
    return passkey


def remove(passkey: Passkey, now: datetime) -> None:
    """From now on it opens nothing."""
    audit.record("authn_factor_removed", passkey.account_id, factor="passkey", passkey=passkey.id)
    mail.post("factor_removed", db.session.get(Account, passkey.account_id).email, now, factor="A passkey")
    db.session.delete(passkey)


def sign_in_options(now: datetime) -> dict:
    """PublicKeyCredentialRequestOptions in JSON: any passkey of this site, so they tell nothing about anybody."""
    options = webauthn.generate_authentication_options(
        rp_id=_site().hostname, challenge=_challenge(None, now), user_verification=REQUIRED
    )
    return json.loads(webauthn.options_to_json(options))


def sign_in(credential: dict, now: datetime) -> str:
    """The id of the account whose passkey signed; in the caller's unit of work. Raises InvalidCredentials."""
    try:
        challenge = _answered(credential, None, now)
        passkey = Passkey.by_credential(credential.get("id", ""))
        if passkey is None:
            raise PasskeyInvalid
        proved = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_site().hostname,
            expected_origin=_origin(),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except (PasskeyInvalid, WebAuthnException, ValueError, KeyError, TypeError) as error:
        audit.record("authn_login_fail", actor="anonymous", method="passkey", why=type(error).__name__)
        db.session.commit()
        raise InvalidCredentials(detail="This passkey does not open an account here.") from None
    if not may_sign_in(db.session.get(Account, passkey.account_id)):
        raise InvalidCredentials(detail="This passkey does not open an account here.")
    passkey.sign_count, passkey.last_used_at = proved.new_sign_count, now
    return passkey.account_id


def _challenge(account_id: str | None, now: datetime) -> bytes:
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    kept = fingerprint(bytes_to_base64url(challenge))
    db.session.add(PasskeyChallenge(challenge_hash=kept, account_id=account_id, expires_at=now + CHALLENGE_LIFETIME))
    return challenge


def _answered(credential: dict, account_id: str | None, now: datetime) -> bytes:
    """The challenge that the credential answers, used up. Raises PasskeyInvalid."""
    try:
        told = json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))["challenge"]
        challenge = base64url_to_bytes(told)
        is_open = PasskeyChallenge.use(fingerprint(bytes_to_base64url(challenge)), account_id, now)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PasskeyInvalid from None
    if not is_open:
        raise PasskeyInvalid
    return challenge


def _site():
    return urlsplit(current_app.extensions["settings"].public_url)


def _origin() -> str:
    return f"{_site().scheme}://{_site().netloc}"
