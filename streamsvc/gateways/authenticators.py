"""Authenticators, through py_webauthn: what they are asked, and whether their answers hold.

Credentials are the browser's own JSON, as `toJSON()` gives it. The library is loaded where it is first used.
"""

import json
from dataclasses import dataclass

MALFORMED_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What the library lets through where an answer is made up (its own exceptions aside)."""


class VerificationFailed(Exception):
    """The answer does not hold; the message says why."""


@dataclass(frozen=True)
class VerifiedCredential:
    """What a checked answer tells. `key` only of a new passkey; `verified`: the device knew its user."""

    credential_id: str
    sign_count: int
    user_verified: bool
    public_key: bytes = b""


def creation_options(rp_id: str, challenge: bytes, account_id: str, email: str, existing_ids: list[str]) -> dict:
    """PublicKeyCredentialCreationOptionsJSON: a passkey that is found without a user name."""
    import webauthn
    from webauthn.helpers import base64url_to_bytes, structs

    options = webauthn.generate_registration_options(
        rp_id=rp_id,
        rp_name=rp_id,
        user_id=account_id.encode(),
        user_name=email,
        challenge=challenge,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[
            structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in existing_ids
        ],
    )
    return json.loads(webauthn.options_to_json(options))


def request_options(rp_id: str, challenge: bytes, allowed_ids: list[str] | None = None) -> dict:
    """PublicKeyCredentialRequestOptionsJSON: one of the `known` passkeys; without them any passkey of this site, so
    that it tells nothing about anybody."""
    import webauthn
    from webauthn.helpers import base64url_to_bytes, structs

    options = webauthn.generate_authentication_options(
        rp_id=rp_id,
        challenge=challenge,
        user_verification=structs.UserVerificationRequirement.PREFERRED,
        allow_credentials=allowed_ids
        and [structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(k)) for k in allowed_ids],
    )
    return json.loads(webauthn.options_to_json(options))


def read_challenge(credential: dict) -> bytes:
    """The challenge that the credential says it answers, unchecked. Raises Unproved."""
    from webauthn.helpers import base64url_to_bytes

    try:
        return base64url_to_bytes(json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))["challenge"])
    except MALFORMED_ERRORS as error:
        raise VerificationFailed(type(error).__name__) from None


def verify_registration(credential: dict, challenge: bytes, rp_id: str, origin: str) -> VerifiedCredential:
    """Check the answer to `creation_options`. Raises Unproved."""
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": rp_id, "expected_origin": origin}
    found = _verify(webauthn.verify_registration_response, credential=credential, **expected)
    return VerifiedCredential(
        _base64url(found.credential_id), found.sign_count, found.user_verified, found.credential_public_key
    )


def verify_assertion(
    credential: dict, challenge: bytes, rp_id: str, origin: str, public_key: bytes
) -> VerifiedCredential:
    """Check the answer to `request_options` against a public key; the caller checks the count. Raises Unproved."""
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": rp_id, "expected_origin": origin}
    kept = {"credential_public_key": public_key, "credential_current_sign_count": 0}
    found = _verify(webauthn.verify_authentication_response, credential=credential, **expected, **kept)
    return VerifiedCredential(_base64url(found.credential_id), found.new_sign_count, found.user_verified)


def read_user_handle(credential: dict) -> str | None:
    """Whose passkey the authenticator says it is; None where it does not say. Raises Unproved."""
    from webauthn.helpers import base64url_to_bytes

    try:
        told = credential["response"].get("userHandle")
        return base64url_to_bytes(told).decode() if told else None
    except MALFORMED_ERRORS as error:
        raise VerificationFailed(type(error).__name__) from None


def _verify(check, **given):
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return check(**given)
    except (WebAuthnException, *MALFORMED_ERRORS) as error:
        raise VerificationFailed("".join(letter for letter in str(error)[:200] if letter.isprintable())) from None


def _base64url(raw: bytes) -> str:
    from webauthn.helpers import bytes_to_base64url

    return bytes_to_base64url(raw)
