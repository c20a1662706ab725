"""One line of a subscriber import file."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.schemas.base import (
    Bool,
    Choice,
    Country,
    Currency,
    Day,
    Email,
    Int,
    Language,
    Slug,
    StrictSchema,
    Text,
    TimeZone,
)
from streamsvc.schemas.names import Name
from streamsvc.schemas.subscriptions.subscriptions import Money


class SubscriberPriceIn(StrictSchema):
    plan = Slug(required=True)
    currency = Currency(required=True)
    amount_minor = Money(required=True)
    interval = Choice("day", "week", "month", "year", load_default="month")
    interval_count = Int(minimum=1, maximum=366, load_default=1)


class StoredMethodIn(StrictSchema):
    """A payment method that the provider already stores; card numbers are never sent here."""

    reference = Text(required=True)
    kind = Text(load_default="card", max_length=40)
    brand = Text(load_default=None, allow_none=True, max_length=40)
    last4 = Text(load_default=None, allow_none=True, max_length=4)
    exp_month = Int(minimum=1, maximum=12, load_default=None, allow_none=True)
    exp_year = Int(minimum=2000, maximum=2200, load_default=None, allow_none=True)
    fingerprint = Text(load_default=None, allow_none=True)


class SubscriberRowIn(StrictSchema):
    external_id = Text(required=True)
    email = Email(required=True)
    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    name = Name(load_default=None, allow_none=True)
    price_id = Text(load_default=None, allow_none=True)
    price = fields.Nested(SubscriberPriceIn, load_default=None, allow_none=True)
    started_on = Day(required=True)
    paid_through = Day(required=True)
    anchor_day = Int(minimum=1, maximum=31, load_default=None, allow_none=True)
    anchor_month = Int(minimum=1, maximum=12, load_default=None, allow_none=True)
    payment_method = fields.Nested(StoredMethodIn, load_default=None, allow_none=True)
    credit_minor = Money(load_default=0)
    cancel_at_period_end = Bool(load_default=False)

    @validates_schema
    def check_price_and_dates(self, data: dict, **kwargs: Any) -> None:
        if (data.get("price_id") is None) == (data.get("price") is None):
            raise ValidationError("Set either price_id or price.", "price")
        if data["started_on"] >= data["paid_through"]:
            raise ValidationError("Must be after started_on.", "paid_through")
