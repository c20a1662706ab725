"""Request and response bodies of operators' billing endpoints."""

import re
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.schemas.base import (
    Bool,
    Choice,
    Country,
    Currency,
    Day,
    Int,
    Moment,
    OneOf,
    PageQuery,
    PrefixedId,
    QueryBool,
    QueryInt,
    Slug,
    StrictSchema,
    Text,
)
from streamsvc.schemas.names import Message, Name
from streamsvc.schemas.subscriptions.gifts import check_kind_of_gift
from streamsvc.schemas.subscriptions.invoices import CreditBalanceOut
from streamsvc.schemas.subscriptions.subscriptions import (
    MAX_AMOUNT_MINOR,
    CancellationIn,
    Money,
    PlanOut,
    PriceOut,
    SubscriptionIn,
    SubscriptionOut,
)

PPM_PER_PERCENT = 10_000


class RetiredPriceOut(PriceOut):
    retired_at = Moment(required=True)


class PlanAdminOut(PlanOut):
    retired_prices = fields.List(
        fields.Nested(RetiredPriceOut),
        required=True,
        metadata={"description": "Prices that are no longer sold, oldest first; those who have one keep it."},
    )


class Percent(fields.Field):
    """A percentage from 0 to 100 with at most four decimals; loaded as parts per million."""

    PATTERN = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> float | None:
        return None if value is None else value / PPM_PER_PERCENT

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValidationError("Must be a number.")
        percent = Decimal(text) if self.PATTERN.fullmatch(text := str(value)) else -1
        if not 0 <= percent <= 100:
            raise ValidationError("Must be a percentage from 0 to 100 with at most four decimals.")
        return int(percent * PPM_PER_PERCENT)


class PercentIn(Percent):
    """A percentage in a request: a number, or its decimal digits as text."""


class CouponIn(StrictSchema):
    percent_off = PercentIn(attribute="percent_ppm", load_default=None, allow_none=True)
    amount_off_minor = Money(minimum=1, load_default=None, allow_none=True)
    currency = Currency(load_default=None, allow_none=True)
    duration = Choice("once", "repeating", "forever", required=True)
    periods = Int(minimum=1, maximum=1000, load_default=None, allow_none=True)
    plans = fields.List(
        Slug(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100),
        metadata={"description": "Codes of the plans to whose lines it applies; default: all.", "uniqueItems": True},
    )
    audience = Choice("anyone", "new", "returning", load_default="anyone")
    combines = Bool(load_default=True, metadata={"description": "Whether it can be combined with other coupons."})
    max_per_account = Int(minimum=1, maximum=1000, load_default=None, allow_none=True)
    max_redemptions = Int(minimum=1, maximum=2**31 - 1, load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)

    @validates_schema
    def check_discount(self, data: dict, **kwargs: Any) -> None:
        if (data.get("percent_ppm") is None) == (data.get("amount_off_minor") is None):
            raise ValidationError("Set either percent_off or amount_off_minor.", "percent_off")
        if data.get("percent_ppm") == 0:
            raise ValidationError("percent_off must be greater than 0.", "percent_off")
        if (data.get("amount_off_minor") is None) != (data.get("currency") is None):
            raise ValidationError("amount_off_minor and currency must be set together.", "currency")
        if (data["duration"] == "repeating") != (data.get("periods") is not None):
            raise ValidationError("periods is required for duration repeating, and not allowed otherwise.", "periods")

    @post_load
    def sort_plans(self, data: dict, **kwargs: Any) -> dict:
        return {**data, "plans": data["plans"] and sorted(set(data["plans"]))}


class CouponAdminOut(StrictSchema):
    id = PrefixedId("cou")
    code = fields.String()
    percent_off = Percent(attribute="percent_ppm", allow_none=True)
    amount_off_minor = fields.Integer(allow_none=True)
    currency = fields.String(allow_none=True)
    duration = OneOf("once", "repeating", "forever")
    periods = fields.Integer(allow_none=True)
    plans = fields.List(fields.String(), allow_none=True)
    audience = OneOf("anyone", "new", "returning")
    combines = fields.Boolean()
    max_per_account = fields.Integer(allow_none=True)
    max_redemptions = fields.Integer(allow_none=True)
    redeemed = fields.Integer()
    expires_at = Moment(allow_none=True)


