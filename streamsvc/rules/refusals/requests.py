"""Errors of any request: its form, its preconditions, its idempotency key."""

from streamsvc.rules.refusals.base import Refusal


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
