"""Account, sign-in, credential and profile errors."""

from typing import Any, ClassVar

from streamsvc.rules.refusals.base import Refusal


class InvalidCredentials(Refusal):
    code = "invalid_credentials"
    status = 401
    detail = "The email or password is incorrect."


class SignInDenied(Refusal):
    """`reason`: why, if the sign-in hook gave a reason."""

    code = "sign_in_denied"
    status = 403
    detail = "This sign-in is not allowed. Contact the service if you think that this is wrong."
    member_schemas: ClassVar = {"reason": {"type": "string"}}


class TooManyAttempts(Refusal):
    """`challenge`: true if solving a challenge allows one attempt now."""

    code = "too_many_attempts"
    status = 429
    detail = "Too many attempts; wait before you try again."
    member_schemas: ClassVar = {"challenge": {"type": "boolean"}}

    def __init__(self, retry_after_s: int, **members: Any) -> None:
        self.retry_after_s = max(1, retry_after_s)
        super().__init__(headers={"Retry-After": str(self.retry_after_s)}, **members)


class EmailTaken(Refusal):
    code = "email_taken"
    status = 409
    detail = "An account with this email already exists; sign in instead."


class UsernameTaken(Refusal):
    code = "username_taken"
    status = 409
    detail = "This username is taken, reserved, or looks like one that is; choose another."


class SecondFactorRequired(Refusal):
    """`methods`: the second factors that this account accepts: totp, recovery_code, email_code."""

    code = "second_factor_required"
    status = 401
    detail = "The password is correct; a second factor is required."
    member_schemas: ClassVar = {"methods": {"type": "array", "items": {"type": "string"}}}


class SecondFactorInvalid(Refusal):
    code = "second_factor_invalid"
    status = 401
    detail = "This code is incorrect, already used or expired."


class WrongPassword(InvalidCredentials):
    """A wrong password in a request of a signed-in user: 422, because a client would read 401 as signed out."""

    status = 422
    detail = "The password is incorrect."

    def __init__(self, field: str):
        super().__init__(errors={field: [self.detail]})


class WrongPasskey(WrongPassword):
    detail = "This passkey response is invalid or has expired."


class WrongCode(SecondFactorInvalid):
    """A wrong code in a request of a signed-in user: 422, as for WrongPassword."""

    status = 422

    def __init__(self, field: str):
        super().__init__(errors={field: [self.detail]})


class TotpActive(Refusal):
    code = "totp_active"
    status = 409
    detail = "The account already has an authenticator app; remove it first."


class PasskeyInvalid(Refusal):
    code = "passkey_invalid"
    status = 422
    detail = "The authenticator's response does not match the challenge, or the challenge has expired."


class PasskeyLimit(Refusal):
    """`limit`: the maximum number of passkeys of an account."""

    code = "passkey_limit"
    status = 409
    detail = "The account has the maximum number of passkeys; remove one first."
    member_schemas: ClassVar = {"limit": {"type": "integer"}}


class IdentityUnknown(Refusal):
    code = "identity_unknown"
    status = 409
    detail = "No account is linked to this identity. Sign in another way and link it, or sign up with it."


class IdentityTaken(Refusal):
    code = "identity_taken"
    status = 409
    detail = "This identity is already linked to an account."


class EmailUnverified(Refusal):
    code = "email_unverified"
    status = 409
    detail = "The provider did not supply a verified email; sign up with email and password instead."


class ReauthenticationRequired(Refusal):
    code = "reauthentication_required"
    status = 403
    detail = (
        "Reauthenticate with POST /v1/sessions/current/reauthentication, then repeat this request within ten minutes."
    )


class OtherProofRequired(Refusal):
    """`methods`: how this account can reauthenticate: password, totp."""

    code = "other_proof_required"
    status = 409
    detail = "Emailed codes are only for accounts without a password and an authenticator app; use one of `methods`."
    member_schemas: ClassVar = {"methods": {"type": "array", "items": {"type": "string"}}}


class KidsProfile(Refusal):
    code = "kids_profile"
    status = 403
    detail = "A kids' profile is active. Switch to another profile or reauthenticate first."


class CsrfTokenInvalid(Refusal):
    code = "csrf_token_invalid"
    status = 403
    detail = "Cookie-authenticated writes need the X-CSRF-Token header; get the token from GET /v1/sessions/current."


class AccountNotActive(Refusal):
    code = "account_not_active"
    status = 409
    detail = "This account is disabled; neither its owner nor support can sign in to it."


class RecoveryPending(Refusal):
    code = "recovery_pending"
    status = 409
    detail = "A recovery of this account is already pending; cancel it first."


class SessionTooNew(Refusal):
    code = "session_too_new"
    status = 403
    detail = "Only sessions from before the suspected takeover can cancel this recovery; contact support."


class TokenInvalid(Refusal):
    code = "token_invalid"
    status = 422
    detail = "This token is unknown, already used or expired; request a new one."


class PinRequired(Refusal):
    code = "pin_required"
    status = 403
    detail = "This profile is protected by a PIN; select it with its PIN first."


class PinInvalid(Refusal):
    code = "pin_invalid"
    status = 403
    detail = "The PIN is incorrect; try again, or set a new one with your password."


class PinLocked(Refusal):
    code = "pin_locked"
    status = 429
    detail = "Too many incorrect PINs; wait before you try again."

    def __init__(self, retry_after_s: int):
        super().__init__(headers={"Retry-After": str(max(1, retry_after_s))})


class ProfileLimit(Refusal):
    """`limit`: the maximum number of profiles on this plan."""

    code = "profile_limit"
    status = 409
    detail = "The account has the maximum number of profiles."
    member_schemas: ClassVar = {"limit": {"type": "integer"}}


class LastProfile(Refusal):
    code = "last_profile"
    status = 409
    detail = "An account must have at least one profile; create another one first."
