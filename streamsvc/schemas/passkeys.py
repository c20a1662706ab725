"""Passkeys on the wire: the browser's own JSON (WebAuthn level 3, toJSON) goes through as it is."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Moment, StrictSchema, Text
from streamsvc.schemas.devices import DeviceIn


class BrowserJson(StrictSchema):
    """What `PublicKeyCredential.parse…OptionsFromJSON` takes."""

    class Meta:
        unknown = "include"

    challenge = fields.String(required=True)


class NewPasskey(StrictSchema):
    credential = fields.Dict(keys=fields.String(), required=True, metadata={"description": "credential.toJSON()"})
    name = Text(longest=100, load_default="A passkey")


class PasskeyOut(StrictSchema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    created_at = Moment(required=True)
    last_used_at = Moment(required=True, allow_none=True)


class PasskeySignIn(StrictSchema):
    credential = fields.Dict(keys=fields.String(), required=True, metadata={"description": "credential.toJSON()"})
    cookie = Bool(load_default=False)
    remember = Bool(load_default=True)
    device = fields.Nested(DeviceIn(), load_default=None)
