"""Schemas of accounts, passwords and emailed tokens."""

from typing import Any

from marshmallow import fields

from streamsvc.rules.sign_in.passwords import MAX_PASSWORD_BYTES
from streamsvc.schemas.base import (
    Bool,
    Country,
    Email,
    Language,
    Moment,
    OneOf,
    PrefixedId,
    StrictSchema,
    Text,
    TimeZone,
)
from streamsvc.schemas.names import Name
from streamsvc.schemas.sessions.devices import DeviceIn, NewDevice


class Password(Text):
    """A password. Taken verbatim: whitespace is neither stripped nor shortened."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_PASSWORD_BYTES, strip=False, **kwargs)


class NewAccount(StrictSchema):
    email = Email(required=True)
    password = Password(required=True)
    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    name = Name(max_length=100, load_default=None)
    cookie = Bool(load_default=False)
    remember = Bool(load_default=True)
    device = fields.Nested(DeviceIn(), load_default=None)


class NewGuest(StrictSchema):
    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    cookie = Bool(load_default=False, metadata={"description": "Set the token as a cookie instead of returning it."})
    device = fields.Nested(NewDevice(), load_default=None)


class AccountPatch(StrictSchema):
    name = Name(max_length=100, allow_none=True)
    country = Country()
    time_zone = TimeZone()
    locale = Language()


class AccountOut(StrictSchema):
    id = PrefixedId("acc", required=True)
    email = fields.String(required=True, allow_none=True, metadata={"description": "Null for a guest."})
    email_verified = fields.Boolean(required=True)
    name = fields.String(required=True, allow_none=True)
    country = fields.String(required=True)
    time_zone = fields.String(required=True)
    locale = fields.String(required=True)
    created_at = Moment(required=True)
    store_account_id = fields.UUID(
        required=True,
        metadata={"description": "For StoreKit's `appAccountToken`, and as Google Play's `obfuscatedAccountId`."},
    )


class Export(StrictSchema):
    """The personal data of an account. `tables` has every row about it, by table name."""

    exported_at = Moment(required=True)
    tables = fields.Dict(keys=fields.String(), values=fields.List(fields.Dict()), required=True)


class EmailIn(StrictSchema):
    email = Email(required=True)


class MailedTokenIn(StrictSchema):
    token = Text(max_length=200, required=True)


class EmailConfirmation(MailedTokenIn):
    binding = Text(
        max_length=100,
        load_default=None,
        metadata={"description": "The `binding` that the sign-up returned. Not needed if it was set as a cookie."},
    )


class PasswordReset(StrictSchema):
    token = Text(max_length=200, required=True)
    password = Password(required=True)
    revoke_access_since = Moment(
        load_default=None,
        metadata={"description": "Also revoke what was added since: a moment within the last seven days."},
    )


class SignUpAccepted(StrictSchema):
    """Confirms that a sign-up was accepted; it continues by email."""

    sometimes_absent = ("binding",)
    status = OneOf("accepted", required=True)
    binding = fields.String(
        metadata={"description": "Send it with the emailed token: elsewhere the password is not accepted."}
    )


class Accepted(StrictSchema):
    """Confirms that a request was accepted. Any result arrives by email."""

    status = OneOf("accepted", required=True)
