"""Errors of accounts, sign-in, credentials and profiles."""

from streamsvc.rules.refusals.base import Refusal


class InvalidCredentials(Refusal):
    code = "invalid_credentials"
    status = 401
    detail = "The e-mail or the password is wrong."


class TooManyAttempts(Refusal):
    """`challenge`: true where solving one passes this door once."""

    code = "too_many_attempts"
    status = 429
    detail = "Too many attempts; wait before the next one."

    def __init__(self, retry_after_s: int, **members):
        self.retry_after_s = max(1, retry_after_s)
        super().__init__(headers={"Retry-After": str(self.retry_after_s)}, **members)


class EmailTaken(Refusal):
    code = "email_taken"
    status = 409
    detail = "There is an account with this e-mail; sign in instead."


class SecondFactorRequired(Refusal):
    """`methods`: which second proofs this account takes: totp, recovery_code, email_code."""

    code = "second_factor_required"
    status = 401
    detail = "The password is right; a second proof is needed."


class SecondFactorInvalid(Refusal):
    code = "second_factor_invalid"
    status = 401
    detail = "This code is wrong, used or too old."


class WrongPassword(InvalidCredentials):
    """Of somebody who is signed in and stays so: no 401, by which a front end would think that nobody is."""

    status = 422
    detail = "The password is wrong."

    def __init__(self, field: str):
        super().__init__(errors={field: [self.detail]})


class WrongPasskey(WrongPassword):
    detail = "This passkey does not prove who you are, or the challenge is used or too old."


class WrongCode(SecondFactorInvalid):
    """As WrongPassword."""

    status = 422

    def __init__(self, field: str):
        super().__init__(errors={field: [self.detail]})


class TotpActive(Refusal):
    code = "totp_active"
    status = 409
    detail = "The account has an authenticator already; remove that one first."


class PasskeyInvalid(Refusal):
    code = "passkey_invalid"
    status = 422
    detail = "The authenticator's answer does not fit what it was asked, or was asked too long ago."


class PasskeyLimit(Refusal):
    """`limit`: how many passkeys an account may have."""

    code = "passkey_limit"
    status = 409
    detail = "There is no room for another passkey; remove one first."


class IdentityUnknown(Refusal):
    code = "identity_unknown"
    status = 409
    detail = "No account here is linked to this identity: sign in another way and link it, or sign up with it."


class IdentityTaken(Refusal):
    code = "identity_taken"
    status = 409
    detail = "This identity is linked to an account already."


class EmailUnverified(Refusal):
    code = "email_unverified"
    status = 409
    detail = "The provider tells no confirmed e-mail to sign up with; sign up with e-mail and password instead."


class ReauthenticationRequired(Refusal):
    code = "reauthentication_required"
    status = 403
    detail = (
        "Prove once more who you are: POST /v1/sessions/current/reauthentication, then repeat this within ten minutes."
    )


class OtherProofRequired(Refusal):
    """`methods`: how this account proves itself: password, totp."""

    code = "other_proof_required"
    status = 409
    detail = "A code by mail is for accounts that have neither a password nor an authenticator app."


class KidsProfile(Refusal):
    code = "kids_profile"
    status = 403
    detail = "A kids' profile is watching: choose another profile first, or prove who you are."


class CsrfTokenInvalid(Refusal):
    code = "csrf_token_invalid"
    status = 403
    detail = "A cookie alone does not change anything: send the X-CSRF-Token that GET /v1/sessions/current hands out."


class AccountNotActive(Refusal):
    code = "account_not_active"
    status = 409
    detail = "This account is disabled; its owner could not be signed in either."


class TokenInvalid(Refusal):
    code = "token_invalid"
    status = 422
    detail = "This token is unknown, used or too old; ask for a new one."


class PinRequired(Refusal):
    code = "pin_required"
    status = 403
    detail = "This profile opens with its PIN."


class PinInvalid(Refusal):
    code = "pin_invalid"
    status = 403
    detail = "The PIN is wrong."


class PinLocked(Refusal):
    code = "pin_locked"
    status = 429
    detail = "Too many wrong PINs; wait before the next one."

    def __init__(self, retry_after_s: int):
        super().__init__(headers={"Retry-After": str(max(1, retry_after_s))})


class ProfileLimit(Refusal):
    """`limit`: how many profiles the plan allows."""

    code = "profile_limit"
    status = 409
    detail = "There is no room for another profile."


class LastProfile(Refusal):
    code = "last_profile"
    status = 409
    detail = "An account keeps at least one profile."
