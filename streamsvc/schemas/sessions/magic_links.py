"""Schemas of sign-in by emailed link, and the fields that several sign-in methods share."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Email, Pattern, StrictSchema, Text
from streamsvc.schemas.sessions.accounts import Accepted
from streamsvc.schemas.sessions.devices import DeviceIn, DeviceTrustRequest


class Binding(Text):
    """The value that ties a two-step sign-in to the browser or app that started it."""

    def __init__(self) -> None:
        description = "The `binding` that the first step returned. Not needed if it was set as a cookie."
        super().__init__(max_length=100, load_default=None, metadata={"description": description})


class SignInCompletion(DeviceTrustRequest):
    """The fields of every sign-in that must be completed by the browser or app that started it."""

    binding = Binding()
    totp = Pattern("[0-9]{6}", "Must be six digits.", max_length=6)
    recovery_code = Text(max_length=40)
    cookie = Bool(load_default=False, metadata={"description": "Set the token as a cookie instead of returning it."})
    remember = Bool(load_default=True, metadata={"description": "False: the session ends after two hours without use."})
    device = fields.Nested(DeviceIn(), load_default=None)


class NewMagicLink(StrictSchema):
    email = Email(required=True)
    cookie = Bool(load_default=False, metadata={"description": "Set the binding as a cookie instead of returning it."})


class MagicLinkRequested(Accepted):
    sometimes_absent = ("binding",)
    binding = fields.String(
        metadata={"description": "Send it with the emailed token: no other app or browser can use the link."}
    )


class MagicLinkSignIn(SignInCompletion):
    token = Text(max_length=200, required=True)
