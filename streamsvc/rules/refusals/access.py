"""Errors of authentication and authorisation."""

from streamsvc.rules.refusals.base import Refusal


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
