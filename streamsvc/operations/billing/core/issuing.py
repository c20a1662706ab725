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
from streamsvc.operations.billing.core.event_store import price_of
from streamsvc.operations.billing.core.taxing import Taxation, taxation_of
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.invoicing import Coupon, Position, Tax, Totals, tax_to_return, total
from streamsvc.rules.billing.paid import Line, begins_a_period
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

REVERSED = "VAT in the price, not charged: reverse charge"
FINALIZE_JOB = "invoice.finalize"


@dataclass(frozen=True)
class Draft:
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
            yield coupon, f"Coupon {coupon.code}" if coupon else REVERSED, off


def draft(account: Account, subscription: Subscription, lines: Iterable[Line], discounts, credit_minor: int) -> Draft:
    """Work out the invoice of these lines. `discounts` are the running ones, in order."""
    lines = tuple(lines)
    taxation = taxation_of(account)
    positions = [_position(subscription, line, taxation, i) for i, line in enumerate(lines)]
    renews = any(line.kind == "charge" for line in lines)
    coupons = [_coupon(discount, lines) for discount in discounts] if renews else []
    totals = total(positions, coupons, credit_minor)
    return Draft(account, subscription, subscription.currency, lines, tuple(discounts), totals, taxation)


def _position(subscription: Subscription, line: Line, taxation: Taxation, index: int) -> Position:
    if line.kind == "credit":
        return _credit_position(subscription, line, index)
    price = price_of(line.price_id)
    return Position(str(index), line.amount_minor, taxation.on(price.tax == "inclusive"))


def _credit_position(subscription: Subscription, line: Line, index: int) -> Position:
    """A credit gives back the tax of the line it credits, in proportion, and all of it with the last cent."""
    original = line_by_identity(subscription.id, line.of)
    if original is None:  # credited before it was ever invoiced: a preview of two steps at once
        return Position(str(index), line.amount_minor, Tax())
    net, tax = given_back(original.id)
    returned = tax_to_return(original.tax_minor, original.net_minor, net - line.amount_minor, tax)
    taxed = Tax(original.tax_ppm, original.tax_inclusive)
    return Position(str(index), line.amount_minor, taxed, tax_minor=-returned)


def line_by_identity(subscription_id: str, identity: str) -> InvoiceLine | None:
    return db.session.scalar(
        sa.select(InvoiceLine).where(InvoiceLine.subscription_id == subscription_id, InvoiceLine.identity == identity)
    )


def given_back(line_id: str) -> tuple[int, int]:
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


def _coupon(discount: Discount, lines: Sequence[Line]) -> Coupon:
    coupon, only = discount.coupon, None
    if coupon.plans is not None:
        plans = [price_of(line.price_id).plan.code for line in lines]
        only = frozenset(str(i) for i, plan in enumerate(plans) if plan in coupon.plans)
    if coupon.percent_ppm is not None:
        return Coupon(discount.id, percent_ppm=coupon.percent_ppm, only=only)
    left = coupon.amount_off_minor - (discount.used_minor if coupon.duration == "once" else 0)
    return Coupon(discount.id, left_minor=left, only=only)


