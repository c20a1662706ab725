"""Schemas of sign-in and sessions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.rules.stores.state import SUBSCRIPTION_SOURCES
from streamsvc.schemas.base import Bool, Choice, Email, Moment, OneOf, Pattern, PrefixedId, StrictSchema, Text
from streamsvc.schemas.sessions.accounts import AccountOut, Password
from streamsvc.schemas.sessions.devices import DeviceIn, DeviceTrustOut, DeviceTrustRequest, SessionDevice
from streamsvc.schemas.sessions.passkeys import AssertionCredential
from streamsvc.schemas.sessions.profiles import Pin, ProfileOut


class NewSession(DeviceTrustRequest):
    email = Email()
    identifier = Text(
        max_length=320,
        metadata={"description": "Instead of `email`: an email address, a username or a telephone number."},
    )
    password = Password(required=True)
    totp = Pattern("[0-9]{6}", "Must be six digits.", max_length=6)
    recovery_code = Text(max_length=40)
    email_code = Pattern("[0-9]{8}", "Must be eight digits.", max_length=8)
    challenge = Text(
        max_length=4096, metadata={"description": "The response of the challenge widget, after a 429 with `challenge`."}
    )
    cookie = Bool(load_default=False, metadata={"description": "Set the token as a cookie instead of returning it."})
    remember = Bool(load_default=True, metadata={"description": "False: the session ends after two hours without use."})
    device = fields.Nested(DeviceIn(), load_default=None)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def require_one_identifier(self, body: dict, sent: Any, **_: Any) -> None:
        given = {"email", "identifier"} & sent.keys() if isinstance(sent, Mapping) else {"email"}
        if len(given) > 1:
            raise ValidationError("Must not be sent together with email.", "identifier")
        if not given:
            raise ValidationError("Missing data for required field.", "email")


class SessionPatch(StrictSchema):
    profile_id = Text(max_length=64, required=True, allow_none=True)
    pin = Pin()


class SessionOut(StrictSchema):
    id = PrefixedId("ses", required=True)
    device = fields.Nested(SessionDevice(), required=True)
    profile_id = PrefixedId("pro", required=True, allow_none=True)
    created_at = Moment(required=True)
    authenticated_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    expires_at = Moment(required=True)
    current = fields.Boolean(required=True)


class Impersonation(StrictSchema):
    """The operator behind a read-only support session, and the reason."""

    operator = PrefixedId("key", "opr", required=True)
    reason = fields.String(required=True)


class ListedSession(SessionOut):
    address = fields.String(required=True, allow_none=True)
    city = fields.String(
        required=True, allow_none=True, metadata={"description": "The city where the session started; null if unknown."}
    )
    country = fields.String(required=True, allow_none=True, metadata={"description": "Null if unknown."})
    impossible_travel = fields.Boolean(
        required=True, metadata={"description": "Too far from the sign-in before, for the time between them."}
    )
    user_agent = fields.String(required=True, allow_none=True)
    impersonation = fields.Nested(Impersonation(), required=True, allow_none=True)


class SessionPeriod(StrictSchema):
    start = fields.String(required=True, allow_none=True)
    end = fields.String(required=True, allow_none=True)


class LiveSubscription(StrictSchema):
    id = PrefixedId("sub", required=True)
    status = Choice("incomplete", "trialing", "active", "past_due", "paused", required=True)
    plan = fields.String(required=True)
    price_id = PrefixedId(
        "pri", required=True, allow_none=True, metadata={"description": "Null if an app store bills it."}
    )
    period = fields.Nested(SessionPeriod(), required=True)
    trial_end = fields.String(required=True, allow_none=True)
    cancel_at = fields.String(required=True, allow_none=True)
    paused_at = Moment(required=True, allow_none=True)
    resumes_at = Moment(required=True, allow_none=True)


class Entitlements(StrictSchema):
    """What the plan allows now. A plan may have more features than these."""

    class Meta:
        unknown = "include"

    sometimes_absent: ClassVar[tuple[str, ...]] = ("max_devices_by_kind", "max_device_removals")
    active = fields.Boolean(required=True)
    plan = fields.String(required=True, allow_none=True)
    plans = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The plan, then its add-ons: titles restricted to any of them may be played."},
    )
    until = Moment(required=True, allow_none=True)
    max_streams = fields.Integer(required=True)
    max_height = fields.Integer(required=True)
    max_profiles = fields.Integer(required=True)
    max_devices = fields.Integer(required=True)
    max_devices_by_kind = fields.Dict(keys=fields.String(), values=fields.Integer())
    max_device_removals = fields.Integer()
    downloads = fields.Boolean(required=True)
    ads = fields.Boolean(required=True)


class SubscriptionSource(StrictSchema):
    """A live subscription, and who bills it."""

    subscription_id = PrefixedId("sub", required=True)
    source = Choice(*SUBSCRIPTION_SOURCES, required=True)
    status = Choice("incomplete", "trialing", "active", "past_due", "paused", required=True)
    plan = fields.String(required=True)
    until = Moment(required=True, allow_none=True)
    renews = fields.Boolean(required=True)
    management_url = fields.String(
        required=True, allow_none=True, metadata={"description": "Where its customer changes or cancels it."}
    )


class CurrentSession(StrictSchema):
    """The session with its account, profiles, subscription and entitlements."""

    sometimes_absent: ClassVar[tuple[str, ...]] = ("csrf_token",)
    csrf_token = fields.String(metadata={"description": "Only with a session cookie: send it as `X-CSRF-Token`."})
    session = fields.Nested(SessionOut(), required=True)
    guest = fields.Boolean(
        required=True,
        metadata={"description": "Without an account: `account` and its one profile last until the guest signs up."},
    )
    account = fields.Nested(AccountOut(), required=True)
    profiles = fields.List(fields.Nested(ProfileOut()), required=True)
    profile = fields.Nested(ProfileOut(), required=True, allow_none=True)
    subscription = fields.Nested(LiveSubscription(), required=True, allow_none=True)
    entitlements = fields.Nested(Entitlements(), required=True)
    sources = fields.List(
        fields.Nested(SubscriptionSource()),
        required=True,
        metadata={
            "description": "The live subscriptions, whoever bills them: with two, the viewer pays twice, and is sold "
            "no third."
        },
    )
    impersonation = fields.Nested(Impersonation(), required=True, allow_none=True)


class SignedIn(CurrentSession):
    sometimes_absent = ("csrf_token", "device_trust", "token", "token_type")
    device_trust = fields.Nested(
        DeviceTrustOut(), metadata={"description": "Only with `trust_device` and a second factor."}
    )
    token_type = OneOf("DPoP", metadata={"description": "Only if a DPoP proof bound the session to its key."})
    token = fields.String(metadata={"description": "Returned only once. Absent if a cookie was requested."})


class TokenRotation(StrictSchema):
    """The option of a reauthentication to replace the session's token."""

    rotate = Bool(
        load_default=False,
        metadata={"description": "Return a new token and invalidate the old one. A session cookie is always replaced."},
    )


class Reauthentication(TokenRotation):
    """Exactly one proof of identity."""

    password = Password()
    totp = Pattern("[0-9]{6}", "Must be six digits.", max_length=6)
    credential = fields.Nested(AssertionCredential(), metadata={"description": "A passkey's response."})
    email_code = Pattern("[0-9]{8}", "Must be eight digits.", max_length=8)

    @validates_schema
    def require_one_proof(self, body: dict, **_: Any) -> None:
        if len(body.keys() - {"rotate"}) != 1:
            raise ValidationError("Must have exactly one of password, totp, credential, email_code.")


class PasswordChange(TokenRotation):
    current_password = Password(required=True)
    password = Password(required=True)


class NewToken(StrictSchema):
    token = fields.String(required=True, metadata={"description": "Returned only once. The old token is invalid."})