class GiftCodesIn(StrictSchema):
    """Either `currency` and `amount_minor`, or `price_id` and `periods`."""

    currency = Currency(load_default=None, allow_none=True)
    amount_minor = Money(minimum=1, load_default=None, allow_none=True)
    price_id = Text(load_default=None, allow_none=True)
    periods = Int(minimum=1, maximum=36, load_default=None, allow_none=True)
    quantity = Int(minimum=1, maximum=1000, load_default=1)
    code = Text(max_length=64, min_length=4, load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)

    @validates_schema
    def check_gift(self, data: dict, **kwargs: Any) -> None:
        check_kind_of_gift(data)

    @validates_schema
    def check_quantity(self, data: dict, **kwargs: Any) -> None:
        if data.get("code") and data["quantity"] != 1:
            raise ValidationError("A custom code can only be issued once; set quantity to 1.", "quantity")


class TaxCategory(Slug):
    """The code of a tax category; that of most plans is `standard`."""

    def __init__(self, **kwargs: Any):
        super().__init__(load_default=STANDARD_CATEGORY, **kwargs)


class TaxRateIn(StrictSchema):
    percent = PercentIn(required=True)
    name = Name(required=True)
    category = TaxCategory(metadata={"description": "The tax category of the plans that have this rate."})


class TaxRateOut(StrictSchema):
    country = fields.String()
    category = fields.String()
    percent = Percent(attribute="rate_ppm")
    name = fields.String()


class GiftCodeState(StrictSchema):
    """A gift code without the code itself, which is worth money."""

    id = PrefixedId("gif", required=True)
    currency = fields.String(required=True)
    amount_minor = fields.Integer(required=True)
    price_id = PrefixedId("pri", required=True, allow_none=True)
    periods = fields.Integer(required=True, allow_none=True)
    expires_at = Moment(required=True, allow_none=True)
    created_at = Moment(required=True)
    redeemed_at = Moment(required=True, allow_none=True)
    redeemed_by = PrefixedId("acc", required=True, allow_none=True)
    revoked_at = Moment(required=True, allow_none=True)


class DisputedPayment(StrictSchema):
    """A payment that the customer's bank takes back, or took back for a while."""

    id = PrefixedId("pay", required=True)
    account_id = PrefixedId("acc", required=True)
    invoice_id = PrefixedId("inv", required=True)
    status = fields.String(required=True)
    currency = fields.String(required=True)
    amount_minor = fields.Integer(required=True)
    disputed_minor = fields.Integer(required=True)
    created_at = Moment(required=True)


class CreditIn(StrictSchema):
    amount_minor = Money(minimum=-MAX_AMOUNT_MINOR, required=True)
    currency = Currency(required=True)
    reason = Message(load_default=None, allow_none=True)


class CreditOut(StrictSchema):
    balances = fields.List(fields.Nested(CreditBalanceOut))


class AdminSubscriptionIn(SubscriptionIn):
    account_id = Text(required=True)
    paid_through = Day(
        load_default=None,
        allow_none=True,
        metadata={"description": "The customer has paid elsewhere up to this day: nothing is charged before it."},
    )

    @validates_schema
    def check_paid_through(self, data: dict, **kwargs: Any) -> None:
        if data.get("paid_through") and data.get("start_date") and data["paid_through"] <= data["start_date"]:
            raise ValidationError("Must be after start_date.", "paid_through")


class SubscriptionsQuery(PageQuery):
    """`parked`: true lists only subscriptions on billing hold, false only the others."""

    parked = QueryBool(load_default=None)
    account_id = Text(load_default=None)


class AdminSubscriptionOut(SubscriptionOut):
    account_id = PrefixedId("acc")
    parked_at = Moment(
        attribute="billing_held_at",
        allow_none=True,
        metadata={"description": "Start of the billing hold; null if there is none."},
    )
    parked_reason = fields.String(
        attribute="billing_hold_reason",
        allow_none=True,
        metadata={"description": "The first check that did not reconcile."},
    )


class AdminCancellationIn(CancellationIn):
    """A viewer's cancellation; `effective_date` may also be in the past: the days since then are credited."""


class CreditNoteLineIn(StrictSchema):
    line_id = Text(required=True)
    amount_minor = Money(minimum=1, required=True)


class CreditNoteIn(StrictSchema):
    """Lines with their net amounts, or an amount of the whole invoice including tax; default: all that is left."""

    lines = fields.List(
        fields.Nested(CreditNoteLineIn), load_default=None, allow_none=True, validate=validate.Length(1)
    )
    amount_minor = Money(minimum=1, load_default=None, allow_none=True)
    refund = Bool(load_default=False)
    reason = Message(load_default=None, allow_none=True)

    @validates_schema
    def check_amount(self, data: dict, **kwargs: Any) -> None:
        if data.get("lines") and data.get("amount_minor"):
            raise ValidationError("Set either lines or amount_minor.", "amount_minor")


