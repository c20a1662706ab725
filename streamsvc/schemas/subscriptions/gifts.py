"""Request and response bodies of gifts that viewers buy."""

import re
import unicodedata
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.schemas.base import Currency, Day, Email, Int, Moment, OneOf, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Name
from streamsvc.schemas.subscriptions.subscriptions import Money

DOTS = str.maketrans(dict.fromkeys("܁܂꘎ꓸ𐩐", "."))
"""What looks like a dot (UTS 39) and stays itself under NFKC."""
LINK = re.compile(r"://|\bwww[.。]|[^\W_]\.[^\W\d_]{2}|[a-z0-9]。[a-z]{2}", re.IGNORECASE)
"""An address with or without its scheme. Mail programs make links of words like `bit.ly`, and browsers read `。` as a
dot; between ideographs it ends a sentence."""


class MailedText(Name):
    """Words of a viewer in a mail to somebody else: one line without links, under the rules of a name."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if LINK.search(unicodedata.normalize("NFKC", text).translate(DOTS)):
            raise ValidationError("Must not contain a link or a web address. Put a space after the end of a sentence.")
        return text


class GiftDeliveryIn(StrictSchema):
    """How a gift is delivered; without `recipient_email`, the mail with the code goes to the buyer."""

    recipient_email = Email(allow_none=True)
    recipient_name = MailedText(allow_none=True, max_length=100)
    sender_name = MailedText(allow_none=True, max_length=100)
    message = MailedText(allow_none=True, max_length=500)
    deliver_on = Day(
        allow_none=True,
        metadata={"description": "A day in the buyer's time zone, within a year. Default: today."},
    )


class GiftPurchaseIn(StrictSchema):
    """Either `price_id` and `periods`, or `currency` and `amount_minor` of gift credit."""

    price_id = Text(load_default=None, allow_none=True)
    periods = Int(minimum=1, maximum=36, load_default=None, allow_none=True)
    currency = Currency(load_default=None, allow_none=True)
    amount_minor = Money(minimum=1, load_default=None, allow_none=True)
    payment_method_id = Text(load_default=None, allow_none=True)
    recipient_email = Email(load_default=None, allow_none=True)
    recipient_name = MailedText(load_default=None, allow_none=True, max_length=100)
    sender_name = MailedText(load_default=None, allow_none=True, max_length=100)
    message = MailedText(load_default=None, allow_none=True, max_length=500)
    deliver_on = Day(
        load_default=None,
        allow_none=True,
        metadata={"description": "A day in the buyer's time zone, within a year. Default: today."},
    )

    @validates_schema
    def check_gift(self, data: dict, **kwargs: Any) -> None:
        check_kind_of_gift(data)


def check_kind_of_gift(data: dict) -> None:
    """Raise ValidationError unless the data have either a price and its periods, or an amount and its currency."""
    given, other = ("price_id", "periods"), ("currency", "amount_minor")
    if not any(data.get(name) for name in given):
        given, other = other, given
    errors = {name: ["Missing data for required field."] for name in given if not data.get(name)}
    errors |= {name: ["Must be absent from a gift of another kind."] for name in other if data.get(name)}
    if errors:
        raise ValidationError(errors)


class GiftPurchaseOut(StrictSchema):
    """`code` is null until the gift is paid for; `amount_minor` is what the gift is worth as credit."""

    id = PrefixedId("gpu")
    state = OneOf(
        "awaiting_payment",
        "canceled",
        "scheduled",
        "delivered",
        "redeemed",
        "refunded",
        "revoked",
        "expired",
        metadata={
            "description": "`canceled`: the payment was declined or abandoned; `revoked`: the payment was disputed."
        },
    )
    invoice_id = PrefixedId("inv")
    code = fields.String(allow_none=True)
    currency = fields.String()
    amount_minor = fields.Integer()
    price_id = PrefixedId("pri", allow_none=True)
    periods = fields.Integer(allow_none=True)
    recipient_email = fields.String(allow_none=True)
    recipient_name = fields.String(allow_none=True)
    sender_name = fields.String(allow_none=True)
    message = fields.String(allow_none=True)
    deliver_on = Day()
    deliveries = fields.Integer(metadata={"description": "How many mails with the code were sent; at most three."})
    delivered_at = Moment(allow_none=True)
    redeemed_at = Moment(allow_none=True)
    expires_at = Moment(allow_none=True)
    created_at = Moment()
