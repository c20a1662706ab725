"""Sign-in with accounts at other providers, on the wire."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Country, Language, Moment, StrictSchema, Text, TimeZone
from streamsvc.schemas.sessions.magic_links import SignInCompletion


class ProviderOut(StrictSchema):
    name = fields.String(required=True)


class Providers(StrictSchema):
    items = fields.List(fields.Nested(ProviderOut()), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class SignUp(StrictSchema):
    """Where nobody is linked yet, an account is opened with the e-mail that the provider has confirmed."""

    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    name = Text(max_length=100, load_default=None)


class LinkOptions(StrictSchema):
    provider = Text(max_length=64, required=True)


class OidcOptions(LinkOptions):
    cookie = Bool(load_default=False, metadata={"description": "The binding comes as a cookie, not in the answer."})
    sign_up = fields.Nested(SignUp(), load_default=None)


class AuthorizationUrl(StrictSchema):
    authorization_url = fields.String(required=True, metadata={"description": "Send the browser there."})
    binding = fields.String(metadata={"description": "Send it with code and state."})


class ProviderResponse(StrictSchema):
    """What the provider's redirect carried to the front end."""

    code = Text(max_length=4096, required=True)
    state = Text(max_length=200, required=True)
    iss = Text(max_length=500, load_default=None)


class ProviderFormPost(StrictSchema):
    """What a provider's form carries: a code, or an error. Whatever else stands in it is passed over."""

    code = Text(max_length=4096)
    state = Text(max_length=200, required=True)
    iss = Text(max_length=500)
    error = Text(max_length=200)


class OidcSignIn(SignInCompletion, ProviderResponse):
    pass


class IdentityOut(StrictSchema):
    id = fields.String(required=True)
    provider = fields.String(required=True)
    email = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    last_used_at = Moment(required=True, allow_none=True)
