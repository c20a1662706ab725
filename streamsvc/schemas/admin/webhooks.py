"""Schemas of events, webhook endpoints and deliveries."""

from difflib import get_close_matches
from typing import get_args

from marshmallow import Schema, fields, validate

from streamsvc.rules.jobs import Lane
from streamsvc.rules.stores.state import SUBSCRIPTION_SOURCES
from streamsvc.rules.webhooks import EVENT_KINDS, DeliveryStatus
from streamsvc.schemas.base import Bool, Choice, Day, Moment, OneOf, PageQuery, Pattern, PrefixedId, StrictSchema, Text

DELIVERY_STATUSES = get_args(DeliveryStatus)


class KnownEventKind(validate.OneOf):
    """Accepts the kinds of events; the error suggests the kind that was probably meant."""

    def __init__(self) -> None:
        super().__init__(EVENT_KINDS)

    def _format_error(self, value: object) -> str:
        if close := get_close_matches(str(value)[:100], EVENT_KINDS, n=1):
            return f"Must be a kind of event. Did you mean {close[0]}?"
        return f"Must be one of: {', '.join(EVENT_KINDS)}."


class WebhookEndpointIn(StrictSchema):
    url = Pattern(
        "https?://[^\\s]+",
        "Must be a URL that starts with https://.",
        required=True,
        max_length=2000,
        metadata={"description": "An https:// URL; http:// only with `STREAMSVC_WEBHOOKS_TO_PRIVATE`."},
    )
    kinds = fields.List(
        Text(validators=[KnownEventKind()]),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100),
        metadata={"description": "Default: all but `playback.*`."},
    )


class WebhookEndpointOut(StrictSchema):
    id = PrefixedId("whe")
    url = fields.String()
    kinds = fields.List(fields.String(), allow_none=True)
    created_at = Moment()
    disabled_at = Moment(allow_none=True)


class NewWebhookEndpointOut(WebhookEndpointOut):
    secret = fields.String(metadata={"description": "The secret that signs deliveries. Returned only once."})


class WebhookDeliveryOut(StrictSchema):
    id = PrefixedId("whd")
    endpoint_id = PrefixedId("whe")
    event_id = PrefixedId("evt")
    status = OneOf(*DELIVERY_STATUSES)
    attempts = fields.Integer()
    response_status = fields.Integer(allow_none=True)
    error = fields.String(allow_none=True)
    next_at = Moment(allow_none=True)
    delivered_at = Moment(allow_none=True)
    created_at = Moment()


class WebhookDeliveryQuery(PageQuery):
    endpoint_id = Text(load_default=None)
    status = Choice(*DELIVERY_STATUSES, load_default=None)


class NewWebhookRedelivery(StrictSchema):
    endpoint_id = Text(load_default=None, allow_none=True, metadata={"description": "Only those of this endpoint."})
    dry_run = Bool(load_default=False, metadata={"description": "Only count the deliveries."})


class WebhookRedelivery(StrictSchema):
    deliveries = fields.Integer(
        required=True, metadata={"description": "How many were redelivered, or would be: 200 at most."}
    )
    remaining = fields.Integer(required=True, metadata={"description": "How many more there are. Repeat the request."})
    dry_run = fields.Boolean(required=True)


class EventOut(StrictSchema):
    id = PrefixedId("evt")
    kind = fields.String()
    account_id = PrefixedId("acc", allow_none=True)
    data = fields.Dict()
    at = Moment()


class EventQuery(PageQuery):
    account_id = Text(load_default=None)
    kind = Text(load_default=None, validators=[KnownEventKind()])


class EventData(StrictSchema):
    account_id = fields.String(required=True)


class InvoiceEventData(EventData):
    invoice_id = fields.String(required=True)
    number = fields.String(required=True, allow_none=True)
    subscription_id = fields.String(required=True, allow_none=True)
    currency = fields.String(required=True)
    total_minor = fields.Integer(required=True)
    balance_minor = fields.Integer(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True)


class PaymentEventData(InvoiceEventData):
    payment_id = fields.String(required=True)
    amount_minor = fields.Integer(required=True)
    decline_code = fields.String(required=True, allow_none=True)


class SubscriptionEventData(EventData):
    subscription_id = fields.String(required=True)
    status = fields.String(required=True)
    plan_id = fields.String(required=True)
    source = OneOf(*SUBSCRIPTION_SOURCES, required=True)
    price_id = fields.String(
        required=True, allow_none=True, metadata={"description": "Null if an app store bills the subscription."}
    )
    period_start = Day(required=True, allow_none=True)
    period_end = Day(required=True, allow_none=True)
    trial_end = Day(required=True, allow_none=True)
    cancel_at = Day(required=True, allow_none=True)
    cancel_reason = fields.String(required=True, allow_none=True)


class JobFailedData(StrictSchema):
    account_id = fields.String(required=True, allow_none=True, metadata={"description": "Always null."})
    job_id = fields.String(required=True)
    kind = fields.String(required=True)
    lane = OneOf(*get_args(Lane), required=True)
    attempts = fields.Integer(required=True)


class PayoutEventData(EventData):
    payout_id = fields.String(required=True)
    status = fields.String(required=True)
    currency = fields.String(required=True)
    amount_minor = fields.Integer(required=True)
    paid_minor = fields.Integer(required=True)
    reference = fields.String(required=True, allow_none=True)


class PlaybackEventData(EventData):
    stream_id = fields.String(required=True)
    profile_id = fields.String(required=True)
    device_id = fields.String(required=True)
    item_id = fields.String(required=True)
    title_id = fields.String(required=True)
    plan = fields.String(required=True, allow_none=True)
    country = fields.String(required=True, allow_none=True)
    started_at = Moment(required=True)
    completed_at = Moment(required=True, allow_none=True)
    ended_at = Moment(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True, metadata={"description": "Why it ended."})
    watched_s = fields.Integer(required=True)


def event_schema(name: str, data: type[StrictSchema]) -> type[Schema]:
    """Return the schema of the body of a delivery: an event with this data."""
    members = {
        "type": fields.String(required=True),
        "timestamp": Moment(required=True),
        "data": fields.Nested(data, required=True),
    }
    return StrictSchema.from_dict(members, name=name)


JobFailedEvent = event_schema("JobFailedEvent", JobFailedData)
InvoiceEvent = event_schema("InvoiceEvent", InvoiceEventData)
PaymentEvent = event_schema("PaymentEvent", PaymentEventData)
SubscriptionEvent = event_schema("SubscriptionEvent", SubscriptionEventData)
PlaybackEvent = event_schema("PlaybackEvent", PlaybackEventData)
PayoutEvent = event_schema("PayoutEvent", PayoutEventData)
