"""Request and response bodies of invoices, payments and account credit."""

from marshmallow import fields

from streamsvc.schemas.base import (
    Choice,
    Counted,
    Day,
    Int,
    Moment,
    MomentOrDay,
    OneOf,
    PrefixedId,
    StrictSchema,
    Text,
    page_of,
)
from streamsvc.schemas.names import Message, Name
from streamsvc.schemas.subscriptions.subscriptions import AddonIn, AnchorMonth, Money, PeriodOut, Quantity


class LineOut(StrictSchema):
    sometimes_absent = (
        *("id", "price_id", "period", "net_minor", "tax_percent", "days", "full_days", "cause", "tax_category"),
    )
    id = PrefixedId("lin")
    kind = OneOf("charge", "credit", "trial", "discount", "one_off")
    description = fields.String()
    price_id = PrefixedId("pri", allow_none=True)
    period = fields.Nested(PeriodOut, allow_none=True)
    quantity = fields.Integer()
    amount_minor = fields.Integer()
    discount_minor = fields.Integer()
    tax_minor = fields.Integer()
    tax_category = fields.String(
        allow_none=True, metadata={"description": "The category whose rate applies: of the plan, or `standard`."}
    )
    net_minor = fields.Integer(metadata={"description": "The amount less its discount, without tax."})
    tax_percent = fields.Float()
    days = fields.Integer(allow_none=True)
    full_days = fields.Integer(allow_none=True)
    cause = fields.String(
        allow_none=True,
        metadata={
            "description": "`renewal`, or the event that made the line due: `e3` is the third event after the start."
        },
    )


class TaxOut(StrictSchema):
    """The sums of one tax rate on an invoice: the net amount without the tax, and the tax."""

    category = fields.String()
    name = fields.String(allow_none=True)
    percent = fields.Float()
    net_minor = fields.Integer()
    tax_minor = fields.Integer()


class PaymentOut(StrictSchema):
    id = PrefixedId("pay")
    invoice_id = PrefixedId("inv")
    payment_method_id = PrefixedId(
        "pme",
        allow_none=True,
        metadata={"description": "Null for a payment that an operator recorded, such as a bank transfer."},
    )
    status = OneOf("pending", "unknown", "requires_action", "succeeded", "failed", "disputed")
    currency = fields.String()
    amount_minor = fields.Integer()
    requested_minor = fields.Integer(
        allow_none=True, metadata={"description": "The amount asked for, if the provider captured only a part of it."}
    )
    reference = fields.String(allow_none=True, metadata={"description": "The operator's note on a recorded payment."})
    refunded_minor = fields.Integer()
    disputed_minor = fields.Integer(metadata={"description": "The part of the payment that is disputed."})
    decline_code = fields.String(allow_none=True)
    next_action = fields.Dict(allow_none=True)
    created_at = Moment()
    settled_at = Moment(allow_none=True)


class CreditNoteLineOut(StrictSchema):
    line_id = PrefixedId("lin")
    net_minor = fields.Integer()
    tax_minor = fields.Integer()


class CreditNoteOut(StrictSchema):
    id = PrefixedId("crn")
    number = fields.String()
    invoice_id = PrefixedId("inv")
    currency = fields.String()
    reason = fields.String(allow_none=True)
    net_minor = fields.Integer()
    tax_minor = fields.Integer()
    total_minor = fields.Integer()
    lines = fields.List(fields.Nested(CreditNoteLineOut))
    issued_at = Moment()


class SellerOut(StrictSchema):
    """The seller as it was when the invoice was issued; `code` is null for the seller of the settings."""

    code = fields.String(allow_none=True)
    name = fields.String()
    street = fields.String(allow_none=True)
    postal_code = fields.String(allow_none=True)
    city = fields.String(allow_none=True)
    country = fields.String(allow_none=True)
    vat_id = fields.String(allow_none=True)
    tax_number = fields.String(allow_none=True)
    registration = fields.String(allow_none=True)
    email = fields.String(allow_none=True)
    phone = fields.String(allow_none=True)
    tax_exemption = fields.String(allow_none=True)


class InvoiceCustomerOut(StrictSchema):
    """The customer as it was when the invoice was issued. `locale` is the language of its documents."""

    name = fields.String(allow_none=True)
    email = fields.String(allow_none=True)
    street = fields.String(allow_none=True)
    postal_code = fields.String(allow_none=True)
    city = fields.String(allow_none=True)
    region = fields.String(allow_none=True)
    country = fields.String(allow_none=True)
    locale = fields.String(allow_none=True)
    vat_id = fields.String(allow_none=True)


