"""Errors of any request: format, preconditions, idempotency keys."""

from typing import Any

from streamsvc.rules.refusals.base import Refusal


class Malformed(Refusal):
    code = "malformed_json"
    status = 400
    detail = "The request body must be well-formed JSON in UTF-8."


class WrongMediaType(Refusal):
    code = "unsupported_media_type"
    status = 415
    detail = "Send the body as application/json."


class Invalid(Refusal):
    """`errors`: {field: [sentence]}."""

    code = "invalid"
    status = 422
    detail = "Some fields are invalid; see `errors`."


class NotFound(Refusal):
    code = "not_found"
    status = 404
    detail = "This resource does not exist, or you do not have access to it."


class PreconditionFailed(Refusal):
    code = "precondition_failed"
    status = 412
    detail = "The resource has changed since you read it, or it already exists. Read it again and retry."


class PreconditionRequired(Refusal):
    code = "precondition_required"
    status = 428
    detail = "Send the ETag of the version that you read in If-Match, so that no other change is overwritten."


class Unavailable(Refusal):
    code = "unavailable"
    status = 503
    detail = "The service is temporarily unavailable; try again shortly."

    def __init__(self, *, retry_after_s: int = 2, **more: Any) -> None:
        super().__init__(headers={"Retry-After": str(retry_after_s)}, **more)


class IdempotencyKeyRequired(Refusal):
    code = "idempotency_key_required"
    status = 400
    detail = "Send an Idempotency-Key header so that the request can be retried safely."


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    status = 422
    detail = "This Idempotency-Key was already used for a different request; use a new key."


class IdempotencyKeyInUse(Refusal):
    code = "idempotency_key_in_use"
    status = 409
    detail = "The first request with this Idempotency-Key is still in progress; try again shortly."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})
