"""Schemas of profiles: the people who watch within one account."""

from typing import Any

from marshmallow import fields, validate

from streamsvc.rules.playback.restrictions import DAYS
from streamsvc.schemas.base import Bool, Choice, Email, Int, Language, Moment, Pattern, PrefixedId, StrictSchema, Text
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


class NewProfileTransfer(StrictSchema):
    email = Email(required=True)


class ProfileTransferToken(StrictSchema):
    token = Text(max_length=200, required=True)


class TitleSet(StrictSchema):
    titles = fields.List(
        Text(max_length=64), load_default=list, validate=validate.Length(max=200), metadata={"description": "Ids."}
    )
    genres = fields.List(
        Text(max_length=64), load_default=list, validate=validate.Length(max=50), metadata={"description": "Codes."}
    )
    tags = fields.List(
        Text(max_length=64), load_default=list, validate=validate.Length(max=200), metadata={"description": "Codes."}
    )


class ClockTime(Pattern):
    """A time by the wall clock, such as `07:00`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("([01][0-9]|2[0-3]):[0-5][0-9]", "Must be a time such as 07:00.", max_length=5, **kwargs)


class ViewingHours(StrictSchema):
    days = fields.List(Choice(*DAYS), required=True, validate=validate.Length(min=1, max=7))
    start = ClockTime(required=True)
    end = ClockTime(
        required=True,
        metadata={"description": "On the next day if not after `start`: `00:00` is midnight."},
    )


class Restrictions(StrictSchema):
    blocked = fields.Nested(TitleSet(), load_default=lambda: {"titles": [], "genres": [], "tags": []})
    allowed_only = fields.Nested(
        TitleSet(),
        load_default=None,
        allow_none=True,
        metadata={"description": "If not null, the profile sees nothing else."},
    )
    viewing_hours = fields.List(
        fields.Nested(ViewingHours()),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1, max=50),
        metadata={"description": "In the account's time zone. Null: at any time."},
    )


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
