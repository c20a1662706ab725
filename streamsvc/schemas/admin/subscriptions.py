"""What operators send about money."""

import re
from decimal import Decimal

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from streamsvc.schemas.base import (
    Bool,
    Choice,
    Country,
    Currency,
    Day,
    Int,
    Moment,
    PageQuery,
    QueryBool,
    Slug,
    StrictSchema,
    Text,
)
from streamsvc.schemas.subscriptions.invoices import CreditBalanceOut
from streamsvc.schemas.subscriptions.subscriptions import CancellationIn, Money, SubscriptionIn, SubscriptionOut

PPM_PER_PERCENT = 10_000


class Percent(fields.Field):
    """A percentage from 0 to 100 with at most four digits after the point; inside, parts per million."""

    PATTERN = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")

    def _serialize(self, value, attr, obj, **kwargs):
        return None if value is None else value / PPM_PER_PERCENT

    def _deserialize(self, value, attr, data, **kwargs):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValidationError("Give a number.")
        percent = Decimal(text) if self.PATTERN.fullmatch(text := str(value)) else -1
        if not 0 <= percent <= 100:
            raise ValidationError("Give a percentage from 0 to 100 with at most four digits after the point.")
        return int(percent * PPM_PER_PERCENT)


class CouponIn(StrictSchema):
    percent_off = Percent(load_default=None, allow_none=True)
    amount_off_minor = Money(least=1, load_default=None, allow_none=True)
    currency = Currency(load_default=None, allow_none=True)
    duration = Choice("once", "repeating", "forever", required=True)
    periods = Int(minimum=1, maximum=1000, load_default=None, allow_none=True)
    plans = fields.List(
        Slug(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100),
        metadata={"description": "The plans, by code, whose lines it is taken off; without: all.", "uniqueItems": True},
    )
    audience = Choice("anyone", "new", "returning", load_default="anyone")
    combines = Bool(load_default=True, metadata={"description": "Whether it may run beside other coupons."})
    max_per_account = Int(minimum=1, maximum=1000, load_default=None, allow_none=True)
    max_redemptions = Int(minimum=1, maximum=2**31 - 1, load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)

    @validates_schema
    def check_discount(self, data, **kwargs):
        if (data.get("percent_off") is None) == (data.get("amount_off_minor") is None):
            raise ValidationError("Give percent_off or amount_off_minor.", "percent_off")
        if data.get("percent_off") == 0:
            raise ValidationError("Take off more than nothing.", "percent_off")
        if (data.get("amount_off_minor") is None) != (data.get("currency") is None):
            raise ValidationError("An amount and its currency go together.", "currency")
        if (data["duration"] == "repeating") != (data.get("periods") is not None):
            raise ValidationError("A repeating coupon has a number of periods, another has none.", "periods")

    @post_load
    def add_percent_ppm(self, data, **kwargs):
        return {**data, "percent_ppm": data["percent_off"], "plans": data["plans"] and sorted(set(data["plans"]))}


class CouponAdminOut(StrictSchema):
    id = fields.String()
    code = fields.String()
    percent_off = Percent(attribute="percent_ppm", allow_none=True)
    amount_off_minor = fields.Integer(allow_none=True)
    currency = fields.String(allow_none=True)
    duration = fields.String()
    periods = fields.Integer(allow_none=True)
    plans = fields.List(fields.String(), allow_none=True)
    audience = fields.String()
    combines = fields.Boolean()
    max_per_account = fields.Integer(allow_none=True)
    max_redemptions = fields.Integer(allow_none=True)
    redeemed = fields.Integer()
    expires_at = Moment(allow_none=True)


class GiftCodesIn(StrictSchema):
    currency = Currency(required=True)
    amount_minor = Money(least=1, required=True)
    quantity = Int(minimum=1, maximum=1000, load_default=1)
    code = Text(max_length=64, min_length=4, load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)

    @validates_schema
    def check_quantity(self, data, **kwargs):
        if data.get("code") and data["quantity"] != 1:
            raise ValidationError("A code of your own is one gift.", "quantity")


class TaxRateIn(StrictSchema):
    percent = Percent(required=True)
    name = Text(required=True)


class TaxRateOut(StrictSchema):
    country = fields.String()
    percent = Percent(attribute="rate_ppm")
    name = fields.String()


class CreditIn(StrictSchema):
    amount_minor = Int(minimum=-(10**12), maximum=10**12, required=True)
    currency = Currency(required=True)
    reason = Text(load_default=None, allow_none=True)


class CreditOut(StrictSchema):
    balances = fields.List(fields.Nested(CreditBalanceOut))


