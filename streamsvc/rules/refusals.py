"""Every way this service says no: the code that clients match, the status, the sentence that people read.

`raise StreamLimit(limit=2, streams=[…])`: what is given by name becomes a member of the problem document. A `detail`
given by name replaces the sentence; `headers` go out as headers.
"""


class Refusal(Exception):
    code = "refused"
    status = 422
    detail = "The request was refused."

    def __init__(self, *, detail: str | None = None, headers: dict | None = None, **members):
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers = headers or ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
        self.members = members


# --- any request -----------------------------------------------------------------------------------------------


class Malformed(Refusal):
    code = "malformed_json"
    status = 400
    detail = "The body is not well-formed JSON in UTF-8."


class WrongMediaType(Refusal):
    code = "unsupported_media_type"
    status = 415
    detail = "Send the body as application/json."


class Invalid(Refusal):
    """`errors`: {field: [sentence]}."""

    code = "invalid"
    status = 422
    detail = "Some of what was sent is not valid; `errors` names the fields."


class NotFound(Refusal):
    code = "not_found"
    status = 404
    detail = "There is nothing here, or it is not yours."


class PreconditionFailed(Refusal):
    code = "precondition_failed"
    status = 412
    detail = "This changed since it was read, or is there already; read it again."


class PreconditionRequired(Refusal):
    code = "precondition_required"
    status = 428
    detail = "Send the ETag of what you read in If-Match, so that nobody's change is lost."


class Unavailable(Refusal):
    code = "unavailable"
    status = 503
    detail = "The service cannot answer this just now; try again shortly."

    def __init__(self, *, retry_after_s: int = 2, **more):
        super().__init__(headers={"Retry-After": str(retry_after_s)}, **more)


class IdempotencyKeyRequired(Refusal):
    code = "idempotency_key_required"
    status = 400
    detail = "Send an Idempotency-Key header, so that a retry cannot act twice."


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    status = 422
    detail = "This Idempotency-Key was used for another request."


class IdempotencyKeyInUse(Refusal):
    code = "idempotency_key_in_use"
    status = 409
    detail = "The first request with this Idempotency-Key is still running; try again shortly."

    def __init__(self):
        super().__init__(headers={"Retry-After": "1"})


# --- who asks --------------------------------------------------------------------------------------------------


class NotSignedIn(Refusal):
    code = "not_signed_in"
    status = 401
    detail = "Send a live token: Authorization: Bearer <token>."

    def __init__(self, presented: bool = False):
        challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
        super().__init__(headers={"WWW-Authenticate": challenge})


class InsufficientScope(Refusal):
    code = "insufficient_scope"
    status = 403
    detail = "Your API key, or your role, does not have the scope that this call needs."

    def __init__(self, scope: str):
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(scope=scope, headers={"WWW-Authenticate": challenge})


class ReadOnlySession(Refusal):
    code = "read_only_session"
    status = 403
    detail = "Support looks on in this session; only the account's owner may do or see this."


class EndUserAddressInvalid(Refusal):
    code = "end_user_address_invalid"
    status = 400
    detail = "X-End-User-Address is not signed by a live key with the scope `frontend` for this very call just now."


class LastAdmin(Refusal):
    code = "last_admin"
    status = 409
    detail = "Nobody else could administer then; make another operator an admin first."


# --- sessions and accounts ---------------------------------------------------------------------------------------


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


# --- subscriptions and payments ----------------------------------------------------------------------------------


class PaymentFailed(Refusal):
    """`decline_code`: why, in the words of the banks: insufficient_funds, generic_decline, …"""

    code = "payment_failed"
    status = 402
    detail = "The payment was declined; try another payment method."


class AuthenticationRequired(Refusal):
    """`next_action`: what the payer's bank asks for before it pays."""

    code = "authentication_required"
    status = 402
    detail = "The payer's bank asks for confirmation; follow `next_action`."


class AlreadySubscribed(Refusal):
    code = "already_subscribed"
    status = 409
    detail = "This account has a live subscription; change its plan instead."


