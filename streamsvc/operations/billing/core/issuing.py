"""Lines become an invoice: discounted, taxed, numbered, booked, and paid from account credit as far as that goes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    CreditNoteLine,
    Discount,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    Subscription,
)
from streamsvc.operations.billing.core import ledger
from streamsvc.operations.billing.core.event_store import load_price
from streamsvc.operations.billing.core.taxing import Taxation, load_taxation
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.invoicing import Coupon, Position, Tax, Totals, tax_to_return, total
from streamsvc.rules.billing.paid import Line, begins_a_period
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

REVERSE_CHARGE_TEXT = "VAT in the price, not charged: reverse charge"
FINALIZE_JOB = "invoice.finalize"


@dataclass(frozen=True)
class ComputedInvoice:
    """An invoice worked out and not written: what a preview shows, what issue() writes."""

    account: Account
    subscription: Subscription | None
    """None where an operator charges for something by itself."""
    currency: str
    lines: tuple
    discounts: tuple[Discount, ...]
    totals: Totals
    taxation: Taxation

    @property
    def reductions(self) -> Iterator[tuple["Coupon | None", str, int]]:
        """(coupon, what the line says, what is taken off) of each discount; no coupon where it is the tax."""
        by_id = {discount.id: discount.coupon for discount in self.discounts}
        for discount_id, off in self.totals.discounts:
            coupon = by_id.get(discount_id)
            yield coupon, f"Coupon {coupon.code}" if coupon else REVERSE_CHARGE_TEXT, off


def compute_invoice(
    account: Account, subscription: Subscription, lines: Iterable[Line], discounts, account_credit_minor: int
) -> ComputedInvoice:
    """Work out the invoice of these lines. `discounts` are the running ones, in order."""
    lines = tuple(lines)
    taxation = load_taxation(account)
    positions = [_compute_position(subscription, line, taxation, i) for i, line in enumerate(lines)]
    renews = any(line.kind == "charge" for line in lines)
    coupons = [_coupon_terms(discount, lines) for discount in discounts] if renews else []
    totals = total(positions, coupons, account_credit_minor)
    return ComputedInvoice(account, subscription, subscription.currency, lines, tuple(discounts), totals, taxation)


def _compute_position(subscription: Subscription, line: Line, taxation: Taxation, index: int) -> Position:
    if line.kind == "credit":
        return _compute_credit_position(subscription, line, index)
    price = load_price(line.price_id)
    return Position(str(index), line.amount_minor, taxation.tax_for(price.tax == "inclusive"))


def _compute_credit_position(subscription: Subscription, line: Line, index: int) -> Position:
    """A credit gives back the tax of the line it credits, in proportion, and all of it with the last cent."""
    original = find_line_by_identity(subscription.id, line.of)
    if original is None:  # credited before it was ever invoiced: a preview of two steps at once
        return Position(str(index), line.amount_minor, Tax())
    net, tax = credited_amounts(original.id)
    returned = tax_to_return(original.tax_minor, original.net_minor, net - line.amount_minor, tax)
    taxed = Tax(original.tax_ppm, original.tax_inclusive)
    return Position(str(index), line.amount_minor, taxed, tax_minor=-returned)


def find_line_by_identity(subscription_id: str, identity: str) -> InvoiceLine | None:
    return db.session.scalar(
        sa.select(InvoiceLine).where(InvoiceLine.subscription_id == subscription_id, InvoiceLine.identity == identity)
    )


def credited_amounts(line_id: str) -> tuple[int, int]:
    """What credits and credit notes took off a line so far: (net, tax), both positive. What is void took nothing."""
    credits = db.session.execute(
        sa.select(
            sa.func.coalesce(-sa.func.sum(InvoiceLine.amount_minor), 0),
            sa.func.coalesce(-sa.func.sum(InvoiceLine.tax_minor), 0),
        )
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.credits_line_id == line_id, Invoice.status != "void")
    ).one()
    notes = db.session.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(CreditNoteLine.net_minor), 0),
            sa.func.coalesce(sa.func.sum(CreditNoteLine.tax_minor), 0),
        ).where(CreditNoteLine.line_id == line_id)
    ).one()
    return int(credits[0] + notes[0]), int(credits[1] + notes[1])


def _coupon_terms(discount: Discount, lines: Sequence[Line]) -> Coupon:
    coupon, only = discount.coupon, None
    if coupon.plans is not None:
        plans = [load_price(line.price_id).plan.code for line in lines]
        only = frozenset(str(i) for i, plan in enumerate(plans) if plan in coupon.plans)
    if coupon.percent_ppm is not None:
        return Coupon(discount.id, percent_ppm=coupon.percent_ppm, only=only)
    left = coupon.amount_off_minor - (discount.used_minor if coupon.duration == "once" else 0)
    return Coupon(discount.id, left_minor=left, only=only)


def create_invoice(
    computed: ComputedInvoice,
    reason: str,
    now: datetime,
    today: date,
    requires_payment: bool = False,
    review_until: datetime | None = None,
) -> Invoice:
    """Write it. `gated`: it gets its number only when it is paid, and goes if it is not.

    `review_until`: until then it is a draft, if anything is to be paid on it.
    """
    totals = computed.totals
    drafted = review_until is not None and totals.total_minor > 0
    invoice = Invoice(
        id=new_id("inv"),
        account_id=computed.account.id,
        subscription_id=computed.subscription and computed.subscription.id,
        status="draft" if drafted else "open",
        finalizes_at=review_until if drafted else None,
        reason=reason,
        currency=computed.currency,
        customer=customer_snapshot(computed.account, computed.taxation),
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
    unit_of_work.add_object(invoice)
    unit_of_work.flush_session()
    _create_lines(invoice, computed)
    ledger.post_journal(
        "invoice",
        invoice,
        now,
        receivable=totals.total_minor,
        revenue=totals.tax_minor - totals.total_minor,
        tax=-totals.tax_minor,
    )
    _record_discount_use(computed, now)
    if totals.total_minor < 0:
        ledger.post_journal("credit", invoice, now, receivable=-totals.total_minor, customer_credit=totals.total_minor)
        invoice.balance_minor = 0
    apply_account_credit(invoice, totals.credit_applied_minor, now)
    if drafted:
        schedule_finalization(invoice, review_until)
    elif not requires_payment or invoice.balance_minor == 0:
        issue_invoice(invoice, now)
    mark_paid_if_balance_is_zero(invoice)
    if computed.subscription:
        computed.subscription.latest_invoice_id = invoice.id
    add_to_open_invoices(invoice)
    return invoice


def add_to_open_invoices(invoice: Invoice) -> None:
    """It is new among what is owed."""
    for key in (invoice.account_id, invoice.subscription_id):
        if (known := unit_of_work.cached(("open invoices", key))) is not None:
            known.append(invoice)


def schedule_finalization(invoice: Invoice, moment: datetime) -> None:
    """Have the draft numbered and charged then."""
    invoice.finalizes_at = moment
    asked = {"invoice_id": invoice.id, "subscription_id": invoice.subscription_id}
    jobs.enqueue_job(FINALIZE_JOB, asked, moment, f"finalize {invoice.id} {moment.isoformat()}")


def list_open_invoices(account_id: str) -> list[Invoice]:
    """What the account owes, oldest first."""
    known = unit_of_work.get_or_load(("open invoices", account_id), lambda: Invoice.open_of(account_id))
    return [invoice for invoice in known if invoice.status == "open"]


def customer_snapshot(account: Account, taxation: Taxation) -> dict:
    """Who is billed; with `vat_id` where they pay the tax themselves, and the number under which we sell."""
    told = {name: getattr(account, name) for name in ("name", "email", "country", "locale")}
    if taxation.vat_id:
        told |= {"vat_id": taxation.vat_id, "seller_vat_id": current_app.extensions["settings"].seller_vat_id}
    return told


def _create_lines(invoice: Invoice, computed: ComputedInvoice) -> None:
    rows = []
    for line, position in zip(computed.lines, computed.totals.positions, strict=True):
        rows.append(build_invoice_line(computed.subscription, line, position))
    for coupon, description, off in computed.reductions:
        row = InvoiceLine(kind="discount", description=description, amount_minor=-off, tax_minor=0)
        row.coupon_id = coupon and coupon.id
        row.tax_ppm = 0 if coupon else computed.taxation.rate_ppm
        rows.append(row)
    for place, row in enumerate(rows):
        row.invoice_id, row.position = invoice.id, place
        invoice.lines.append(row)
        unit_of_work.add_object(row)
    unit_of_work.flush_session()


def build_invoice_line(subscription: Subscription | None, line, position: Position) -> InvoiceLine:
    row = (
        InvoiceLine(kind=line.kind, description=line.description)
        if subscription is None
        else _build_subscription_line(subscription, line)
    )
    row.amount_minor = line.amount_minor
    row.discount_minor, row.tax_minor = position.discount_minor, position.tax_minor
    row.tax_ppm = 0 if position.tax.reversed else position.tax.rate_ppm
    row.tax_inclusive = position.tax.inclusive
    return row


def _build_subscription_line(subscription: Subscription, line: Line) -> InvoiceLine:
    """A line that a subscription's history asks for."""
    credited = line.of and find_line_by_identity(subscription.id, line.of)
    return InvoiceLine(
        kind=line.kind,
        description=describe_line(line),
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
    )


