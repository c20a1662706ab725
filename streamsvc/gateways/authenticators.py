"""WebAuthn through py_webauthn: options for authenticators, and verification of their responses.

Credentials are the browser's own JSON, as returned by `toJSON()`. The library is imported on first use.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MALFORMED_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What the library lets through for a malformed response, besides its own exceptions."""


class VerificationFailed(Exception):
    """The authenticator's response is not valid; the message says why."""


@dataclass(frozen=True)
class VerifiedCredential:
    """A verified response.

    `public_key` is set for a new passkey only; `user_verified`: the device identified its user.
    """

    credential_id: str
    sign_count: int
    user_verified: bool
    public_key: bytes = b""


def creation_options(rp_id: str, challenge: bytes, account_id: str, email: str, existing_ids: list[str]) -> dict:
    """PublicKeyCredentialCreationOptionsJSON for a discoverable passkey (one that needs no user name)."""
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
            structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(credential_id))
            for credential_id in existing_ids
        ],
    )
    return json.loads(webauthn.options_to_json(options))


def request_options(rp_id: str, challenge: bytes, allowed_ids: list[str] | None = None) -> dict:
    """PublicKeyCredentialRequestOptionsJSON for the passkeys in `allowed_ids`.

    Without `allowed_ids` it is for any passkey of this site, so that it reveals nothing about any account.
    """
    import webauthn
    from webauthn.helpers import base64url_to_bytes, structs

    options = webauthn.generate_authentication_options(
        rp_id=rp_id,
        challenge=challenge,
        user_verification=structs.UserVerificationRequirement.PREFERRED,
        allow_credentials=[
            structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(credential_id))
            for credential_id in allowed_ids or ()
        ],
    )
    return json.loads(webauthn.options_to_json(options))


def read_challenge(credential: Mapping[str, Any]) -> bytes:
    """Read the challenge that the credential claims to answer, not verified. Raises VerificationFailed."""
    from webauthn.helpers import base64url_to_bytes

    try:
        return base64url_to_bytes(json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))["challenge"])
    except MALFORMED_ERRORS as error:
        raise VerificationFailed(type(error).__name__) from None


def verify_registration(
    credential: Mapping[str, Any], challenge: bytes, rp_id: str, origins: list[str]
) -> VerifiedCredential:
    """Verify the response to `creation_options`. Raises VerificationFailed."""
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": rp_id, "expected_origin": origins}
    verified = _verify(webauthn.verify_registration_response, credential=credential, **expected)
    return VerifiedCredential(
        _base64url(verified.credential_id), verified.sign_count, verified.user_verified, verified.credential_public_key
    )


def verify_assertion(
    credential: Mapping[str, Any], challenge: bytes, rp_id: str, origins: list[str], public_key: bytes
) -> VerifiedCredential:
    """Verify the response to `request_options` against a public key. Raises VerificationFailed.

    The caller checks the sign count.
    """
    import webauthn

    expected = {"expected_challenge": challenge, "expected_rp_id": rp_id, "expected_origin": origins}
    stored = {"credential_public_key": public_key, "credential_current_sign_count": 0}
    verified = _verify(webauthn.verify_authentication_response, credential=credential, **expected, **stored)
    return VerifiedCredential(_base64url(verified.credential_id), verified.new_sign_count, verified.user_verified)


def read_user_handle(credential: Mapping[str, Any]) -> str | None:
    """Read the account id that the authenticator reports, or None. Raises VerificationFailed."""
    from webauthn.helpers import base64url_to_bytes

    try:
        user_handle = credential["response"].get("userHandle")
        return base64url_to_bytes(user_handle).decode() if user_handle else None
    except MALFORMED_ERRORS as error:
        raise VerificationFailed(type(error).__name__) from None


def _verify(check: Callable[..., Any], **arguments: Any) -> Any:
    """Call one of the library's checks; any of its errors becomes VerificationFailed."""
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return check(**arguments)
    except (WebAuthnException, *MALFORMED_ERRORS) as error:
        raise VerificationFailed("".join(letter for letter in str(error)[:200] if letter.isprintable())) from None


def _base64url(raw: bytes) -> str:
    from webauthn.helpers import bytes_to_base64url

    return bytes_to_base64url(raw)