class CouponInvalid(Refusal):
    code = "coupon_invalid"
    status = 422
    detail = "This coupon does not exist, has expired, is used up, or is not for this price."


class GiftCodeInvalid(Refusal):
    code = "gift_code_invalid"
    status = 422
    detail = "This gift code does not exist, has expired or was redeemed."


class ReferralCodeInvalid(Refusal):
    code = "referral_code_invalid"
    status = 422
    detail = "This referral code does not exist, is your own, or is for newcomers only."


class WrongState(Refusal):
    code = "wrong_state"
    status = 409
    detail = "The subscription is not in a state that allows this."


class DoesNotAddUp(Refusal):
    """`differences`: [{check, subject, expected, found}]."""

    code = "does_not_add_up"
    status = 409
    detail = "The books of this account still do not agree; `differences` tells where."


class PaymentOverdue(Refusal):
    code = "payment_overdue"
    status = 409
    detail = "An invoice is overdue; pay it first."


class SignatureInvalid(Refusal):
    code = "signature_invalid"
    status = 400
    detail = "The signature is not the provider's, or is too old."


class InvoiceNotOpen(Refusal):
    code = "invoice_not_open"
    status = 409
    detail = "This invoice is not open; there is nothing to pay."


class PaymentInProgress(Refusal):
    code = "payment_in_progress"
    status = 409
    detail = "A payment of this invoice is under way; its outcome will be known within a minute."


# --- catalog -----------------------------------------------------------------------------------------------------


# --- playback ----------------------------------------------------------------------------------------------------


class ProfileRequired(Refusal):
    code = "profile_required"
    status = 403
    detail = "Choose who is watching: PATCH /v1/sessions/current."


class SubscriptionRequired(Refusal):
    code = "subscription_required"
    status = 403
    detail = "Watching needs a subscription that is paid for."


class NotInPlan(Refusal):
    code = "not_in_plan"
    status = 403
    detail = "This title is not part of your plan."


class CountryUnknown(Refusal):
    code = "country_unknown"
    status = 403
    detail = "We cannot tell which country you are in, and this title is licensed by country."


class NotAvailableInCountry(Refusal):
    code = "not_available_in_country"
    status = 403
    detail = "This title is not available in your country."


class NotYetAvailable(Refusal):
    code = "not_yet_available"
    status = 403
    detail = "This title is not available yet."


class NoLongerAvailable(Refusal):
    code = "no_longer_available"
    status = 403
    detail = "This title is no longer available."


class DeviceLimit(Refusal):
    """`limit`, `devices`: [{id, name, kind, first_played_at}]."""

    code = "device_limit"
    status = 409
    detail = "Your plan plays on no more devices; remove one to use another."


class StreamLimit(Refusal):
    """`limit`, `streams`: [{stream_id, …}], the oldest first; start again with one of them as `replace`."""

    code = "stream_limit"
    status = 409
    detail = "As many streams as your plan allows are playing; stop one, or replace it."


class StreamEnded(Refusal):
    """`reason`: stopped, stopped_by_viewer, replaced, taken_over, expired, signed_out, or why it may not be played."""

    code = "stream_ended"
    status = 410
    detail = "This stream is over."


class EntitlementUnavailable(Unavailable):
    code = "entitlement_unavailable"
    detail = "We cannot find out just now whether this may be played; try again shortly."


class GrantInvalid(Refusal):
    code = "grant_invalid"
    status = 401
    detail = "Send a playback grant that is still valid."

    def __init__(self):
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class GrantForbids(Refusal):
    code = "grant_forbids"
    status = 403
    detail = "This playback grant does not open this path."


# --- the sandbox -------------------------------------------------------------------------------------------------


class ClockMovesForward(Refusal):
    code = "clock_moves_forward"
    status = 422
    detail = "The sandbox's clock only moves forward."


class ClockIsMoving(Refusal):
    code = "clock_is_moving"
    status = 409
    detail = "Another request moves the clock just now; wait for its answer."
