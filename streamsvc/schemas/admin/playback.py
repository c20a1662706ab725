"""Schemas of playback for operators: explanations, streams and usage."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.schemas.base import (
    DEVICE_KINDS,
    Choice,
    Country,
    Day,
    Moment,
    PageQuery,
    PrefixedId,
    StrictSchema,
    Text,
    page_of,
)
from streamsvc.schemas.playback.playback import Id, StreamOut


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
    max_age = fields.Integer(required=True, allow_none=True)
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
    account_id = PrefixedId("acc", required=True)
    country = fields.String(required=True, allow_none=True)


AdminStreamPage = page_of(AdminStreamOut)


class UsageQuery(StrictSchema):
    """A range of days in UTC."""

    since = Day(
        data_key="from", load_default=None, metadata={"description": "The first day. Default: 30 days before `to`."}
    )
    until = Day(
        data_key="to", load_default=None, metadata={"description": "The day after the last one. Default: tomorrow."}
    )

    @validates_schema
    def check_order(self, data: dict, **kwargs: Any) -> None:
        if data.get("since") and data.get("until") and data["since"] >= data["until"]:
            raise ValidationError("to must be after from.", "to")


class UsageNumbersOut(StrictSchema):
    starts = fields.Integer(required=True)
    minutes = fields.Integer(
        required=True, metadata={"description": "Minutes actually played, as reported by heartbeats."}
    )
    profiles = fields.Integer(required=True)
    accounts = fields.Integer(required=True)


class UsageDayOut(UsageNumbersOut):
    day = fields.String(required=True)


class UsageTitleOut(UsageNumbersOut):
    title_id = PrefixedId("ttl", required=True)
    title = fields.String(required=True, allow_none=True)


class UsageOut(StrictSchema):
    days = fields.List(fields.Nested(UsageDayOut), required=True)
    titles = fields.List(fields.Nested(UsageTitleOut), required=True)
    total = fields.Nested(UsageNumbersOut, required=True)
