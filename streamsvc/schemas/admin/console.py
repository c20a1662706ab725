"""Schemas of what the operators' console reads: the overview, timelines, settings."""

from marshmallow import fields

from streamsvc.rules.inputs import TIMELINE_KINDS
from streamsvc.schemas.base import Choice, Day, Moment, OneOf, PageQuery, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Message
from streamsvc.schemas.subscriptions.invoices import PreviewIn


class TimelineQuery(PageQuery):
    kind = Choice(*TIMELINE_KINDS, load_default=None)


class TimelineEntry(StrictSchema):
    """Something that happened to an account."""

    kind = OneOf(*TIMELINE_KINDS, required=True)
    id = fields.String(required=True)
    at = Moment(required=True)
    what = fields.String(required=True, metadata={"description": "Such as `account_disabled` or `invoice.paid`."})
    actor = fields.String(
        required=True, allow_none=True, metadata={"description": "Of an audit event: account, operator or API key."}
    )
    details = fields.Dict(
        required=True,
        metadata={"description": "Of an audit event only for admins and auditors: `old` and `new` members, and more."},
    )


class DayCount(StrictSchema):
    day = Day(required=True)
    count = fields.Integer(required=True)


class SignUpCounts(StrictSchema):
    """Of the last 30 days; `is_complete` is false if there were more than could be counted."""

    days = fields.List(fields.Nested(DayCount), required=True)
    total = fields.Integer(required=True)
    is_complete = fields.Boolean(required=True)


class PaymentCounts(SignUpCounts):
    """Payments of the last 30 days. `days` counts those that failed."""

    failed = fields.Integer(required=True)


class LaneState(StrictSchema):
    lane = fields.String(required=True)
    due = fields.Integer(required=True)
    oldest = Moment(required=True)
    is_late = fields.Boolean(required=True, metadata={"description": "Due for more than five minutes."})


class JobCounts(StrictSchema):
    lanes = fields.List(fields.Nested(LaneState), required=True)
    failed = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class WebhookCounts(StrictSchema):
    endpoints = fields.Integer(required=True)
    disabled = fields.Integer(required=True)
    given_up = fields.Integer(required=True)


class Overview(StrictSchema):
    """The figures of the day. A part is null if the operator lacks its scope."""

    at = Moment(required=True)
    subscriptions = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        allow_none=True,
        metadata={"description": "By status, whoever bills them; without test purchases in app stores."},
    )
    subscriptions_by_source = fields.Dict(
        keys=fields.String(),
        values=fields.Dict(keys=fields.String(), values=fields.Integer()),
        required=True,
        allow_none=True,
        metadata={"description": "The same by source and status: `sandbox`, `stripe`, `app_store`, …"},
    )
    payments = fields.Nested(PaymentCounts, required=True, allow_none=True)
    sign_ups = fields.Nested(SignUpCounts, required=True, allow_none=True)
    live_streams = fields.Integer(required=True, allow_none=True)
    jobs = fields.Nested(JobCounts, required=True, allow_none=True)
    webhooks = fields.Nested(WebhookCounts, required=True, allow_none=True)


class SettingOut(StrictSchema):
    name = fields.String(required=True)
    value = fields.String(required=True, metadata={"description": "A secret is masked."})
    description = fields.String(required=True)


class SettingsOut(StrictSchema):
    items = fields.List(fields.Nested(SettingOut), required=True)


class AdminPreviewIn(PreviewIn):
    """What the account's owner would send, and for whom."""

    account_id = Text(max_length=64, required=True)


class HoldIn(StrictSchema):
    reason = Message(max_length=300, required=True)


class AdminTitleQuery(PageQuery):
    q = Text(
        max_length=200,
        load_default=None,
        metadata={"description": "Part of a name, without regard to case and accents; or an id or external id."},
    )


class AdminTitleItem(StrictSchema):
    """A title in the operators' list."""

    id = PrefixedId("ttl", required=True)
    external_id = fields.String(required=True)
    kind = fields.String(required=True)
    title = fields.String(required=True)
    year = fields.Integer(required=True, allow_none=True)
    has_artwork = fields.Boolean(required=True)
    windowed = fields.Boolean(required=True, metadata={"description": "Available in some countries or times only."})
    plan_limited = fields.Boolean(required=True)
    added_at = Moment(required=True)
    updated_at = Moment(required=True)
