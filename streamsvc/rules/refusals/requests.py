"""Errors of any request: format, preconditions, idempotency keys."""

from typing import Any, ClassVar

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


class UnknownPath(NotFound):
    detail = "This path does not exist in this API."

    def __init__(self, has_docs: bool):
        super().__init__(detail=f"{self.detail} See /docs or /openapi.json for all paths." if has_docs else None)


class WrongMethod(Refusal):
    code = "method_not_allowed"
    status = 405
    detail = "This path does not support this method; see `Allow`."

    def __init__(self, method: str, allowed: list[str]):
        names = ", ".join(allowed)
        super().__init__(detail=f"This path does not support {method}; use {names}.", headers={"Allow": names})


class BodyTooLarge(Refusal):
    code = "request_entity_too_large"
    status = 413
    detail = "The request body is too large."

    def __init__(self, max_bytes: int):
        super().__init__(detail=f"The request body is too large; send at most {max_bytes:,} bytes.")


class BadRequest(Refusal):
    """A request that HTTP itself does not allow, such as a body that ends early."""

    code = "bad_request"
    status = 400
    detail = "The request is not valid HTTP, or its body is incomplete."


class InternalError(Refusal):
    code = "internal_error"
    status = 500
    detail = "The service failed on this request. Try again later; quote the `request_id` if you report it."


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


class NotReady(Unavailable):
    """`checks`: {name: whether it passed}."""

    code = "not_ready"
    detail = "The service is not ready to serve requests."
    member_schemas: ClassVar = {"checks": {"type": "object", "additionalProperties": {"type": "boolean"}}}


class ClockNotTrusted(Unavailable):
    detail = "Nobody is charged at the moment, since the service's clock has to be checked; try again later."

    def __init__(self) -> None:
        super().__init__(retry_after_s=60)


class ReconciliationPending(Unavailable):
    detail = (
        "Nobody is charged or refunded at the moment, since the service was restored from a backup; try again later."
    )

    def __init__(self) -> None:
        super().__init__(retry_after_s=60)


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
