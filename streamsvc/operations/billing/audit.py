"""Everything recomputed from what happened, and compared with what is written: the books must agree with themselves.

A difference parks the subscription: it is reported and never billed on until somebody looked.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from streamsvc import jobs
from streamsvc.database import db
from streamsvc.models.subscriptions import (
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    LedgerEntry,
    Payment,
    Price,
    Refund,
    Subscription,
)
from streamsvc.operations.billing import history, standing
from streamsvc.operations.sandbox import is_moving
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.facts import Facts
from streamsvc.rules.billing.lines import replay

AMOUNT = LedgerEntry.amount_minor
PATIENCE = timedelta(hours=1)
AT_ONCE = 500
"""Subscriptions that are read together; no more of them are ever held."""
LATE = "a line that fell due is invoiced"
"""Somebody was slow; that is mended by billing it, not by parking it."""


class Difference(NamedTuple):
    """What should be and what is; `subject` is the id of the row it is about."""

    check: str
    subject: str
    expected: object
    found: object


def audit(now: datetime) -> list[Difference]:
    """Every difference there is; none is the only good answer."""
    checks = (journals, invoices_add_up, invoices_and_ledger, payments_and_ledger, credits_are_bounded, numbers)
    found = [difference for check in checks for difference in check()]
    return found + list(lives(now))


def journals() -> Iterator[Difference]:
    """Every journal sums to zero."""
    wrong = sa.select(LedgerEntry.journal_id, sa.func.sum(AMOUNT)).group_by(LedgerEntry.journal_id)
    for journal, amount in db.session.execute(wrong.having(sa.func.sum(AMOUNT) != 0)):
        yield Difference("journal sums to zero", journal, 0, int(amount))


def invoices_add_up() -> Iterator[Difference]:
    """The lines of an invoice add up to its totals."""
    on_top = sa.case((InvoiceLine.tax_inclusive, 0), else_=InvoiceLine.tax_minor)
    told = (Invoice.total_minor, Invoice.tax_minor, Invoice.discount_minor)
    sums = (
        sa.func.sum(InvoiceLine.amount_minor + on_top),
        sa.func.sum(InvoiceLine.tax_minor),
        sa.func.sum(InvoiceLine.discount_minor),
    )
    rows = sa.select(Invoice.id, *told, *sums).join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
    differs = sa.or_(*(one != other for one, other in zip(told, sums, strict=True)))
    for invoice, *amounts in db.session.execute(rows.group_by(Invoice.id).having(differs)):
        yield Difference("lines add up to the invoice", invoice, tuple(amounts[:3]), tuple(map(int, amounts[3:])))


def invoices_and_ledger() -> Iterator[Difference]:
    """What is owed on an invoice is its side of the receivables; what is not open owes nothing."""
    owed = sa.func.coalesce(sa.func.sum(AMOUNT), 0)
    mine = sa.and_(LedgerEntry.invoice_id == Invoice.id, LedgerEntry.book == "receivable")
    refunding = sa.select(Refund.invoice_id).where(Refund.status.in_(("pending", "unknown")))
    rows = (
        sa.select(Invoice.id, Invoice.balance_minor, owed)
        .outerjoin(LedgerEntry, mine)
        .where(Invoice.id.not_in(refunding))
        .group_by(Invoice.id)
        .having(owed != Invoice.balance_minor)
    )
    for invoice, balance, amount in db.session.execute(rows):
        yield Difference("the invoice's balance is the ledger's", invoice, int(amount), balance)
    wrong = sa.or_(
        sa.and_(Invoice.status == "open", Invoice.balance_minor <= 0),
        sa.and_(Invoice.status.not_in(("draft", "open")), Invoice.balance_minor > 0),
    )
    states = sa.select(Invoice.id, Invoice.status, Invoice.balance_minor).where(wrong, Invoice.id.not_in(refunding))
    for row in db.session.execute(states):
        yield Difference("an open invoice is owed, another is not", *row)


def payments_and_ledger() -> Iterator[Difference]:
    """The cash of an account is what its payments brought less what refunds and disputes took."""
    came = Payment.status.in_(("succeeded", "disputed"))
    paid = sa.case((came, Payment.amount_minor - Payment.disputed_minor), else_=0)
    brought = sa.select(Payment.id.label("payment"), paid.label("kept"), sa.literal(0).label("cash"))
    taken = sa.select(Payment.id, -Refund.amount_minor, sa.literal(0)).join(Refund, Refund.payment_id == Payment.id)
    taken = taken.where(came, Refund.status == "succeeded")
    booked = sa.select(LedgerEntry.payment_id, sa.literal(0), AMOUNT)
    booked = booked.where(LedgerEntry.book == "cash", LedgerEntry.payment_id.is_not(None))
    both = sa.union_all(brought, taken, booked).subquery().c
    sums = (sa.func.sum(both.kept), sa.func.sum(both.cash))
    for row in db.session.execute(sa.select(both.payment, *sums).group_by(both.payment).having(sums[0] != sums[1])):
        yield Difference("the payment's cash is the ledger's", row[0], int(row[1]), int(row[2]))


def credits_are_bounded() -> Iterator[Difference]:
    """No line is given back more than once, and no account has less than no credit."""
    taken = sa.union_all(
        sa.select(InvoiceLine.credits_line_id.label("line_id"), (-InvoiceLine.amount_minor).label("amount"))
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.credits_line_id.is_not(None), Invoice.status != "void"),
        sa.select(CreditNoteLine.line_id, CreditNoteLine.net_minor),
    ).subquery()
    credited = (
        sa.select(taken.c.line_id, sa.func.sum(taken.c.amount).label("amount")).group_by(taken.c.line_id).subquery()
    )
    rows = sa.select(InvoiceLine.id, InvoiceLine.amount_minor - InvoiceLine.discount_minor, credited.c.amount)
    for line, net, amount in db.session.execute(rows.join(credited, credited.c.line_id == InvoiceLine.id)):
        if amount > net:
            yield Difference("a line is given back at most once", line, net, int(amount))
    balances = (
        sa.select(LedgerEntry.account_id, sa.func.sum(AMOUNT))
        .where(LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.account_id, LedgerEntry.currency)
    )
    for account, owed in db.session.execute(balances.having(sa.func.sum(AMOUNT) > 0)):
        yield Difference("an account's credit is never negative", account, 0, -int(owed))


def numbers() -> Iterator[Difference]:
    """Each series of numbers has every number once: they are unique, so it is enough to count them."""
    for series, last in db.session.execute(sa.select(InvoiceNumber.series, InvoiceNumber.last)).all():
        column = CreditNote.number if series.startswith("CN-") else Invoice.number
        place = sa.cast(sa.func.substr(column, len(series) + 2), sa.Integer)
        mine = sa.select(sa.func.count(), sa.func.max(place)).where(column.startswith(f"{series}-", autoescape=True))
        if (found := tuple(db.session.execute(mine).one())) != (last, last):
            yield Difference("numbers have no gap", series, (last, last), found)


def lives(now: datetime) -> Iterator[Difference]:
    """Each subscription's history, replayed, gives the lines that are invoiced, and the dates that are shown."""
    prices = db.session.scalars(sa.select(Price)).all()  # held here, so that each is read once
    following = sa.select(Subscription).order_by(Subscription.id).limit(AT_ONCE)
    some = db.session.scalars(following).all()
    while prices and some:
        ids = [row.id for row in some]
        facts, invoiced = history.facts_of_all(ids), _invoiced(ids)
        for row in some:
            differences = list(life(row, facts[row.id], invoiced[row.id], now))
            wrong = [one for one in differences if one.check != LATE]
            if wrong and row.parked_at is None:
                park(row, str(wrong[0]), now)
            yield from differences
        some = db.session.scalars(following.where(Subscription.id > ids[-1])).all()


