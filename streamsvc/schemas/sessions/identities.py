"""Schemas of sign-in with accounts at other providers (OpenID Connect)."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Country, Language, Moment, PrefixedId, StrictSchema, Text, TimeZone
from streamsvc.schemas.names import Name
from streamsvc.schemas.sessions.magic_links import SignInCompletion


class ProviderOut(StrictSchema):
    name = fields.String(required=True)


class Providers(StrictSchema):
    items = fields.List(fields.Nested(ProviderOut()), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class SignUp(StrictSchema):
    """The account to create, with the email address that the provider verified, if none is linked yet."""

    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    name = Name(max_length=100, load_default=None)


class LinkOptions(StrictSchema):
    provider = Text(max_length=64, required=True)


class OidcOptions(LinkOptions):
    cookie = Bool(load_default=False, metadata={"description": "Set the binding as a cookie instead of returning it."})
    sign_up = fields.Nested(SignUp(), load_default=None)


class AuthorizationUrl(StrictSchema):
    sometimes_absent = ("binding",)
    authorization_url = fields.String(required=True, metadata={"description": "Redirect the browser to this URL."})
    binding = fields.String(metadata={"description": "Send it with `code` and `state`."})


class ProviderResponse(StrictSchema):
    """The parameters of the provider's redirect to the front end."""

    code = Text(max_length=4096, required=True)
    state = Text(max_length=200, required=True)
    iss = Text(max_length=500, load_default=None)


class ProviderFormPost(StrictSchema):
    """A provider's form-post response: a code or an error. Other fields are ignored."""

    code = Text(max_length=4096)
    state = Text(max_length=200, required=True)
    iss = Text(max_length=500)
    error = Text(max_length=200)


class OidcSignIn(SignInCompletion, ProviderResponse):
    pass


class IdentityOut(StrictSchema):
    id = PrefixedId("idn", required=True)
    provider = fields.String(required=True)
    email = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    last_used_at = Moment(required=True, allow_none=True)
