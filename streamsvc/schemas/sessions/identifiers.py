"""Schemas of sign-in identifiers."""

from marshmallow import fields

from streamsvc.schemas.base import Pattern, StrictSchema, Text


class UsernameIn(StrictSchema):
    username = Text(max_length=100, required=True, metadata={"description": "Letters, digits and `._-`."})


class PhoneIn(StrictSchema):
    phone = Text(max_length=40, required=True, metadata={"description": "A mobile number with its country code."})


class PhoneCode(StrictSchema):
    code = Pattern("[0-9]{8}", "Must be eight digits.", max_length=8, required=True)


class Identifiers(StrictSchema):
    """What the account can be found by at sign-in."""

    email = fields.String(required=True)
    username = fields.String(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True, metadata={"description": "Verified, in E.164."})
    pending_phone = fields.String(
        required=True, allow_none=True, metadata={"description": "Awaits its code; it signs nobody in."}
    )
