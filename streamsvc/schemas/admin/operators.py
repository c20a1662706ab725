"""Schemas of operators, their sessions, invitations and impersonations."""

from typing import ClassVar

from marshmallow import fields

from streamsvc.rules.roles import ROLES
from streamsvc.schemas.base import Bool, Choice, Email, Moment, OneOf, Pattern, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Message, Name
from streamsvc.schemas.sessions.accounts import Password

SIX_DIGITS = ("[0-9]{6}", "Must be six digits.")


class NewOperatorSession(StrictSchema):
    email = Email(required=True)
    password = Password(required=True)
    totp = Pattern(*SIX_DIGITS, max_length=6)
    recovery_code = Text(max_length=40)
    cookie = Bool(load_default=False, metadata={"description": "Return the token as a cookie, for browsers."})
    challenge = Text(
        max_length=4096, metadata={"description": "The response of the challenge widget, after a 429 with `challenge`."}
    )


class OperatorOut(StrictSchema):
    id = PrefixedId("opr", required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = OneOf(*ROLES, required=True)
    status = Choice("active", "disabled", "removed", required=True)
    enrolled = fields.Boolean(
        required=True, metadata={"description": "False until the operator has set a password and an authenticator."}
    )
    created_at = Moment(required=True)


class OperatorSessionOut(StrictSchema):
    id = PrefixedId("ose", required=True)
    created_at = Moment(required=True)
    authenticated_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    expires_at = Moment(required=True)
    network = fields.String(required=True)
    user_agent = fields.String(required=True)
    current = fields.Boolean(required=True)


class CurrentOperator(StrictSchema):
    """The signed-in operator.

    `write_scopes` are the scopes with full access, `read_scopes` those with read-only access.
    """

    id = PrefixedId("opr", required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    write_scopes = fields.List(fields.String(), required=True)
    read_scopes = fields.List(fields.String(), required=True)


class OperatorSessionPeriod(StrictSchema):
    id = PrefixedId("ose", required=True)
    created_at = Moment(required=True)
    authenticated_at = Moment(required=True)
    expires_at = Moment(required=True)


class CurrentOperatorSession(StrictSchema):
    sometimes_absent: ClassVar[tuple[str, ...]] = ("csrf_token",)
    csrf_token = fields.String(metadata={"description": "Only with a session cookie: send it as `X-CSRF-Token`."})
    session = fields.Nested(OperatorSessionPeriod(), required=True)
    operator = fields.Nested(CurrentOperator(), required=True)


class OperatorSignedIn(CurrentOperatorSession):
    sometimes_absent = ("csrf_token", "token")
    token = fields.String(metadata={"description": "Returned only once; absent with `cookie`."})


class OperatorReauthentication(StrictSchema):
    totp = Pattern(*SIX_DIGITS, max_length=6, required=True)


class OperatorPasswordChange(StrictSchema):
    current_password = Password(required=True)
    password = Password(required=True)


class OperatorTotpCode(StrictSchema):
    code = Pattern(*SIX_DIGITS, max_length=6, required=True)


class NewOperator(StrictSchema):
    email = Email(required=True)
    name = Name(max_length=100, required=True)
    role = Choice(*ROLES, required=True)


class OperatorPatch(StrictSchema):
    name = Name(max_length=100)
    role = Choice(*ROLES)
    status = Choice("active", "disabled")


class Invitation(StrictSchema):
    token = Text(max_length=200, required=True)


class InvitedOperator(StrictSchema):
    """The invited operator and a secret to set up their authenticator."""

    email = fields.String(required=True)
    name = fields.String(required=True)
    role = OneOf(*ROLES, required=True)
    secret = fields.String(required=True, metadata={"description": "Base32, for an authenticator app."})
    otpauth_uri = fields.String(required=True, metadata={"description": "The secret as a URI, for a QR code."})
    qr_code = fields.String(required=True, metadata={"description": "The QR code, as a `data:` URI of an SVG image."})


class OperatorEnrollment(StrictSchema):
    token = Text(max_length=200, required=True)
    password = Password(required=True)
    code = Pattern(*SIX_DIGITS, max_length=6, required=True)


class NewImpersonation(StrictSchema):
    reason = Message(max_length=300, required=True, metadata={"description": "Visible to the account's owner."})
    profile_id = Text(max_length=64, load_default=None, allow_none=True)


class ImpersonationOut(StrictSchema):
    session_id = PrefixedId("ses", required=True)
    token = fields.String(required=True, metadata={"description": "A read-only viewer token. Returned only once."})
    expires_at = Moment(required=True)
