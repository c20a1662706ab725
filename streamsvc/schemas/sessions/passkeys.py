"""Schemas of passkeys. They read what they need of the browser's JSON (WebAuthn level 3, `toJSON`)."""

from typing import Any

from marshmallow import fields

from streamsvc.schemas.base import Bool, Choice, Moment, Pattern, PrefixedId, StrictSchema
from streamsvc.schemas.names import Name
from streamsvc.schemas.sessions.magic_links import SignInCompletion

MAX_ENCODED_LENGTH = 64 * 1024


class Base64Url(Pattern):
    """Base64url without padding."""

    def __init__(self, max_length: int = MAX_ENCODED_LENGTH, **kwargs: Any):
        super().__init__("[A-Za-z0-9_-]*", "Must be base64url without padding.", max_length=max_length, **kwargs)


class BrowserJson(StrictSchema):
    """Options for `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`."""

    class Meta:
        unknown = "include"

    challenge = fields.String(required=True)


class AttestationResponse(StrictSchema):
    class Meta:
        unknown = "exclude"

    clientDataJSON = Base64Url(required=True)
    attestationObject = Base64Url(required=True)


class AssertionResponse(StrictSchema):
    class Meta:
        unknown = "exclude"

    clientDataJSON = Base64Url(required=True)
    authenticatorData = Base64Url(required=True)
    signature = Base64Url(required=True)
    userHandle = Base64Url(max_length=100, min_length=0, allow_none=True)


class Credential(StrictSchema):
    """The output of `credential.toJSON()`. Unknown members are ignored, since browsers keep adding some."""

    class Meta:
        unknown = "exclude"

    id = Base64Url(max_length=1400, required=True)
    rawId = Base64Url(max_length=1400, required=True)
    type = Choice("public-key", required=True)


class AttestationCredential(Credential):
    response = fields.Nested(AttestationResponse(), required=True)


class AssertionCredential(Credential):
    response = fields.Nested(AssertionResponse(), required=True)


class NewPasskey(StrictSchema):
    credential = fields.Nested(AttestationCredential(), required=True)
    name = Name(max_length=100, load_default="A passkey")


class PasskeyOut(StrictSchema):
    id = PrefixedId("pky", required=True)
    name = fields.String(required=True)
    created_at = Moment(required=True)
    last_used_at = Moment(required=True, allow_none=True)


class PasskeyOptions(StrictSchema):
    cookie = Bool(
        load_default=False,
        metadata={"description": "Bind the challenge to this browser. Required for a sign-in by cookie."},
    )


class PasskeySignIn(SignInCompletion):
    class Meta:
        exclude = ("binding",)

    credential = fields.Nested(AssertionCredential(), required=True)
