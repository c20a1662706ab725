"""Request and response bodies of payouts of account credit."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Choice, Currency, Moment, OneOf, PageQuery, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Message
from streamsvc.schemas.subscriptions.subscriptions import Money

STATUSES = ("pending", "paid", "partly_paid", "failed")


class PayoutIn(StrictSchema):
    currency = Currency(required=True)
    amount_minor = Money(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Default: all credit that came from money, less debts that were written off; "
            "with `force`, all credit."
        },
    )
    method = Choice(
        "auto",
        "refund",
        "bank_transfer",
        load_default="auto",
        metadata={
            "description": "`refund`: to the payments that brought the money, newest first; `bank_transfer`: by you; "
            "`auto`: refunds, and a bank transfer of the rest."
        },
    )
    reference = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Of a bank transfer that is made already; without it, the transfer is pending."},
    )
    reason = Message(required=True, max_length=500)
    force = Bool(load_default=False, metadata={"description": "Also pay out credit that came from gifts and goodwill."})
    dry_run = Bool(load_default=False, metadata={"description": "Return what would be paid out; nothing is."})


class PayoutUpdateIn(StrictSchema):
    """The outcome of the bank transfer."""

    status = Choice("paid", "failed", required=True)
    reference = Text(load_default=None, allow_none=True)


class PayoutsQuery(PageQuery):
    """`format=csv` returns all payouts of the filter, up to 10,000."""

    account_id = Text(load_default=None)
    status = Choice(*STATUSES, load_default=None)
    format = Choice("json", "csv", load_default="json")


class PayoutRefundOut(StrictSchema):
    """`id` is null in a dry run."""

    id = PrefixedId("ref", allow_none=True)
    payment_id = PrefixedId("pay")
    status = OneOf("pending", "unknown", "succeeded", "failed")
    amount_minor = fields.Integer()


class PayoutOut(StrictSchema):
    """`id`, `created_by` and `created_at` are null in a dry run."""

    id = PrefixedId("pyo", allow_none=True)
    account_id = PrefixedId("acc")
    status = OneOf(*STATUSES)
    currency = fields.String()
    amount_minor = fields.Integer()
    paid_minor = fields.Integer(metadata={"description": "What has reached the customer."})
    forced_minor = fields.Integer(metadata={"description": "The part for which no money had come in."})
    refunds = fields.List(fields.Nested(PayoutRefundOut))
    bank_transfer_minor = fields.Integer()
    bank_transfer_status = OneOf("pending", "paid", "failed", allow_none=True)
    reference = fields.String(allow_none=True)
    reason = fields.String()
    created_by = fields.String(allow_none=True, metadata={"description": "The operator, or the API key."})
    created_at = Moment(allow_none=True)
    settled_at = Moment(allow_none=True)