class TaxGroupOut(StrictSchema):
    """The lines of one rate, added up. `category` is that of EN 16931: S, Z, E, O, or AE for reverse charge."""

    category = OneOf("S", "Z", "E", "O", "AE")
    percent = fields.Float()
    net_minor = fields.Integer()
    tax_minor = fields.Integer()


class InvoiceOut(StrictSchema):
    id = PrefixedId("inv")
    number = fields.String(allow_none=True)
    status = OneOf("draft", "open", "paid", "void", "uncollectible")
    reason = fields.String()
    subscription_id = PrefixedId("sub", allow_none=True)
    currency = fields.String()
    lines = fields.List(fields.Nested(LineOut))
    subtotal_minor = fields.Integer()
    discount_minor = fields.Integer()
    tax_minor = fields.Integer()
    tax_name = fields.String(allow_none=True)
    taxes = fields.List(
        fields.Nested(TaxOut), metadata={"description": "The sums of each tax rate; they add up to the totals."}
    )
    reverse_charge = fields.Boolean(metadata={"description": "No tax is charged: the customer accounts for it."})
    customer_vat_id = fields.String(allow_none=True)
    seller = fields.Nested(SellerOut, allow_none=True)
    customer = fields.Nested(InvoiceCustomerOut)
    tax_breakdown = fields.List(fields.Nested(TaxGroupOut))
    total_minor = fields.Integer()
    credit_applied_minor = fields.Integer()
    amount_due_minor = fields.Integer()
    amount_paid_minor = fields.Integer()
    balance_minor = fields.Integer()
    carried_over = fields.Boolean(
        metadata={"description": "The balance is too small to charge on its own; the next payment includes it."}
    )
    issued_at = Moment(allow_none=True)
    due_date = Day()
    next_attempt_on = Day(allow_none=True)
    finalizes_at = Moment(
        allow_none=True, metadata={"description": "When a draft is numbered and charged; null if it is held."}
    )
    payments = fields.List(fields.Nested(PaymentOut))
    credit_notes = fields.List(fields.Nested(CreditNoteOut))


InvoicePageOut = page_of(InvoiceOut)


class InvoicePaymentIn(StrictSchema):
    payment_method_id = Text(load_default=None, allow_none=True)
    amount_minor = Money(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "A part of what is owed; default: all of it."},
    )


class PreviewIn(StrictSchema):
    """The body of a subscription, plan change, anchor, cancellation or pause; empty: the next renewal."""

    subscription_id = Text(load_default=None, allow_none=True)
    price_id = Text(load_default=None, allow_none=True)
    coupon = Text(load_default=None, allow_none=True)
    coupons = fields.List(Text(), load_default=list)
    gift_code = Text(load_default=None, allow_none=True)
    referral_code = Text(load_default=None, allow_none=True)
    device_fingerprint = Text(load_default=None, allow_none=True)
    add_addon = Text(
        load_default=None, allow_none=True, metadata={"description": "Id of the price of an add-on to add."}
    )
    change_addon = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Code of the plan of an add-on whose `quantity` or `ends_at` to change."},
    )
    remove_addon = Text(
        load_default=None, allow_none=True, metadata={"description": "Code of the plan of an add-on to remove."}
    )
    restore_addon = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Code of the plan of an add-on whose scheduled removal to undo."},
    )
    quantity = Quantity(load_default=None, allow_none=True)
    ends_at = Day(load_default=None, allow_none=True)
    payment_method_id = Text(load_default=None, allow_none=True)
    anchor_day = Int(minimum=1, maximum=31, load_default=None, allow_none=True)
    anchor_month = AnchorMonth()
    start_date = Day(load_default=None, allow_none=True)
    addons = fields.List(Text(), load_default=list)
    addon_items = fields.List(fields.Nested(AddonIn), load_default=list)
    when = Choice("auto", "now", "period_end", load_default=None, allow_none=True)
    effective_date = Day(load_default=None, allow_none=True)
    credit = Choice("none", "prorated", load_default=None, allow_none=True)
    day = Int(minimum=1, maximum=31, load_default=None, allow_none=True)
    month = AnchorMonth()
    reason = Message(load_default=None, allow_none=True)
    feedback = Message(load_default=None, allow_none=True, max_length=2000)
    resumes_at = MomentOrDay(load_default=None, allow_none=True)


class NextRenewal(StrictSchema):
    date = Day()
    total_minor = fields.Integer()
    amount_due_minor = fields.Integer()


class PreviewOut(InvoiceOut):
    sometimes_absent = (
        "id",
        "reason",
        "subscription_id",
        "issued_at",
        "next_attempt_on",
        "finalizes_at",
        "seller",
        "customer",
        "tax_breakdown",
        "payments",
        "credit_notes",
    )
    next_renewal = fields.Nested(NextRenewal, allow_none=True)


