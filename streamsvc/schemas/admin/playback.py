"""Schemas of playback for operators: explanations, streams, plays and usage."""

from typing import Any, get_args

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.rules.playback.inputs import UsageDimension
from streamsvc.schemas.base import (
    DEVICE_KINDS,
    Choice,
    Country,
    Day,
    Moment,
    OneOf,
    PageQuery,
    PrefixedId,
    StrictSchema,
    Text,
    page_of,
)
from streamsvc.schemas.playback.playback import Id, StreamDeviceOut, StreamOut


class ExplainIn(StrictSchema):
    account_id = Id(required=True)
    profile_id = Id(
        load_default=None, allow_none=True, metadata={"description": "Default: the account's first profile."}
    )
    item_id = Id(required=True)
    country = Country(load_default=None, allow_none=True, metadata={"description": "Default: the account's country."})
    address = Text(
        max_length=64,
        load_default=None,
        allow_none=True,
        metadata={"description": "The viewer's IP address, to check whether it is refused as one of a VPN."},
    )
    device_id = Id(
        load_default=None, allow_none=True, metadata={"description": "Also checks the device limit for this device."}
    )
    device_kind = Choice(
        *DEVICE_KINDS,
        load_default=None,
        allow_none=True,
        metadata={"description": "Returned unchanged; no check depends on it."},
    )
    at = Moment(load_default=None, allow_none=True, metadata={"description": "Default: now."})


class CheckOut(StrictSchema):
    check = fields.String(required=True)
    passed = fields.Boolean(required=True)
    code = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)


class ExplainedFactsOut(StrictSchema):
    at = Moment(required=True)
    country = fields.String(required=True, allow_none=True)
    profile_id = PrefixedId("pro", required=True, allow_none=True)
    max_age = fields.Integer(required=True, allow_none=True, metadata={"description": "The profile's age limit."})
    min_age = fields.Integer(
        required=True, allow_none=True, metadata={"description": "The title's age in `country`. Null: unrated."}
    )
    subscription_status = fields.String(required=True, allow_none=True)
    plan = fields.String(required=True, allow_none=True)
    plans = fields.List(fields.String(), required=True)
    device_kind = fields.String(required=True, allow_none=True)


class ExplainOut(StrictSchema):
    allowed = fields.Boolean(required=True)
    code = fields.String(
        required=True, allow_none=True, metadata={"description": "The error code that the viewer would get."}
    )
    facts = fields.Nested(ExplainedFactsOut, required=True)
    checks = fields.List(fields.Nested(CheckOut), required=True)


class StreamsQuery(PageQuery):
    account_id = Id(load_default=None)


class AdminStreamOut(StreamOut):
    item_id = PrefixedId("chn", "epi", "prg", "ttl", "xtr", required=True)
    title_id = PrefixedId("chn", "ttl", required=True)
    account_id = PrefixedId("acc", required=True)
    country = fields.String(required=True, allow_none=True)


AdminStreamPage = page_of(AdminStreamOut)


DIMENSIONS = get_args(UsageDimension)


class Dimensions(Text):
    """Comma-separated dimensions of the usage report, without duplicates."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        names = dict.fromkeys(super()._deserialize(value, attr, data, **kwargs).split(","))
        if not names.keys() <= set(DIMENSIONS):
            raise ValidationError(f"Must be one or more of {', '.join(DIMENSIONS)}, separated by commas.")
        return list(names)


class UsageQuery(StrictSchema):
    """A range of days in UTC."""

    since = Day(
        data_key="from", load_default=None, metadata={"description": "The first day. Default: 30 days before `to`."}
    )
    until = Day(
        data_key="to", load_default=None, metadata={"description": "The day after the last one. Default: tomorrow."}
    )

    group_by = Dimensions(
        load_default=(),
        metadata={"description": f"Also return `groups`: one or more of {', '.join(DIMENSIONS)}, comma-separated."},
    )
    format = Choice("json", "csv", "ndjson", load_default="json")

    @validates_schema
    def check_order(self, data: dict, **kwargs: Any) -> None:
        if data.get("since") and data.get("until") and data["since"] >= data["until"]:
            raise ValidationError("to must be after from.", "to")


class UsageNumbersOut(StrictSchema):
    starts = fields.Integer(required=True)
    minutes = fields.Integer(
        required=True, metadata={"description": "Minutes actually played, as reported by heartbeats."}
    )
    completions = fields.Integer(required=True, metadata={"description": "Playbacks that reached the end."})
    profiles = fields.Integer(required=True)
    accounts = fields.Integer(required=True)


class UsageDayOut(UsageNumbersOut):
    day = fields.String(required=True)


class UsageTitleOut(UsageNumbersOut):
    title_id = PrefixedId("chn", "ttl", required=True)
    title = fields.String(required=True, allow_none=True)


class PlayedItemOut(StrictSchema):
    """The film or episode that was played. Titles that were removed from the catalogue keep their names."""

    id = PrefixedId("chn", "epi", "prg", "ttl", "xtr", required=True)
    title_id = PrefixedId("chn", "ttl", required=True)
    title = fields.String(required=True, allow_none=True)
    season = fields.Integer(required=True, allow_none=True)
    episode = fields.Integer(required=True, allow_none=True)


class PlayProfileOut(StrictSchema):
    id = PrefixedId("pro", required=True)
    name = fields.String(required=True, allow_none=True, metadata={"description": "null: the profile is gone."})


class AccountPlayOut(StrictSchema):
    stream_id = PrefixedId("str", required=True)
    profile = fields.Nested(PlayProfileOut, required=True)
    item = fields.Nested(PlayedItemOut, required=True)
    device = fields.Nested(StreamDeviceOut, required=True)
    plan = fields.String(required=True, allow_none=True)
    country = fields.String(required=True, allow_none=True)
    started_at = Moment(required=True)
    played_at = Moment(
        required=True, allow_none=True, metadata={"description": "When the picture moved; null: playing never began."}
    )
    completed_at = Moment(required=True, allow_none=True)
    ended_at = Moment(required=True, allow_none=True, metadata={"description": "null: it is live."})
    reason = fields.String(required=True, allow_none=True, metadata={"description": "Why it ended."})
    position_s = fields.Integer(required=True)
    watched_s = fields.Integer(required=True)


class UsageGroupOut(UsageNumbersOut):
    sometimes_absent = ("day", "plan", "country", "device_kind", "title_id", "title")
    day = fields.String()
    plan = fields.String(allow_none=True, metadata={"description": "The code of the plan; null: no subscription."})
    country = fields.String(allow_none=True)
    device_kind = OneOf(*DEVICE_KINDS, allow_none=True)
    title_id = PrefixedId("chn", "ttl")
    title = fields.String(allow_none=True)


class UsageOut(StrictSchema):
    sometimes_absent = ("groups",)

    days = fields.List(fields.Nested(UsageDayOut), required=True)
    titles = fields.List(fields.Nested(UsageTitleOut), required=True)
    groups = fields.List(
        fields.Nested(UsageGroupOut),
        metadata={"description": "With `group_by`: the thousand most watched; an export has all."},
    )
    total = fields.Nested(UsageNumbersOut, required=True)