class OneOffIn(StrictSchema):
    """`tax`: whether the amount includes the tax of the account's country or the tax is added."""

    account_id = Text(required=True)
    amount_minor = Money(minimum=1, required=True)
    currency = Currency(required=True)
    description = Text(required=True, max_length=200)
    tax = Choice("inclusive", "exclusive", load_default="inclusive")
    tax_category = TaxCategory()


class DraftLineIn(StrictSchema):
    """In the invoice's currency. `tax`: whether the amount includes the tax or the tax is added."""

    amount_minor = Money(minimum=1, required=True)
    description = Text(required=True, max_length=200)
    tax = Choice("inclusive", "exclusive", load_default="inclusive")
    tax_category = TaxCategory()


class InvoicesQuery(PageQuery):
    """`status=draft` lists drafts, `account_id` the invoices of one account; default: all invoices."""

    status = Choice("draft", load_default=None)
    account_id = Text(load_default=None)


class RecordedPaymentIn(StrictSchema):
    """Money that came in outside the payment provider."""

    amount_minor = Money(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "At most what is owed; default: all of it."},
    )
    reference = Text(
        load_default=None, allow_none=True, metadata={"description": "Such as the reference of the bank transfer."}
    )


class RefundIn(StrictSchema):
    """With `credit_note` false, the money is returned and the invoice is owed again."""

    amount_minor = Money(minimum=1, load_default=None, allow_none=True)
    payment_id = Text(load_default=None, allow_none=True)
    credit_note = Bool(load_default=True)
    reason = Message(load_default=None, allow_none=True)


class RefundOut(StrictSchema):
    id = PrefixedId("ref")
    payment_id = PrefixedId("pay")
    invoice_id = PrefixedId("inv")
    credit_note_id = PrefixedId("crn", allow_none=True)
    status = OneOf("pending", "unknown", "succeeded", "failed")
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


class PriceMigrationCounts(StrictSchema):
    """How many subscriptions the migration concerns: still to be moved, by what has the old price, and the others."""

    base = fields.Integer(metadata={"description": "To be moved: the base plan has the old price."})
    planned = fields.Integer(
        metadata={"description": "To be moved: a scheduled change or another migration leads to the old price."}
    )
    addon = fields.Integer(metadata={"description": "To be moved: an add-on has the old price."})
    applied = fields.Integer(metadata={"description": "Moved by this migration."})
    declined = fields.Integer(metadata={"description": "Declined by the customer."})
    skipped = fields.Integer(
        metadata={"description": "Left the old price otherwise: by a change, a later migration, or their end."}
    )
    withdrawn = fields.Integer(metadata={"description": "Not moved, because the migration was withdrawn."})
    unprocessed = fields.Integer(metadata={"description": "Concerned, and about to be scheduled by the worker."})


class PriceMigrationOut(PriceMigrationIn):
    """`effective` is the date after the days of notice."""

    id = PrefixedId("mig")
    created_at = Moment()
    completed_at = Moment(
        allow_none=True,
        metadata={"description": "When all subscriptions were scheduled that had or planned the old price."},
    )
    withdrawn_at = Moment(allow_none=True)
    counts = fields.Nested(PriceMigrationCounts)


class PriceMigrationCreatedOut(PriceMigrationOut):
    """`subscriptions`: the number of subscriptions that have the old price, or come to it."""

    subscriptions = fields.Integer()


class PriceMigrationPreviewQuery(StrictSchema):
    """The terms of the migration."""

    from_price_id = Text(required=True)
    to_price_id = Text(required=True)
    effective = Day(required=True)
    notice_days = QueryInt(minimum=0, maximum=365, load_default=0)
    started_before = Day(load_default=None)
    country = Country(load_default=None)


class PriceMigrationPreviewOut(StrictSchema):
    """What a migration would do if it were posted now; amounts are before coupons and with the tax in the price."""

    effective = Day(metadata={"description": "The date after the days of notice."})
    subscriptions = fields.Integer(metadata={"description": "The sum of `base`, `planned` and `addon`."})
    base = fields.Integer(metadata={"description": "Those whose base plan has the old price."})
    planned = fields.Integer(metadata={"description": "Those with a scheduled change or a migration to the old price."})
    addon = fields.Integer(metadata={"description": "Those with an add-on at the old price."})
    currency = fields.String()
    renewal_change_minor = fields.Integer(
        metadata={"description": "The change of what they are charged at one renewal each."}
    )
    mrr_change_minor = fields.Integer(metadata={"description": "The same per month of average length."})


class TransferIn(StrictSchema):
    account_id = Text(required=True)


class ReferralRewardIn(StrictSchema):
    referrer_minor = Money(required=True)
    newcomer_minor = Money(required=True)


class ReferralRewardOut(ReferralRewardIn):
    currency = fields.String()