def issue(
    worked_out: Draft,
    reason: str,
    now: datetime,
    today: date,
    gated: bool = False,
    review_until: datetime | None = None,
) -> Invoice:
    """Write it. `gated`: it gets its number only when it is paid, and goes if it is not.

    `review_until`: until then it is a draft, if anything is to be paid on it.
    """
    totals = worked_out.totals
    drafted = review_until is not None and totals.total_minor > 0
    invoice = Invoice(
        id=new_id("inv"),
        account_id=worked_out.account.id,
        subscription_id=worked_out.subscription and worked_out.subscription.id,
        status="draft" if drafted else "open",
        finalizes_at=review_until if drafted else None,
        reason=reason,
        currency=worked_out.currency,
        customer=customer_of(worked_out.account, worked_out.taxation),
        tax_name=worked_out.taxation.name,
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
    unit_of_work.add(invoice)
    unit_of_work.flush()
    _write_lines(invoice, worked_out)
    ledger.post(
        "invoice",
        invoice,
        now,
        receivable=totals.total_minor,
        revenue=totals.tax_minor - totals.total_minor,
        tax=-totals.tax_minor,
    )
    _use_discounts(worked_out, now)
    if totals.total_minor < 0:
        ledger.post("credit", invoice, now, receivable=-totals.total_minor, customer_credit=totals.total_minor)
        invoice.balance_minor = 0
    apply_credit(invoice, totals.credit_applied_minor, now)
    if drafted:
        finalize_at(invoice, review_until)
    elif not gated or invoice.balance_minor == 0:
        number(invoice, now)
    settle_if_paid(invoice)
    if worked_out.subscription:
        worked_out.subscription.latest_invoice_id = invoice.id
    count_in(invoice)
    return invoice


def count_in(invoice: Invoice) -> None:
    """It is new among what is owed."""
    for key in (invoice.account_id, invoice.subscription_id):
        if (known := unit_of_work.heard(("open invoices", key))) is not None:
            known.append(invoice)


def finalize_at(invoice: Invoice, moment: datetime) -> None:
    """Have the draft numbered and charged then."""
    invoice.finalizes_at = moment
    asked = {"invoice_id": invoice.id, "subscription_id": invoice.subscription_id}
    jobs.enqueue(FINALIZE_JOB, asked, moment, f"finalize {invoice.id} {moment.isoformat()}")


def open_invoices(account_id: str) -> list[Invoice]:
    """What the account owes, oldest first."""
    known = unit_of_work.known(("open invoices", account_id), lambda: Invoice.open_of(account_id))
    return [invoice for invoice in known if invoice.status == "open"]


def customer_of(account: Account, taxation: Taxation) -> dict:
    """Who is billed; with `vat_id` where they pay the tax themselves, and the number under which we sell."""
    told = {name: getattr(account, name) for name in ("name", "email", "country", "locale")}
    if taxation.vat_id:
        told |= {"vat_id": taxation.vat_id, "seller_vat_id": current_app.extensions["settings"].seller_vat_id}
    return told


def _write_lines(invoice: Invoice, worked_out: Draft) -> None:
    rows = []
    for line, position in zip(worked_out.lines, worked_out.totals.positions, strict=True):
        rows.append(row_of(worked_out.subscription, line, position))
    for coupon, description, off in worked_out.reductions:
        row = InvoiceLine(kind="discount", description=description, amount_minor=-off, tax_minor=0)
        row.coupon_id = coupon and coupon.id
        row.tax_ppm = 0 if coupon else worked_out.taxation.rate_ppm
        rows.append(row)
    for place, row in enumerate(rows):
        row.invoice_id, row.position = invoice.id, place
        invoice.lines.append(row)
        unit_of_work.add(row)
    unit_of_work.flush()


def row_of(subscription: Subscription | None, line, position: Position) -> InvoiceLine:
    row = InvoiceLine(kind=line.kind, description=line.description) if subscription is None else _of(subscription, line)
    row.amount_minor = line.amount_minor
    row.discount_minor, row.tax_minor = position.discount_minor, position.tax_minor
    row.tax_ppm = 0 if position.tax.reversed else position.tax.rate_ppm
    row.tax_inclusive = position.tax.inclusive
    return row


def _of(subscription: Subscription, line: Line) -> InvoiceLine:
    """A line that a subscription's history asks for."""
    credited = line.of and line_by_identity(subscription.id, line.of)
    return InvoiceLine(
        kind=line.kind,
        description=describe(line),
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


def describe(line: Line) -> str:
    """One phrase that explains the line: the plan, and how much of the period it is."""
    plan = price_of(line.price_id).plan
    if line.kind == "trial":
        return f"{plan.name}: free trial"
    part = "" if line.days == line.full_days else f", {line.days} of {line.full_days} days"
    return f"{plan.name}: unused time{part}" if line.kind == "credit" else f"{plan.name}{part}"


def _use_discounts(worked_out: Draft, now: datetime) -> None:
    """A coupon is used by the period it was taken off; `once` by the first invoice, a fixed one until it is spent."""
    if not worked_out.discounts:
        return
    renews = begins_a_period((line.kind, line.item, line.cause, line.period.end) for line in worked_out.lines)
    used = dict(worked_out.totals.discounts)
    for discount in worked_out.discounts:
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


def apply_credit(invoice: Invoice, amount_minor: int, now: datetime) -> None:
    """Pay that much of an invoice from account credit."""
    if amount_minor <= 0:
        return
    ledger.post("credit_applied", invoice, now, customer_credit=amount_minor, receivable=-amount_minor)
    invoice.credit_applied_minor += amount_minor
    invoice.balance_minor -= amount_minor


def number(invoice: Invoice, now: datetime) -> None:
    """Issue it: from here on it never changes, and its number follows the last one."""
    if invoice.issued_at is None:
        invoice.issued_at = now
        unit_of_work.later(_number_all, (invoice, told(invoice)))


def _number_all(issued: list[tuple[Invoice, dict]]) -> None:
    """Numbers without a gap, taken in the invoices' own unit of work as late as can be: others wait for the last."""
    by_year: dict[int, list] = {}
    for invoice, words in issued:
        by_year.setdefault(invoice.issued_at.year, []).append((invoice, words))
    for year, members in by_year.items():
        numbers = InvoiceNumber.take_block(str(year), len(members))
        for (invoice, words), taken in zip(members, numbers, strict=True):
            invoice.number = taken
            publish_event("invoice.issued", invoice.account_id, invoice.issued_at, **words | {"number": taken})


def told(invoice: Invoice) -> dict:
    """What an event tells of an invoice."""
    names = ("number", "subscription_id", "currency", "total_minor", "balance_minor", "status", "reason")
    return {"invoice_id": invoice.id, **{name: getattr(invoice, name) for name in names}}


def settle_if_paid(invoice: Invoice) -> None:
    if invoice.status == "open" and invoice.balance_minor == 0:
        invoice.status = "paid"
        invoice.next_attempt_on = None


def surplus_to_credit(invoice: Invoice, now: datetime) -> None:
    """What was paid and is no longer owed makes good what was given up, and beyond that becomes account credit."""
    if invoice.balance_minor < 0:
        _make_good(invoice, now)
    surplus = -invoice.balance_minor
    if surplus > 0:
        ledger.post("credit", invoice, now, receivable=surplus, customer_credit=-surplus)
        invoice.balance_minor = 0


def _make_good(invoice: Invoice, now: datetime) -> None:
    lost = lost_on(invoice)
    back = min(lost, -invoice.balance_minor)
    if back <= 0:
        return
    ledger.post("write_off", invoice, now, written_off=-back, receivable=back)
    invoice.balance_minor += back
    if back == lost and invoice.status == "uncollectible":
        invoice.status = "paid"


def lost_on(invoice: Invoice) -> int:
    """What was given up on it, and never came all the same."""
    return ledger.of_invoice(invoice.id, "written_off")


def give_up(invoice: Invoice, now: datetime) -> None:
    """Nobody asks for it any more; who owes it may still pay."""
    if invoice.status != "open":
        return
    write_off(invoice, now)
    invoice.status, invoice.next_attempt_on = "uncollectible", None


def write_off(invoice: Invoice, now: datetime) -> None:
    """Book what is owed on it as lost."""
    owed = invoice.balance_minor
    ledger.post("write_off", invoice, now, written_off=owed, receivable=-owed)
    invoice.balance_minor = 0


def spend_credit(account_id: str, currency: str, now: datetime) -> None:
    """Account credit pays open invoices, oldest first; one that is being paid just now is left alone."""
    credit = ledger.account_credit(account_id, currency)
    for invoice in open_invoices(account_id) if credit > 0 else ():
        if credit <= 0:
            return
        if invoice.currency != currency or any(one.is_in_flight for one in invoice.payments):
            continue
        part = min(credit, invoice.balance_minor)
        apply_credit(invoice, part, now)
        credit -= part
        if invoice.balance_minor == 0:
            number(invoice, now)
        settle_if_paid(invoice)
