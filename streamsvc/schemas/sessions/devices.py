"""Schemas of the devices that a viewer signs in with."""

from marshmallow import fields

from streamsvc.schemas.base import DEVICE_KINDS, Bool, Choice, Moment, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Name


class NewDevice(StrictSchema):
    name = Name(max_length=100, load_default="Unnamed device")
    kind = Choice(*DEVICE_KINDS, load_default="other")


class DeviceIn(NewDevice):
    id = Text(max_length=64, metadata={"description": "The id that an earlier sign-in on this device returned."})


class DeviceTrustRequest(StrictSchema):
    """The part of a sign-in that asks to trust the device, or shows that it is trusted."""

    trust_device = Bool(
        load_default=False,
        metadata={"description": "Skip the second factor on this device for a while. Returns `device_trust`."},
    )
    device_trust = Text(
        max_length=100,
        metadata={"description": "The token of `device_trust`, sent with the device's id in place of a code."},
    )


class DeviceTrustOut(StrictSchema):
    sometimes_absent = ("token",)
    token = fields.String(metadata={"description": "Returned only once. Absent if a cookie was requested."})
    until = Moment(required=True)


class DeviceSummary(StrictSchema):
    name = fields.String(required=True)
    kind = Choice(*DEVICE_KINDS, required=True)


class SessionDevice(DeviceSummary):
    id = PrefixedId("dev", required=True)


class DevicePatch(StrictSchema):
    name = Name(max_length=100, required=True)


class DeviceOut(StrictSchema):
    id = PrefixedId("dev", required=True)
    name = fields.String(required=True)
    kind = Choice(*DEVICE_KINDS, required=True)
    created_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    current = fields.Boolean(required=True)
    sessions = fields.Integer(required=True, metadata={"description": "The number of live sessions on the device."})
    trusted_until = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "Until then, sign-ins need no second factor."},
    )
