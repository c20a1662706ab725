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
        self.headers = headers or {}
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


class Conflict(Refusal):
    code = "conflict"
    status = 409
    detail = "Another request changed this first; read it again."


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
    detail = "This API key does not carry the scope that this call needs."

    def __init__(self, scope: str):
        super().__init__(scope=scope, headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'})


# --- sessions and accounts ---------------------------------------------------------------------------------------


class InvalidCredentials(Refusal):
    code = "invalid_credentials"
    status = 401
    detail = "The e-mail or the password is wrong."


class TooManyAttempts(Refusal):
    code = "too_many_attempts"
    status = 429
    detail = "Too many attempts; wait before the next one."

    def __init__(self, retry_after_s: int):
        super().__init__(headers={"Retry-After": str(max(1, retry_after_s))})


class EmailTaken(Refusal):
    code = "email_taken"
    status = 409
    detail = "There is an account with this e-mail; sign in instead."


# --- subscriptions and payments ----------------------------------------------------------------------------------


# --- catalog -----------------------------------------------------------------------------------------------------


# --- playback ----------------------------------------------------------------------------------------------------
