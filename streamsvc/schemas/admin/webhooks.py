"""Schemas of events, webhook endpoints and deliveries."""

from marshmallow import fields, validate

from streamsvc.schemas.base import Moment, PageQuery, Pattern, StrictSchema, Text


class WebhookEndpointIn(StrictSchema):
    url = Pattern("https?://[^\\s]+", "Must be a URL that starts with https://.", required=True, max_length=2000)
    kinds = fields.List(Text(), load_default=None, allow_none=True, validate=validate.Length(1, 100))


class WebhookEndpointOut(StrictSchema):
    id = fields.String()
    url = fields.String()
    kinds = fields.List(fields.String(), allow_none=True)
    created_at = Moment()
    disabled_at = Moment(allow_none=True)


class NewWebhookEndpointOut(WebhookEndpointOut):
    secret = fields.String(metadata={"description": "The secret that signs deliveries. Returned only once."})


class WebhookDeliveryOut(StrictSchema):
    id = fields.String()
    endpoint_id = fields.String()
    event_id = fields.String()
    status = fields.String()
    attempts = fields.Integer()
    response_status = fields.Integer(allow_none=True)
    error = fields.String(allow_none=True)
    next_at = Moment(allow_none=True)
    delivered_at = Moment(allow_none=True)
    created_at = Moment()


class WebhookDeliveryQuery(PageQuery):
    endpoint_id = Text(load_default=None)


class EventOut(StrictSchema):
    id = fields.String()
    kind = fields.String()
    account_id = fields.String(allow_none=True)
    data = fields.Dict()
    at = Moment()


class EventQuery(PageQuery):
    account_id = Text(load_default=None)
    kind = Text(load_default=None)