def _invoiced(subscription_ids: list[str]) -> dict[str, list]:
    """(identity, amount, the invoice's status) of every line of a subscription."""
    found: dict[str, list] = {one: [] for one in subscription_ids}
    rows = (
        sa.select(InvoiceLine.subscription_id, InvoiceLine.identity, InvoiceLine.amount_minor, Invoice.status)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.subscription_id.in_(subscription_ids), InvoiceLine.identity.is_not(None))
    )
    for subscription_id, *line in db.session.execute(rows):
        found[subscription_id].append(line)
    return found


def life(row: Subscription, facts: Facts, invoiced: list, now: datetime) -> Iterator[Difference]:
    timeline = replay(facts, civil_day(now, row.time_zone))
    lines = {line.identity: line for line in timeline.lines}
    for identity, amount, status in invoiced:
        line = lines.pop(identity, None)
        if line is None and status != "void":
            yield Difference("a line has its reason", f"{row.id} {identity}", None, amount)
        elif line and line.amount_minor != amount:
            yield Difference("a line is what it should be", f"{row.id} {identity}", line.amount_minor, amount)
    late = civil_day(now - timedelta(days=2), row.time_zone)
    for line in lines.values():
        if line.bill_on <= late and row.status not in ("canceled", "incomplete") and not row.parked_at:
            yield Difference(LATE, f"{row.id} {line.identity}", line.amount_minor, None)
    if row.status not in ("canceled", "incomplete") and row.due_at and row.due_at > now:
        shown = (row.price_id, row.period_start, row.period_end)
        told = (timeline.price.id, timeline.period and timeline.period.start, timeline.period and timeline.period.end)
        if shown != told:
            yield Difference("the row shows its history", row.id, told, shown)


def park(row: Subscription, reason: str, now: datetime) -> None:
    """Bill it no more until somebody looked."""
    row.parked_at, row.parked_reason = now, reason[:500]


@jobs.recurring("billing.audit", timedelta(days=1))
def audit_daily(payload: dict, now: datetime) -> None:
    """Once a day; differences go to the log, and park what they are about. Not for each day the sandbox skips."""
    if is_moving():
        return
    for difference in audit(now):
        jobs.log.error("billing audit: %s", difference)
    for subscription_id in left_behind(now):
        jobs.enqueue(standing.JOB, {"subscription_id": subscription_id}, now, f"{subscription_id} left behind {now:%F}")


def left_behind(now: datetime) -> list[str]:
    """Subscriptions that were due long ago: their job was given up, and is taken up again."""
    late = sa.select(Subscription.id).where(Subscription.due_at < now - PATIENCE, Subscription.parked_at.is_(None))
    return list(db.session.scalars(late.order_by(Subscription.due_at)))
