"""Devices: what a viewer signs in with."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Choice, Moment, StrictSchema, Text

DEVICE_KINDS = ("web", "phone", "tablet", "tv", "console", "other")


class NewDevice(StrictSchema):
    name = Text(max_length=100, load_default="Unnamed device")
    kind = Choice(*DEVICE_KINDS, load_default="other")


class DeviceIn(NewDevice):
    id = Text(max_length=64, metadata={"description": "The id that an earlier sign-in on this device was given."})


class DeviceTrustRequest(StrictSchema):
    """What a sign-in says of a device that shall be asked for no second factor, or is."""

    trust_device = Bool(
        load_default=False,
        metadata={"description": "With a second factor: ask for none here for a while. Answered by `device_trust`."},
    )
    device_trust = Text(
        max_length=100,
        metadata={"description": "The token that this was answered by, beside the device's id, instead of a code."},
    )


class DeviceTrustOut(StrictSchema):
    token = fields.String(metadata={"description": "Shown this once. Absent where a cookie was asked for."})
    until = Moment(required=True)


class DeviceSummary(StrictSchema):
    name = fields.String(required=True)
    kind = Choice(*DEVICE_KINDS, required=True)


class SessionDevice(DeviceSummary):
    id = fields.String(required=True)


class DevicePatch(StrictSchema):
    name = Text(max_length=100, required=True)


class DeviceOut(StrictSchema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    kind = Choice(*DEVICE_KINDS, required=True)
    created_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    current = fields.Boolean(required=True)
    sessions = fields.Integer(required=True, metadata={"description": "How many live sessions it has."})
    trusted_until = Moment(
        required=True, allow_none=True, metadata={"description": "Until then it need not give a second factor."}
    )
