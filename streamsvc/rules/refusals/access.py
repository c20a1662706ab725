"""Authentication and authorization errors."""

from typing import ClassVar

from streamsvc.rules.refusals.base import Refusal


class NotSignedIn(Refusal):
    code = "not_signed_in"
    status = 401
    detail = "Send a valid access token: Authorization: Bearer <token>."

    def __init__(self, presented: bool = False):
        challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
        super().__init__(headers={"WWW-Authenticate": challenge})


class InsufficientScope(Refusal):
    code = "insufficient_scope"
    status = 403
    detail = "Your API key or role does not have the scope that this endpoint requires."
    member_schemas: ClassVar = {"scope": {"type": "string"}}

    def __init__(self, scope: str):
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(scope=scope, headers={"WWW-Authenticate": challenge})


class ReadOnlySession(Refusal):
    code = "read_only_session"
    status = 403
    detail = "This is a read-only support session; only the account's owner can access this."


class EndUserAddressInvalid(Refusal):
    code = "end_user_address_invalid"
    status = 400
    detail = (
        "X-End-User-Address must be signed for this exact request, within 60 seconds, with a valid API key of the "
        "scope `frontend`."
    )


class LastAdmin(Refusal):
    code = "last_admin"
    status = 409
    detail = "At least one admin must remain; promote another operator first."
