"""Schemas of profiles: the people who watch within one account."""

from typing import Any

from marshmallow import fields

from streamsvc.schemas.base import Bool, Int, Language, Moment, Pattern, PrefixedId, StrictSchema
from streamsvc.schemas.names import Name


class Pin(Pattern):
    """A profile's PIN of four to eight digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("[0-9]{4,8}", "Must be four to eight digits.", max_length=8, **kwargs)


class ProfilePatch(StrictSchema):
    name = Name(max_length=50)
    avatar = Name(max_length=200, allow_none=True)
    language = Language(allow_none=True)
    max_age = Int(
        minimum=0,
        maximum=21,
        allow_none=True,
        metadata={"description": "Titles with a higher minimum age are hidden. Null means no limit."},
    )
    kids = Bool()
    autoplay = Bool()


class NewProfile(ProfilePatch):
    name = Name(max_length=50, required=True)


class PinIn(StrictSchema):
    pin = Pin(required=True)


class ProfileOut(StrictSchema):
    id = PrefixedId("pro", required=True)
    name = fields.String(required=True)
    avatar = fields.String(required=True, allow_none=True)
    language = fields.String(required=True, allow_none=True)
    kids = fields.Boolean(required=True)
    max_age = fields.Integer(required=True, allow_none=True)
    autoplay = fields.Boolean(required=True)
    has_pin = fields.Boolean(required=True)


class ListedProfile(ProfileOut):
    created_at = Moment(required=True)


class DeletedProfile(ListedProfile):
    deleted_at = Moment(required=True)
    restorable_until = Moment(required=True)