class AdminSubscriptionIn(SubscriptionIn):
    account_id = Text(required=True)
    paid_through = Day(
        load_default=None,
        allow_none=True,
        metadata={"description": "Already paid elsewhere until that day: nothing is charged before."},
    )

    @validates_schema
    def check_paid_through(self, data, **kwargs):
        if data.get("paid_through") and data.get("start_date") and data["paid_through"] <= data["start_date"]:
            raise ValidationError("It must come after start_date.", "paid_through")


class SubscriptionsQuery(PageQuery):
    """`parked`: only those that are not billed on since their books do not agree, or only the others."""

    parked = QueryBool(load_default=None)
    account_id = Text(load_default=None)


class AdminSubscriptionOut(SubscriptionOut):
    account_id = fields.String()
    parked_at = Moment(
        allow_none=True, metadata={"description": "Since when it is not billed on: its books do not agree."}
    )
    parked_reason = fields.String(allow_none=True, metadata={"description": "The first thing that did not agree."})


class AdminCancellationIn(CancellationIn):
    """As a viewer's, and `effective_date` may lie in the past: days since then are credited."""


class CreditNoteLineIn(StrictSchema):
    line_id = Text(required=True)
    amount_minor = Money(least=1, required=True)


class CreditNoteIn(StrictSchema):
    """Lines with their net amounts, or an amount of the whole invoice, tax included; neither: all that is left."""

    lines = fields.List(
        fields.Nested(CreditNoteLineIn), load_default=None, allow_none=True, validate=validate.Length(1)
    )
    amount_minor = Money(least=1, load_default=None, allow_none=True)
    refund = Bool(load_default=False)
    reason = Text(load_default=None, allow_none=True)

    @validates_schema
    def check_amount(self, data, **kwargs):
        if data.get("lines") and data.get("amount_minor"):
            raise ValidationError("Give lines or amount_minor.", "amount_minor")


class OneOffIn(StrictSchema):
    """`tax`: whether the amount holds the tax of the account's country, or it comes on top."""

    account_id = Text(required=True)
    amount_minor = Money(least=1, required=True)
    currency = Currency(required=True)
    description = Text(required=True, max_length=200)
    tax = Choice("inclusive", "exclusive", load_default="inclusive")


class DraftLineIn(StrictSchema):
    """In the invoice's currency. `tax`: whether the amount holds the tax of the country, or it comes on top."""

    amount_minor = Money(least=1, required=True)
    description = Text(required=True, max_length=200)
    tax = Choice("inclusive", "exclusive", load_default="inclusive")


class InvoicesQuery(PageQuery):
    """`status=draft`: what may still be looked at; else everything, or what one account was asked for."""

    status = Choice("draft", load_default=None)
    account_id = Text(load_default=None)


class RefundIn(StrictSchema):
    """`credit_note` false: the money goes back and the invoice is owed again."""

    amount_minor = Money(least=1, load_default=None, allow_none=True)
    payment_id = Text(load_default=None, allow_none=True)
    credit_note = Bool(load_default=True)
    reason = Text(load_default=None, allow_none=True)


class RefundOut(StrictSchema):
    id = fields.String()
    payment_id = fields.String()
    invoice_id = fields.String()
    credit_note_id = fields.String(allow_none=True)
    status = fields.String()
    currency = fields.String()
    amount_minor = fields.Integer()
    reason = fields.String(allow_none=True)
    created_at = Moment()
    settled_at = Moment(allow_none=True)


class PriceMigrationIn(StrictSchema):
    from_price_id = Text(required=True)
    to_price_id = Text(required=True)
    effective = Day(required=True)
    notice_days = Int(minimum=0, maximum=365, load_default=0)
    started_before = Day(load_default=None, allow_none=True)
    country = Country(load_default=None, allow_none=True)
    can_decline = Bool(load_default=False, metadata={"description": "Whether customers may keep the old price."})


class PriceMigrationOut(PriceMigrationIn):
    """`effective` after the days of notice."""

    id = fields.String()
    created_at = Moment()
    withdrawn_at = Moment(allow_none=True)


class PriceMigrationCreatedOut(PriceMigrationOut):
    """`subscriptions`: how many had the old price."""

    subscriptions = fields.Integer()


class TransferIn(StrictSchema):
    account_id = Text(required=True)


class ReferralRewardIn(StrictSchema):
    referrer_minor = Money(required=True)
    newcomer_minor = Money(required=True)


class ReferralRewardOut(ReferralRewardIn):
    currency = fields.String()