def describe_line(line: Line) -> str:
    """One phrase that explains the line: the plan, and how much of the period it is."""
    plan = load_price(line.price_id).plan
    if line.kind == "trial":
        return f"{plan.name}: free trial"
    part = "" if line.days == line.full_days else f", {line.days} of {line.full_days} days"
    return f"{plan.name}: unused time{part}" if line.kind == "credit" else f"{plan.name}{part}"


def _record_discount_use(computed: ComputedInvoice, now: datetime) -> None:
    """A coupon is used by the period it was taken off; `once` by the first invoice, a fixed one until it is spent."""
    if not computed.discounts:
        return
    renews = begins_a_period((line.kind, line.item, line.cause, line.period.end) for line in computed.lines)
    used = dict(computed.totals.discounts)
    for discount in computed.discounts:
        if discount.id not in used:
            continue
        coupon = discount.coupon
        discount.used_minor += used[discount.id]
        discount.periods_used += renews or coupon.duration == "once"
        if coupon.duration == "once":
            spent = coupon.percent_ppm is not None or discount.used_minor >= coupon.amount_off_minor
        else:
            spent = coupon.duration == "repeating" and discount.periods_used >= coupon.periods
        if spent:
            discount.ended_at = now


def apply_account_credit(invoice: Invoice, amount_minor: int, now: datetime) -> None:
    """Pay that much of an invoice from account credit."""
    if amount_minor <= 0:
        return
    ledger.post_journal("credit_applied", invoice, now, customer_credit=amount_minor, receivable=-amount_minor)
    invoice.credit_applied_minor += amount_minor
    invoice.balance_minor -= amount_minor


