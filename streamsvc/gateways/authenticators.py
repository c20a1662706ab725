"""Authenticators, through py_webauthn: what they are asked, and whether their answers hold.

Credentials are the browser's own JSON, as `toJSON()` gives it. The library is loaded where it is first used.
"""

import json
from dataclasses import dataclass

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What the library lets through where an answer is made up (its own exceptions aside)."""


class Unproved(Exception):
    """The answer does not hold; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What a checked answer tells. `key` only of a new passkey; `verified`: the device knew its user."""

    credential_id: str
    sign_count: int
    verified: bool
    key: bytes = b""


def creation_options(site: str, challenge: bytes, account_id: str, email: str, known: list[str]) -> dict:
    """PublicKeyCredentialCreationOptionsJSON: a passkey that is found without a user name."""
    import webauthn
    from webauthn.helpers import base64url_to_bytes, structs

    options = webauthn.generate_registration_options(
        rp_id=site,
        rp_name=site,
        user_id=account_id.encode(),
        user_name=email,
        challenge=challenge,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in known],
    )
    return json.loads(webauthn.options_to_json(options))


def request_options(site: str, challenge: bytes, known: list[str] | None = None) -> dict:
    """PublicKeyCredentialRequestOptionsJSON: one of the `known` passkeys; without them any passkey of this site, so
    that it tells nothing about anybody."""
    import webauthn
    from webauthn.helpers import base64url_to_bytes, structs

    options = webauthn.generate_authentication_options(
        rp_id=site,
        challenge=challenge,
        user_verification=structs.UserVerificationRequirement.PREFERRED,
        allow_credentials=known and [structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(k)) for k in known],
    )
    return json.loads(webauthn.options_to_json(options))


def challenge_in(credential: dict) -> bytes:
    """The challenge that the credential says it answers, unchecked. Raises Unproved."""
    from webauthn.helpers import base64url_to_bytes

    try:
        return base64url_to_bytes(json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))["challenge"])
    except MALFORMED as error:
        raise Unproved(type(error).__name__) from None


def made(credential: dict, challenge: bytes, site: str, origin: str) -> Answer:
    """Check the answer to `creation_options`. Raises Unproved."""
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": site, "expected_origin": origin}
    found = _checked(webauthn.verify_registration_response, credential=credential, **expected)
    return Answer(_text(found.credential_id), found.sign_count, found.user_verified, found.credential_public_key)


def signed(credential: dict, challenge: bytes, site: str, origin: str, key: bytes) -> Answer:
    """Check the answer to `request_options` against a public key; the caller checks the count. Raises Unproved."""
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": site, "expected_origin": origin}
    kept = {"credential_public_key": key, "credential_current_sign_count": 0}
    found = _checked(webauthn.verify_authentication_response, credential=credential, **expected, **kept)
    return Answer(_text(found.credential_id), found.new_sign_count, found.user_verified)


def user_handle_of(credential: dict) -> str | None:
    """Whose passkey the authenticator says it is; None where it does not say. Raises Unproved."""
    from webauthn.helpers import base64url_to_bytes

    try:
        told = credential["response"].get("userHandle")
        return base64url_to_bytes(told).decode() if told else None
    except MALFORMED as error:
        raise Unproved(type(error).__name__) from None


def _checked(check, **given):
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return check(**given)
    except (WebAuthnException, *MALFORMED) as error:
        raise Unproved("".join(letter for letter in str(error)[:200] if letter.isprintable())) from None


def _text(raw: bytes) -> str:
    from webauthn.helpers import bytes_to_base64url

    return bytes_to_base64url(raw)
