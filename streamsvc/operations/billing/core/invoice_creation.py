"""Creating an invoice: stores and books a computed one, with its lines, and applies account credit."""

from datetime import date, datetime
from typing import Any

from streamsvc.models import Account
from streamsvc.models.subscriptions import BillingAddress, Discount, Invoice, InvoiceLine, Subscription
from streamsvc.operations.billing.core import balances, charging_guard, computing, issuing, ledger
from streamsvc.operations.billing.core.event_store import load_price
from streamsvc.operations.billing.core.taxing import Taxation
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoicing import Position
from streamsvc.rules.billing.paid import Line, starts_new_period
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

FINALIZE_JOB = "invoice.finalize"


def create_invoice(
    computed: computing.ComputedInvoice,
    reason: str,
    now: datetime,
    today: date,
    requires_payment: bool = False,
    review_until: datetime | None = None,
) -> Invoice:
    """Store and book a computed invoice, and apply account credit to it.

    `requires_payment`: the invoice is issued only once it is paid, and voided if the payment fails. `review_until`:
    an invoice with a positive total remains a draft until then. Raises ClockNotTrusted, ReconciliationPending.
    """
    charging_guard.require_charging_allowed()
    totals = computed.totals
    is_draft = review_until is not None and totals.total_minor > 0
    invoice = Invoice(
        id=new_id("inv"),
        account_id=computed.account.id,
        subscription_id=computed.subscription and computed.subscription.id,
        status="draft" if is_draft else "open",
        finalizes_at=review_until if is_draft else None,
        reason=reason,
        currency=computed.currency,
        customer=customer_snapshot(computed.account, computed.taxation),
        seller=computed.taxation.seller,
        tax_name=computed.taxation.name,
        subtotal_minor=totals.subtotal_minor,
        discount_minor=totals.discount_minor,
        tax_minor=totals.tax_minor,
        total_minor=totals.total_minor,
        balance_minor=totals.total_minor,
        due_date=today,
        created_at=now,
        credit_applied_minor=0,
        amount_paid_minor=0,
        attempts=0,
    )
    db.session.add(invoice)
    db.session.flush()
    _create_lines(invoice, computed)
    ledger.post_journal(
        "invoice",
        invoice,
        now,
        receivable=totals.total_minor,
        revenue=totals.tax_minor - totals.total_minor,
        tax=-totals.tax_minor,
    )
    _record_discount_use(computed, invoice, now)
    if totals.total_minor < 0:
        ledger.post_journal("credit", invoice, now, receivable=-totals.total_minor, customer_credit=totals.total_minor)
        invoice.balance_minor = 0
    balances.apply_account_credit(invoice, totals.credit_applied_minor, now)
    if is_draft and review_until:
        schedule_finalization(invoice, review_until)
    elif not requires_payment or invoice.balance_minor == 0:
        issuing.issue_invoice(invoice, now)
    balances.update_status(invoice, now)
    if computed.subscription:
        computed.subscription.latest_invoice_id = invoice.id
    return invoice


def schedule_finalization(invoice: Invoice, moment: datetime) -> None:
    """Set the moment at which the draft is finalized and charged, and enqueue the job for it."""
    invoice.finalizes_at = moment
    payload = {"invoice_id": invoice.id, "subscription_id": invoice.subscription_id}
    jobs.enqueue_job(FINALIZE_JOB, payload, moment, f"finalize {invoice.id} {moment.isoformat()}")


def customer_snapshot(account: Account, taxation: Taxation) -> dict:
    """Return the customer's details as stored on an invoice; under reverse charge also both parties' VAT numbers.

    Name and address are those of the billing address, if the account has one.
    """
    customer = {name: getattr(account, name) for name in ("name", "email", "country", "locale")}
    if address := db.session.get(BillingAddress, account.id):
        customer |= {name: getattr(address, name) for name in ("street", "postal_code", "city", "region")}
        customer["name"] = address.name or account.name
    if taxation.vat_id:
        customer |= {"vat_id": taxation.vat_id, "seller_vat_id": taxation.seller["vat_id"]}
    return customer


