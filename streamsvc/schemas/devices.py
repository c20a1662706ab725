"""Devices: what a viewer signs in with."""

from marshmallow import fields

from streamsvc.schemas.base import Moment, StrictSchema, Text, Word

DEVICE_KINDS = ("web", "phone", "tablet", "tv", "console", "other")


class NewDevice(StrictSchema):
    name = Text(longest=100, load_default="Unnamed device")
    kind = Word(*DEVICE_KINDS, load_default="other")


class DeviceIn(NewDevice):
    id = Text(longest=64, metadata={"description": "The id that an earlier sign-in on this device was given."})


class DeviceNamed(StrictSchema):
    name = fields.String(required=True)
    kind = Word(*DEVICE_KINDS, required=True)


class SessionDevice(DeviceNamed):
    id = fields.String(required=True)


class DevicePatch(StrictSchema):
    name = Text(longest=100, required=True)


class DeviceOut(StrictSchema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    kind = Word(*DEVICE_KINDS, required=True)
    created_at = Moment(required=True)
    last_seen_at = Moment(required=True)
    current = fields.Boolean(required=True)
    sessions = fields.Integer(required=True, metadata={"description": "How many live sessions it has."})
