"""Operators as people, as they cross the wire."""

from marshmallow import fields

from streamsvc.rules.roles import ROLES
from streamsvc.schemas.base import Choice, Email, Moment, Pattern, StrictSchema, Text
from streamsvc.schemas.sessions.accounts import Password

SIX_DIGITS = ("[0-9]{6}", "Give six digits.")


class NewOperatorSession(StrictSchema):
    email = Email(required=True)
    password = Password(required=True)
    totp = Pattern(*SIX_DIGITS, max_length=6)
    recovery_code = Text(max_length=40)
    challenge = Text(
        max_length=4096, metadata={"description": "What the visitor's widget gave, after a 429 with `challenge`."}
    )


class OperatorOut(StrictSchema):
    id = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    status = Choice("active", "disabled", "removed", required=True)
    enrolled = fields.Boolean(
        required=True, metadata={"description": "False until a password and an authenticator are set."}
    )
    created_at = Moment(required=True)


class OperatorSessionOut(StrictSchema):
    id = fields.String(required=True)
    created_at = Moment(required=True)
    authenticated_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    expires_at = Moment(required=True)
    network = fields.String(required=True)
    user_agent = fields.String(required=True)
    current = fields.Boolean(required=True)


class CurrentOperator(StrictSchema):
    """`acts`: scopes in which every call is open; `looks`: those in which only calls are that change nothing."""

    id = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    acts = fields.List(fields.String(), required=True)
    looks = fields.List(fields.String(), required=True)


class OperatorSessionPeriod(StrictSchema):
    id = fields.String(required=True)
    created_at = Moment(required=True)
    authenticated_at = Moment(required=True)
    expires_at = Moment(required=True)


class CurrentOperatorSession(StrictSchema):
    session = fields.Nested(OperatorSessionPeriod(), required=True)
    operator = fields.Nested(CurrentOperator(), required=True)


class OperatorSignedIn(CurrentOperatorSession):
    token = fields.String(required=True, metadata={"description": "Shown this once."})


class OperatorReauthentication(StrictSchema):
    totp = Pattern(*SIX_DIGITS, max_length=6, required=True)


class OperatorPasswordChange(StrictSchema):
    current_password = Password(required=True)
    password = Password(required=True)


class OperatorTotpCode(StrictSchema):
    code = Pattern(*SIX_DIGITS, max_length=6, required=True)


class NewOperator(StrictSchema):
    email = Email(required=True)
    name = Text(max_length=100, required=True)
    role = Choice(*ROLES, required=True)


class OperatorPatch(StrictSchema):
    name = Text(max_length=100)
    role = Choice(*ROLES)
    status = Choice("active", "disabled")


class Invitation(StrictSchema):
    token = Text(max_length=200, required=True)


class InvitedOperator(StrictSchema):
    """Who is invited, and the authenticator's secret to begin with."""

    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    secret = fields.String(required=True, metadata={"description": "Base32, for an authenticator app."})
    otpauth_uri = fields.String(required=True, metadata={"description": "The same, for a QR code."})


class OperatorEnrollment(StrictSchema):
    token = Text(max_length=200, required=True)
    password = Password(required=True)
    code = Pattern(*SIX_DIGITS, max_length=6, required=True)


class NewImpersonation(StrictSchema):
    reason = Text(max_length=300, required=True, metadata={"description": "The account's owner reads it."})
    profile_id = Text(max_length=64, load_default=None, allow_none=True)


class ImpersonationOut(StrictSchema):
    session_id = fields.String(required=True)
    token = fields.String(required=True, metadata={"description": "A viewer's token that only reads. Shown this once."})
    expires_at = Moment(required=True)