def _create_lines(invoice: Invoice, computed: computing.ComputedInvoice) -> None:
    rows = []
    for line, position in zip(computed.lines, computed.totals.positions, strict=True):
        name = computing.find_tax_name(computed, line, position.tax)
        rows.append(build_invoice_line(computed.subscription, line, position, name, computed.account.locale))
    for coupon, description, amount_minor, tax in computed.reductions:
        row = InvoiceLine(kind="discount", description=description, amount_minor=-amount_minor, tax_minor=0)
        row.coupon_id = coupon.id if coupon else None
        row.tax_ppm, row.tax_category = (0, None) if coupon else (tax.rate_ppm, tax.category)
        rows.append(row)
    for index, row in enumerate(rows):
        row.id, row.position = new_id("lin"), index
        invoice.lines.append(row)
    db.session.flush()


def build_invoice_line(
    subscription: Subscription | None, line: Any, position: Position, tax_name: str | None, locale: str | None
) -> InvoiceLine:
    """Build the row for a line with its discount and tax; `subscription` is None for a one-off line."""
    row = (
        InvoiceLine(kind=line.kind, description=line.description)
        if subscription is None
        else _build_subscription_line(subscription, line, locale)
    )
    row.amount_minor = line.amount_minor
    row.discount_minor, row.tax_minor = position.discount_minor, position.tax_minor
    row.tax_ppm = 0 if position.tax.reversed else position.tax.rate_ppm
    row.tax_inclusive, row.tax_category, row.tax_name = position.tax.inclusive, position.tax.category, tax_name
    return row


def _build_subscription_line(subscription: Subscription, line: Line, locale: str | None) -> InvoiceLine:
    """Build the row for a line derived from a subscription's history."""
    credited = line.credited_identity and computing.find_line_by_identity(subscription.id, line.credited_identity)
    return InvoiceLine(
        kind=line.kind,
        description=describe_line(line, locale),
        subscription_id=subscription.id,
        identity=line.identity,
        cause=line.cause,
        item=line.item,
        price_id=line.price_id,
        credits_line_id=credited.id if credited else None,
        period_start=line.period.start,
        period_end=line.period.end,
        days=line.days,
        full_days=line.full_days,
        quantity=line.quantity,
    )


def describe_line(line: Line, locale: str | None) -> str:
    """Return the line's description in the customer's language: the plan, its units, and the part of the period."""
    labels, plan = invoice_labels(locale), load_price(line.price_id).plan
    name = plan.name if line.quantity == 1 else f"{line.quantity} × {plan.name}"
    if line.kind == "trial":
        return labels["free_trial"].format(plan=name)
    is_part = line.days != line.full_days
    part = labels["part_of_period"].format(days=line.days, full_days=line.full_days) if is_part else ""
    return (labels["unused_time"].format(plan=name) if line.kind == "credit" else name) + part


def _count_period(discount: Discount, computed: computing.ComputedInvoice, invoice: Invoice) -> None:
    """Count the period that the invoice bills, unless an earlier invoice of the same period counted it."""
    starts_period = starts_new_period((line.kind, line.item, line.cause, line.period.end) for line in computed.lines)
    starts = [line.period.start for line in computed.lines if (line.kind, line.item) == ("charge", BASE_ITEM)]
    current = computed.subscription.period_start if computed.subscription else None
    period = max(starts, default=current) if starts_period else current
    is_new = discount.counted_period is None or (period is not None and period > discount.counted_period)
    if starts_period or is_new:
        discount.periods_used += 1
        discount.counted_period, discount.counted_by = period, invoice.id


def _record_discount_use(computed: computing.ComputedInvoice, invoice: Invoice, now: datetime) -> None:
    """Record the use of each applied discount, and end those that are used up.

    A `repeating` coupon is used up after the periods in which it gave something. A `once` coupon is used up by its
    first invoice or, if it takes off a fixed amount, when that amount is used.
    """
    if not computed.discounts:
        return
    used = dict(computed.totals.discounts)
    for discount in computed.discounts:
        if discount.id not in used:
            continue
        coupon = discount.coupon
        discount.used_minor += used[discount.id]
        if coupon.duration == "once":
            discount.periods_used += 1
            is_used_up = coupon.amount_off_minor is None or discount.used_minor >= coupon.amount_off_minor
        else:
            _count_period(discount, computed, invoice)
            periods = coupon.periods if coupon.duration == "repeating" else None
            is_used_up = periods is not None and discount.periods_used >= periods
        if is_used_up:
            discount.ended_at = now
