"""Sign-in by mail, on the wire."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Email, Pattern, StrictSchema, Text
from streamsvc.schemas.sessions.accounts import Accepted
from streamsvc.schemas.sessions.devices import DeviceIn, DeviceTrustRequest


class Binding(Text):
    def __init__(self):
        told = "What the beginning answered; not needed where that was asked to set a cookie."
        super().__init__(max_length=100, load_default=None, metadata={"description": told})


class SignInCompletion(DeviceTrustRequest):
    """What every sign-in takes that is finished where it was begun."""

    binding = Binding()
    totp = Pattern("[0-9]{6}", "Give six digits.", max_length=6)
    recovery_code = Text(max_length=40)
    cookie = Bool(load_default=False, metadata={"description": "The token comes as a cookie, not in the answer."})
    remember = Bool(load_default=True, metadata={"description": "False: signed out after two hours without use."})
    device = fields.Nested(DeviceIn(), load_default=None)


class NewMagicLink(StrictSchema):
    email = Email(required=True)
    cookie = Bool(load_default=False, metadata={"description": "The binding comes as a cookie, not in the answer."})


class MagicLinkRequested(Accepted):
    binding = fields.String(
        metadata={"description": "Send it with the mailed token: no other app or browser can use the link."}
    )


class MagicLinkSignIn(SignInCompletion):
    token = Text(max_length=200, required=True)