class CreditEntryOut(StrictSchema):
    id = PrefixedId("led")
    kind = fields.String()
    amount_minor = fields.Integer()
    currency = fields.String()
    invoice_id = PrefixedId("inv", allow_none=True)
    note = fields.String(allow_none=True)
    at = Moment()


class CreditBalanceOut(StrictSchema):
    currency = fields.String()
    amount_minor = fields.Integer()


class BalanceOut(Counted):
    """Account credit by currency; an entry adds (positive) or spends (negative) credit."""

    balances = fields.List(fields.Nested(CreditBalanceOut))
    items = fields.List(fields.Nested(CreditEntryOut))
    next_cursor = fields.String(allow_none=True)


class CouponOut(StrictSchema):
    code = fields.String()
    percent_off = fields.Float(allow_none=True)
    amount_off_minor = fields.Integer(allow_none=True)
    currency = fields.String(allow_none=True)
    duration = OneOf("once", "repeating", "forever")
    periods = fields.Integer(allow_none=True)


class ReferralOut(StrictSchema):
    """The account's referral code, the subscribers it has brought, and for how many of them it was rewarded."""

    code = fields.String()
    referred = fields.Integer()
    rewarded = fields.Integer()


class TaxIdIn(StrictSchema):
    number = Text(max_length=20, required=True)


class TaxIdOut(StrictSchema):
    """`reverse_charge`: whether invoices issued now leave the tax to the customer."""

    number = fields.String()
    status = OneOf(
        "unchecked",
        "unverified",
        "valid",
        "invalid",
        metadata={
            "description": "`unchecked`: its form is right, and no register was asked yet; `unverified`: the register "
            "was asked and could not answer, and will be asked again."
        },
    )
    checked_at = Moment(allow_none=True)
    reference = fields.String(
        allow_none=True, metadata={"description": "The register's consultation number: the evidence of the check."}
    )
    error = fields.String(
        allow_none=True, metadata={"description": "Why the register could not answer, such as MS_UNAVAILABLE."}
    )
    reverse_charge = fields.Boolean()


class BillingAddressIn(StrictSchema):
    name = Name(load_default=None, allow_none=True)
    street = Name(load_default=None, allow_none=True)
    postal_code = Text(max_length=20, load_default=None, allow_none=True)
    city = Name(load_default=None, allow_none=True)
    region = Text(load_default=None, allow_none=True)


class BillingAddressOut(StrictSchema):
    """Name and address on invoices; the country is the account's, and without a name the account's is used."""

    name = fields.String(allow_none=True)
    street = fields.String(allow_none=True)
    postal_code = fields.String(allow_none=True)
    city = fields.String(allow_none=True)
    region = fields.String(allow_none=True)


class GiftRedemptionIn(StrictSchema):
    code = Text(required=True)


class GiftOut(StrictSchema):
    """A gift of account credit, or of `periods` periods of a price; `amount_minor` is then what it is worth as credit.

    `subscription_id`: the subscription that it started or extended.
    """

    code = fields.String()
    currency = fields.String()
    amount_minor = fields.Integer()
    price_id = fields.String(allow_none=True)
    periods = fields.Integer(allow_none=True)
    subscription_id = fields.String(allow_none=True)
    redeemed_at = Moment(allow_none=True)
    expires_at = Moment(allow_none=True)


class GiftCodesOut(StrictSchema):
    """`code` is the first of `items`, for callers that create a single code."""

    code = fields.String()
    items = fields.List(fields.Nested(GiftOut))
    next_cursor = fields.String(allow_none=True)


class SandboxPaymentIn(StrictSchema):
    next = Choice("decline", "timeout", "error", "partial", required=True)
    amount_minor = Money(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "For `partial`: how much of the charge is captured; default: half of it."},
    )


class SandboxAuthenticationIn(StrictSchema):
    approve = fields.Boolean(load_default=True)


class SandboxDisputeIn(StrictSchema):
    amount_minor = Money(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "The disputed amount, capped at what is left of the payment; default: all."},
    )


class SandboxChargeOut(StrictSchema):
    id = PrefixedId("ch")
    key = PrefixedId("pay", "ref")
    kind = fields.String()
    method = fields.String()
    currency = fields.String()
    amount_minor = fields.Integer()
    status = fields.String()
    decline_code = fields.String(allow_none=True)
    requests = fields.Integer()
    at = Moment()


class SandboxPaymentsOut(StrictSchema):
    """Requests that reached the provider, newest first, and the outcomes planned for the next charges."""

    items = fields.List(fields.Nested(SandboxChargeOut))
    next = fields.List(fields.String())
    next_cursor = fields.String(allow_none=True)
