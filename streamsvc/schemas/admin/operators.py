"""Operators as people, as they cross the wire."""

from marshmallow import fields

from streamsvc.rules.roles import ROLES
from streamsvc.schemas.base import Email, Moment, Pattern, StrictSchema, Text, Word
from streamsvc.schemas.sessions.accounts import Password

SIX_DIGITS = ("[0-9]{6}", "Give six digits.")


class NewOperatorSession(StrictSchema):
    email = Email(required=True)
    password = Password(required=True)
    totp = Pattern(*SIX_DIGITS, longest=6)
    recovery_code = Text(longest=40)
    challenge = Text(
        longest=4096, metadata={"description": "What the visitor's widget gave, after a 429 with `challenge`."}
    )


class OperatorOut(StrictSchema):
    id = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    status = Word("active", "disabled", "removed", required=True)
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


class OperatorAsking(StrictSchema):
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
    operator = fields.Nested(OperatorAsking(), required=True)


class OperatorSignedIn(CurrentOperatorSession):
    token = fields.String(required=True, metadata={"description": "Shown this once."})


class OperatorProof(StrictSchema):
    totp = Pattern(*SIX_DIGITS, longest=6, required=True)


class OperatorPasswordChange(StrictSchema):
    current_password = Password(required=True)
    password = Password(required=True)


class OperatorTotpCode(StrictSchema):
    code = Pattern(*SIX_DIGITS, longest=6, required=True)


class NewOperator(StrictSchema):
    email = Email(required=True)
    name = Text(longest=100, required=True)
    role = Word(*ROLES, required=True)


class OperatorPatch(StrictSchema):
    name = Text(longest=100)
    role = Word(*ROLES)
    status = Word("active", "disabled")


class Invitation(StrictSchema):
    token = Text(longest=200, required=True)


class InvitedOperator(StrictSchema):
    """Who is invited, and the authenticator's secret to begin with."""

    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    secret = fields.String(required=True, metadata={"description": "Base32, for an authenticator app."})
    otpauth_uri = fields.String(required=True, metadata={"description": "The same, for a QR code."})


class Enrolment(StrictSchema):
    token = Text(longest=200, required=True)
    password = Password(required=True)
    code = Pattern(*SIX_DIGITS, longest=6, required=True)


class NewImpersonation(StrictSchema):
    reason = Text(longest=300, required=True, metadata={"description": "The account's owner reads it."})
    profile_id = Text(longest=64, load_default=None, allow_none=True)


class ImpersonationOut(StrictSchema):
    session_id = fields.String(required=True)
    token = fields.String(required=True, metadata={"description": "A viewer's token that only reads. Shown this once."})
    expires_at = Moment(required=True)
