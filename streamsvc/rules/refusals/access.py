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


class DpopProofRequired(NotSignedIn):
    """A session bound to a key was used without a valid proof of it, or an unbound one as if it were bound."""

    detail = "This session is bound to a key: send Authorization: DPoP <token> and a valid proof in DPoP."

    def __init__(self, error: str, detail: str | None = None, nonce: str | None = None):
        challenge = f'DPoP error="{error}", algs="ES256 RS256 EdDSA"'
        headers = {"WWW-Authenticate": challenge} | ({"DPoP-Nonce": nonce} if nonce else {})
        if nonce:
            detail = DpopNonceRequired.detail
        Refusal.__init__(self, detail=detail, headers=headers)


class DpopProofInvalid(Refusal):
    code = "invalid_dpop_proof"
    status = 400
    detail = "The DPoP proof of this sign-in is not valid."

    def __init__(self, reason: str):
        super().__init__(detail=f"The DPoP proof was refused: {reason}.", error=self.code)


class DpopNonceRequired(Refusal):
    code = "use_dpop_nonce"
    status = 400
    detail = (
        "The proof's iat is too far from the server's clock, or its nonce has expired. "
        "Send a new proof with the nonce from the DPoP-Nonce response header."
    )

    def __init__(self, nonce: str):
        super().__init__(headers={"DPoP-Nonce": nonce}, error=self.code)


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


class SignUpRequired(Refusal):
    code = "sign_up_required"
    status = 403
    detail = "Guests cannot use this. Sign up or sign in, and send the guest's token along to keep what they saved."


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
