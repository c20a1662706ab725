"""Issuing: turns lines into an invoice with discounts and tax, books it, numbers it, and applies account credit."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    BillingAddress,
    Coupon,
    CreditNoteLine,
    Discount,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    Refund,
    Subscription,
)
from streamsvc.operations.billing.core import debts, ledger
from streamsvc.operations.billing.core.event_store import load_price
from streamsvc.operations.billing.core.taxing import Taxation, load_taxation
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.debts import status_for_balance
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoicing import (
    STANDARD_CATEGORY,
    CouponTerms,
    Position,
    TaxedAmount,
    TaxTerms,
    Totals,
    compute_totals,
    sum_by_rate,
    tax_to_credit,
)
from streamsvc.rules.billing.number_series import invoice_series
from streamsvc.rules.billing.paid import Line, starts_new_period
from streamsvc.rules.refusals.requests import ClockNotTrusted
from streamsvc.settings import current_settings
from streamsvc.storage.database import batching_session, db, new_id
from streamsvc.worker import jobs

FINALIZE_JOB = "invoice.finalize"


@dataclass(frozen=True)
class ComputedInvoice:
    """An invoice computed but not stored: a preview shows it, `create_invoice` stores it."""

    account: Account
    subscription: Subscription | None
    """None for a one-off charge by an operator."""
    currency: str
    lines: tuple
    discounts: tuple[Discount, ...]
    totals: Totals
    taxation: Taxation

    @property
    def reductions(self) -> Iterator[tuple[Coupon | None, str, int, TaxTerms]]:
        """Yield (coupon, line description, amount in minor units, tax terms) for each discount.

        The coupon is None for the tax of one rate taken out of tax-inclusive prices under reverse charge.
        """
        labels = invoice_labels(self.account.locale)
        by_id = {discount.id: discount.coupon for discount in self.discounts}
        for discount_id, amount_minor in self.totals.discounts:
            if coupon := by_id.get(discount_id):
                yield coupon, labels["coupon"].format(code=coupon.code), amount_minor, TaxTerms()
        for tax, amount_minor in self.totals.reverse_charges:
            yield None, labels["reverse_charge_discount"], amount_minor, tax

    @property
    def tax_breakdown(self) -> list[TaxedAmount]:
        """The net amount and the tax of each rate."""
        amounts = []
        for line, position in zip(self.lines, self.totals.positions, strict=True):
            tax, included = position.tax, position.tax_minor if position.tax.inclusive else 0
            rate_ppm, net_minor = 0 if tax.reversed else tax.rate_ppm, position.net_minor - included
            name = find_tax_name(self, line, tax)
            amounts.append(TaxedAmount(tax.category, name, rate_ppm, net_minor, position.tax_minor))
        return sum_by_rate(amounts)


def compute_invoice(
    account: Account,
    subscription: Subscription,
    lines: Iterable[Line],
    discounts: Iterable[Discount],
    account_credit_minor: int,
) -> ComputedInvoice:
    """Compute the invoice for these lines. `discounts`: the running ones, in the order in which they apply."""
    lines = tuple(lines)
    taxation = load_taxation(account)
    positions = [_compute_position(subscription, line, taxation, i) for i, line in enumerate(lines)]
    renews = any(line.kind == "charge" for line in lines)
    coupons = [_coupon_terms(discount, lines) for discount in discounts] if renews else []
    totals = compute_totals(positions, coupons, account_credit_minor)
    return ComputedInvoice(account, subscription, subscription.currency, lines, tuple(discounts), totals, taxation)


def _compute_position(subscription: Subscription, line: Line, taxation: Taxation, index: int) -> Position:
    if line.kind == "credit":
        return _compute_credit_position(subscription, line, index)
    price = load_price(line.price_id)
    tax = taxation.tax_for(price.tax == "inclusive", price.plan.tax_category)
    return Position(str(index), line.amount_minor, tax)


def _compute_credit_position(subscription: Subscription, line: Line, index: int) -> Position:
    """A credit returns tax in proportion to the amount credited, and all remaining tax with the last of the amount."""
    assert line.credited_identity is not None, "a credit names the line that it credits"
    original = find_line_by_identity(subscription.id, line.credited_identity)
    if original is None:  # credited before it was invoiced: in a preview of two steps at once
        return Position(str(index), line.amount_minor, TaxTerms())
    credited_net, credited_tax = credited_amounts(original.id)
    returned = tax_to_credit(original.tax_minor, original.net_minor, credited_net - line.amount_minor, credited_tax)
    tax = TaxTerms(original.tax_ppm, original.tax_inclusive, category=original.tax_category or STANDARD_CATEGORY)
    return Position(str(index), line.amount_minor, tax, tax_minor=-returned)


def find_tax_name(computed: ComputedInvoice, line: Any, tax: TaxTerms) -> str | None:
    """Return the name of the tax on a line; for a credit, the name on the invoice that it credits."""
    if credited_identity := getattr(line, "credited_identity", None):
        assert computed.subscription is not None, "only a subscription's lines are credited by lines"
        credited = find_line_by_identity(computed.subscription.id, credited_identity)
        if credited and credited.tax_name:
            return credited.tax_name
    return computed.taxation.name_of(tax.category)


def find_line_by_identity(subscription_id: str, identity: str) -> InvoiceLine | None:
    """Find the invoice line of a subscription that has this identity."""
    return db.session.scalar(
        sa.select(InvoiceLine).where(InvoiceLine.subscription_id == subscription_id, InvoiceLine.identity == identity)
    )


def credited_amounts(line_id: str) -> tuple[int, int]:
    """Return (net, tax), both positive, credited on a line so far by credit lines and credit notes.

    Credit lines of void invoices do not count.
    """
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


def _coupon_terms(discount: Discount, lines: Sequence[Line]) -> CouponTerms:
    coupon, position_keys = discount.coupon, None
    if coupon.plans is not None:
        plans = [load_price(line.price_id).plan.code for line in lines]
        position_keys = frozenset(str(i) for i, plan in enumerate(plans) if plan in coupon.plans)
    if coupon.amount_off_minor is None:
        return CouponTerms(discount.id, percent_ppm=coupon.percent_ppm, eligible_keys=position_keys)
    left_minor = coupon.amount_off_minor - (discount.used_minor if coupon.duration == "once" else 0)
    return CouponTerms(discount.id, remaining_minor=left_minor, eligible_keys=position_keys)


def create_invoice(
    computed: ComputedInvoice,
    reason: str,
    now: datetime,
    today: date,
    requires_payment: bool = False,
    review_until: datetime | None = None,
) -> Invoice:
    """Store and book a computed invoice, and apply account credit to it.

    `requires_payment`: the invoice is issued only once it is paid, and voided if the payment fails. `review_until`:
    an invoice with a positive total remains a draft until then. Raises ClockNotTrusted.
    """
    if clock.find_doubt():
        raise ClockNotTrusted
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
    apply_account_credit(invoice, totals.credit_applied_minor, now)
    if is_draft and review_until:
        schedule_finalization(invoice, review_until)
    elif not requires_payment or invoice.balance_minor == 0:
        issue_invoice(invoice, now)
    update_status(invoice, now)
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


def _create_lines(invoice: Invoice, computed: ComputedInvoice) -> None:
    rows = []
    for line, position in zip(computed.lines, computed.totals.positions, strict=True):
        name = find_tax_name(computed, line, position.tax)
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
    credited = line.credited_identity and find_line_by_identity(subscription.id, line.credited_identity)
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


def _count_period(discount: Discount, computed: ComputedInvoice, invoice: Invoice) -> None:
    """Count the period that the invoice bills, unless an earlier invoice of the same period counted it."""
    starts_period = starts_new_period((line.kind, line.item, line.cause, line.period.end) for line in computed.lines)
    starts = [line.period.start for line in computed.lines if (line.kind, line.item) == ("charge", BASE_ITEM)]
    current = computed.subscription.period_start if computed.subscription else None
    period = max(starts, default=current) if starts_period else current
    is_new = discount.counted_period is None or (period is not None and period > discount.counted_period)
    if starts_period or is_new:
        discount.periods_used += 1
        discount.counted_period, discount.counted_by = period, invoice.id


def _record_discount_use(computed: ComputedInvoice, invoice: Invoice, now: datetime) -> None:
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


def apply_account_credit(invoice: Invoice, amount_minor: int, now: datetime) -> None:
    """Pay `amount_minor` of an invoice from account credit."""
    if amount_minor <= 0:
        return
    ledger.post_journal("credit_applied", invoice, now, customer_credit=amount_minor, receivable=-amount_minor)
    invoice.credit_applied_minor += amount_minor
    invoice.balance_minor -= amount_minor


def issue_invoice(invoice: Invoice, now: datetime) -> None:
    """Issue the invoice: it becomes immutable and gets the next number. Issuing it again has no effect.

    An invoice over nothing gets no number, and so no documents and no event, unless a setting wants it.
    """
    if invoice.issued_at is not None:
        return
    invoice.issued_at = now
    if invoice.total_minor or invoice.tax_minor or current_settings().number_empty_invoices:
        batching_session().collect(_assign_numbers, (invoice, invoice_payload(invoice)))


def _assign_numbers(issued: list[tuple[Invoice, dict]]) -> None:
    """Assign gapless numbers in the invoices' own transaction.

    Done as late as possible, since taking a number blocks every other transaction that needs one.
    """
    by_series: dict[str, list] = {}
    for invoice, payload in issued:
        assert invoice.issued_at is not None, "a number is assigned to an issued invoice"
        series = invoice_series(*numbering_of(invoice), invoice.issued_at)
        by_series.setdefault(series, []).append((invoice, payload))
    for series, issued_in_series in sorted(by_series.items()):
        numbers = InvoiceNumber.allocate_block(series, len(issued_in_series))
        for (invoice, payload), number in zip(issued_in_series, numbers, strict=True):
            invoice.number = number
            publish_event("invoice.issued", invoice.account_id, invoice.issued_at, **payload | {"number": number})


def numbering_of(invoice: Invoice) -> tuple[str, str]:
    """Return the seller's number prefix and its time zone; of an invoice without a stored seller, the settings'."""
    seller = invoice.seller or {}
    settings = current_settings()
    return seller.get("prefix", settings.invoice_prefix), seller.get("time_zone") or settings.seller_time_zone


def invoice_payload(invoice: Invoice) -> dict:
    """Return the event payload for an invoice."""
    names = ("number", "subscription_id", "currency", "total_minor", "balance_minor", "status", "reason")
    return {"invoice_id": invoice.id, **{name: getattr(invoice, name) for name in names}}


def update_status(invoice: Invoice, now: datetime) -> None:
    """Set the invoice's status for its balance: the one place that marks it as paid, or as owed again.

    What refunds in flight are about to return counts as owed already. A paid invoice is out of dunning; one that is
    owed again enters it today. While a payment is disputed, the day of the first failure stays: however often the
    payer disputes, there is one grace period.
    """
    status = status_for_balance(invoice.status, invoice.balance_minor + _sum_refunds_in_flight(invoice))
    if status == "paid" and invoice.status != status:
        invoice.status, invoice.next_attempt_on = status, None
        if not any(payment.status == "disputed" for payment in invoice.payments):
            invoice.first_failed_on = None
    elif status == "open" and invoice.status != status:
        invoice.status = status
        debts.start_dunning(invoice, now)


def _sum_refunds_in_flight(invoice: Invoice) -> int:
    """Return what refunds that pay out a credit note are about to return to the payer."""
    if invoice.amount_paid_minor <= 0 or not any(payment.refunded_minor for payment in invoice.payments):
        return 0
    return Refund.sum_credited_in_flight(invoice.id)


def collect_reowed_amount(invoice: Invoice, now: datetime) -> None:
    """Collect what is owed again on an invoice because money went back to the payer.

    Account credit pays it first. The rest is dunned, or written off if the invoice is void or uncollectible.
    """
    update_status(invoice, now)
    if invoice.status == "open" and invoice.balance_minor > 0:
        debts.start_dunning(invoice, now)
        pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    elif invoice.balance_minor > 0:
        credit_minor = ledger.account_credit(invoice.account_id, invoice.currency)
        apply_account_credit(invoice, min(credit_minor, invoice.balance_minor), now)
        write_off_balance(invoice, now)


def credit_overpayment(invoice: Invoice, now: datetime) -> None:
    """Apply an overpayment to the amount written off on the invoice, and turn the rest into account credit.

    What refunds in flight are about to return to the payer is not overpaid.
    """
    if invoice.balance_minor >= 0:
        return
    _reverse_write_off(invoice, now)
    surplus = -invoice.balance_minor - _sum_refunds_in_flight(invoice)
    if surplus > 0:
        ledger.post_journal("credit", invoice, now, receivable=surplus, customer_credit=-surplus)
        invoice.balance_minor += surplus


def _reverse_write_off(invoice: Invoice, now: datetime) -> None:
    written_off = debts.written_off_amount(invoice)
    recovered = min(written_off, -invoice.balance_minor)
    if recovered <= 0:
        return
    ledger.post_journal("write_off", invoice, now, written_off=-recovered, receivable=recovered)
    invoice.balance_minor += recovered
    if recovered == written_off and invoice.status == "uncollectible":
        invoice.status = "paid"
        invoice.first_failed_on = None


def mark_uncollectible(invoice: Invoice, now: datetime) -> None:
    """Mark an open invoice as uncollectible and write off its balance. The customer can still pay it."""
    if invoice.status != "open":
        return
    write_off_balance(invoice, now)
    invoice.status, invoice.first_failed_on, invoice.next_attempt_on = "uncollectible", None, None


def write_off_balance(invoice: Invoice, now: datetime) -> None:
    """Write off the invoice's balance."""
    owed_minor = invoice.balance_minor
    ledger.post_journal("write_off", invoice, now, written_off=owed_minor, receivable=-owed_minor)
    invoice.balance_minor = 0


def pay_open_invoices_from_credit(account_id: str, currency: str, now: datetime) -> None:
    """Apply account credit to open invoices, oldest first, skipping those with a payment in flight."""
    credit = ledger.account_credit(account_id, currency)
    for invoice in Invoice.list_open(account_id) if credit > 0 else ():
        if credit <= 0:
            return
        if invoice.currency != currency or any(payment.is_in_flight for payment in invoice.payments):
            continue
        amount_minor = max(0, min(credit, invoice.balance_minor))
        apply_account_credit(invoice, amount_minor, now)
        credit -= amount_minor
        if invoice.balance_minor == 0:
            issue_invoice(invoice, now)
        update_status(invoice, now)