def issue_invoice(invoice: Invoice, now: datetime) -> None:
    """Issue it: from here on it never changes, and its number follows the last one."""
    if invoice.issued_at is None:
        invoice.issued_at = now
        unit_of_work.defer(_assign_numbers, (invoice, invoice_payload(invoice)))


def _assign_numbers(issued: list[tuple[Invoice, dict]]) -> None:
    """Numbers without a gap, taken in the invoices' own unit of work as late as can be: others wait for the last."""
    by_year: dict[int, list] = {}
    for invoice, words in issued:
        by_year.setdefault(invoice.issued_at.year, []).append((invoice, words))
    for year, members in by_year.items():
        numbers = InvoiceNumber.take_block(str(year), len(members))
        for (invoice, words), taken in zip(members, numbers, strict=True):
            invoice.number = taken
            publish_event("invoice.issued", invoice.account_id, invoice.issued_at, **words | {"number": taken})


def invoice_payload(invoice: Invoice) -> dict:
    """What an event tells of an invoice."""
    names = ("number", "subscription_id", "currency", "total_minor", "balance_minor", "status", "reason")
    return {"invoice_id": invoice.id, **{name: getattr(invoice, name) for name in names}}


def mark_paid_if_balance_is_zero(invoice: Invoice) -> None:
    if invoice.status == "open" and invoice.balance_minor == 0:
        invoice.status = "paid"
        invoice.next_attempt_on = None


def credit_overpayment(invoice: Invoice, now: datetime) -> None:
    """What was paid and is no longer owed makes good what was given up, and beyond that becomes account credit."""
    if invoice.balance_minor < 0:
        _reverse_write_off(invoice, now)
    surplus = -invoice.balance_minor
    if surplus > 0:
        ledger.post_journal("credit", invoice, now, receivable=surplus, customer_credit=-surplus)
        invoice.balance_minor = 0


def _reverse_write_off(invoice: Invoice, now: datetime) -> None:
    lost = written_off_amount(invoice)
    back = min(lost, -invoice.balance_minor)
    if back <= 0:
        return
    ledger.post_journal("write_off", invoice, now, written_off=-back, receivable=back)
    invoice.balance_minor += back
    if back == lost and invoice.status == "uncollectible":
        invoice.status = "paid"


def written_off_amount(invoice: Invoice) -> int:
    """What was given up on it, and never came all the same."""
    return ledger.sum_invoice_entries(invoice.id, "written_off")


def mark_uncollectible(invoice: Invoice, now: datetime) -> None:
    """Nobody asks for it any more; who owes it may still pay."""
    if invoice.status != "open":
        return
    write_off_balance(invoice, now)
    invoice.status, invoice.next_attempt_on = "uncollectible", None


def write_off_balance(invoice: Invoice, now: datetime) -> None:
    """Book what is owed on it as lost."""
    owed = invoice.balance_minor
    ledger.post_journal("write_off", invoice, now, written_off=owed, receivable=-owed)
    invoice.balance_minor = 0


def pay_open_invoices_from_credit(account_id: str, currency: str, now: datetime) -> None:
    """Account credit pays open invoices, oldest first; one that is being paid just now is left alone."""
    credit = ledger.account_credit(account_id, currency)
    for invoice in list_open_invoices(account_id) if credit > 0 else ():
        if credit <= 0:
            return
        if invoice.currency != currency or any(one.is_in_flight for one in invoice.payments):
            continue
        part = min(credit, invoice.balance_minor)
        apply_account_credit(invoice, part, now)
        credit -= part
        if invoice.balance_minor == 0:
            issue_invoice(invoice, now)
        mark_paid_if_balance_is_zero(invoice)
