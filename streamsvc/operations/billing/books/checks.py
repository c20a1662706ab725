"""What must be true of the books: each check finds where two things that should agree do not.

Money is asked of the database in one statement a check, lives are replayed; both can be asked of one account alone.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

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
from streamsvc.operations.billing.core import event_store
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.facts import Facts
from streamsvc.rules.billing.lines import replay
from streamsvc.storage.database import db, fetch_all

ENTRY_AMOUNT = LedgerEntry.amount_minor
CHECK_BATCH_SIZE = 500
"""Subscriptions that are read together; no more of them are ever held."""
LINE_INVOICED_ON_TIME = "a line that fell due is invoiced"
"""Somebody was slow; that is mended by billing it, not by parking it."""
ROW_MATCHES_HISTORY = "the row shows its history"


class Difference(NamedTuple):
    """What should be and what is; `subject` is the id of the row it is about, `account_id` whose it is."""

    check: str
    subject: str
    expected: object
    found: object
    account_id: str | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: expected {self.expected}, found {self.found}"


def check_books(account_id: str | None = None) -> Iterator[Difference]:
    """What is wrong with the money of one account, or of all."""
    for check in (
        check_journals,
        check_invoice_totals,
        check_invoice_balances,
        check_payment_cash,
        check_credit_limits,
    ):
        yield from check(account_id)


def _of_account(query: sa.Select, column, account_id: str | None) -> sa.Select:
    return query if account_id is None else query.where(column == account_id)


def check_journals(account_id: str | None = None) -> Iterator[Difference]:
    """Every journal sums to zero."""
    of = (LedgerEntry.journal_id, LedgerEntry.account_id)
    sums = _of_account(sa.select(*of, sa.func.sum(ENTRY_AMOUNT)), LedgerEntry.account_id, account_id)
    for journal, owner, amount in fetch_all(sums.group_by(*of).having(sa.func.sum(ENTRY_AMOUNT) != 0)):
        yield Difference("journal sums to zero", journal, 0, int(amount), owner)


def check_invoice_totals(account_id: str | None = None) -> Iterator[Difference]:
    """The lines of an invoice add up to its totals."""
    on_top = sa.case((InvoiceLine.tax_inclusive, 0), else_=InvoiceLine.tax_minor)
    told = (Invoice.total_minor, Invoice.tax_minor, Invoice.discount_minor)
    sums = (
        sa.func.sum(InvoiceLine.amount_minor + on_top),
        sa.func.sum(InvoiceLine.tax_minor),
        sa.func.sum(InvoiceLine.discount_minor),
    )
    rows = sa.select(Invoice.id, Invoice.account_id, *told, *sums).join(
        InvoiceLine, InvoiceLine.invoice_id == Invoice.id
    )
    differs = sa.or_(*(one != other for one, other in zip(told, sums, strict=True)))
    for invoice, owner, *amounts in fetch_all(
        _of_account(rows, Invoice.account_id, account_id).group_by(Invoice.id).having(differs)
    ):
        told_minor, found_minor = tuple(amounts[:3]), tuple(map(int, amounts[3:]))
        yield Difference("lines add up to the invoice", invoice, told_minor, found_minor, owner)


def check_invoice_balances(account_id: str | None = None) -> Iterator[Difference]:
    """What is owed on an invoice is its side of the receivables; what is not open owes nothing."""
    owed = sa.func.coalesce(sa.func.sum(ENTRY_AMOUNT), 0)
    mine = sa.and_(LedgerEntry.invoice_id == Invoice.id, LedgerEntry.book == "receivable")
    refunding = sa.select(Refund.invoice_id).where(Refund.status.in_(("pending", "unknown")))
    rows = (
        _of_account(
            sa.select(Invoice.id, Invoice.account_id, Invoice.balance_minor, owed), Invoice.account_id, account_id
        )
        .outerjoin(LedgerEntry, mine)
        .where(Invoice.id.not_in(refunding))
        .group_by(Invoice.id)
        .having(owed != Invoice.balance_minor)
    )
    for invoice, owner, balance, amount in fetch_all(rows):
        yield Difference("the invoice's balance is the ledger's", invoice, int(amount), balance, owner)
    wrong = sa.or_(
        sa.and_(Invoice.status == "open", Invoice.balance_minor <= 0),
        sa.and_(Invoice.status.not_in(("draft", "open")), Invoice.balance_minor > 0),
    )
    states = sa.select(Invoice.id, Invoice.status, Invoice.balance_minor, Invoice.account_id)
    states = _of_account(states, Invoice.account_id, account_id).where(wrong, Invoice.id.not_in(refunding))
    for row in fetch_all(states):
        yield Difference("an open invoice is owed, another is not", *row)


def check_payment_cash(account_id: str | None = None) -> Iterator[Difference]:
    """The cash of an account is what its payments brought less what refunds and disputes took."""
    came, nothing = Payment.status.in_(("succeeded", "disputed")), sa.literal(0)
    paid = sa.case((came, Payment.amount_minor - Payment.disputed_minor), else_=0)
    brought = sa.select(Payment.id.label("payment"), Payment.account_id, paid.label("kept"), nothing.label("cash"))
    taken = sa.select(Payment.id, Payment.account_id, -Refund.amount_minor, nothing)
    taken = taken.join(Refund, Refund.payment_id == Payment.id).where(came, Refund.status == "succeeded")
    booked = sa.select(LedgerEntry.payment_id, LedgerEntry.account_id, nothing, ENTRY_AMOUNT)
    booked = booked.where(LedgerEntry.book == "cash", LedgerEntry.payment_id.is_not(None))
    columns = (Payment.account_id, Payment.account_id, LedgerEntry.account_id)
    parts = (
        _of_account(part, column, account_id) for part, column in zip((brought, taken, booked), columns, strict=True)
    )
    both = sa.union_all(*parts).subquery().c
    sums, of = (sa.func.sum(both.kept), sa.func.sum(both.cash)), (both.payment, both.account_id)
    for payment, owner, *found in fetch_all(sa.select(*of, *sums).group_by(*of).having(sums[0] != sums[1])):
        yield Difference("the payment's cash is the ledger's", payment, *map(int, found), owner)


def check_credit_limits(account_id: str | None = None) -> Iterator[Difference]:
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
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor
    rows = sa.select(InvoiceLine.id, net, credited.c.amount, Invoice.account_id)
    rows = rows.join(credited, credited.c.line_id == InvoiceLine.id).join(Invoice, Invoice.id == InvoiceLine.invoice_id)
    for line, most, amount, owner in fetch_all(
        _of_account(rows, Invoice.account_id, account_id).where(credited.c.amount > net)
    ):
        yield Difference("a line is given back at most once", line, most, int(amount), owner)
    balances = (
        _of_account(sa.select(LedgerEntry.account_id, sa.func.sum(ENTRY_AMOUNT)), LedgerEntry.account_id, account_id)
        .where(LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.account_id, LedgerEntry.currency)
    )
    for account, owed in fetch_all(balances.having(sa.func.sum(ENTRY_AMOUNT) > 0)):
        yield Difference("an account's credit is never negative", account, 0, -int(owed), account)


def check_numbers() -> Iterator[Difference]:
    """Each series has every number from 1 to its last once: they are unique, so it is enough to count them. One that
    lies outside counts as too many. One statement, since numbers are taken all the time."""
    series, last = InvoiceNumber.series, InvoiceNumber.last

    def counted(column):
        place = sa.cast(sa.func.substr(column, sa.func.length(series) + 2), sa.Integer)
        count = sa.func.coalesce(sa.func.sum(sa.case((place.between(1, last), 1), else_=last + 1)), 0)
        return sa.select(count).where(column.startswith(series + "-")).correlate(InvoiceNumber).scalar_subquery()

    found = sa.case((series.startswith("CN-"), counted(CreditNote.number)), else_=counted(Invoice.number))
    for name, most, count in fetch_all(sa.select(series, last, found).where(found != last)):
        yield Difference("numbers have no gap", name, most, int(count))


def check_subscriptions(
    now: datetime, account_id: str | None = None
) -> Iterator[tuple[Subscription, list[Difference]]]:
    """Each subscription, and where its history, replayed, does not give the lines that are invoiced, or the dates
    that are shown."""
    following = _of_account(sa.select(Subscription), Subscription.account_id, account_id)
    following = following.order_by(Subscription.id).limit(CHECK_BATCH_SIZE)
    some = db.session.scalars(following).all()
    while some:
        prices = db.session.scalars(sa.select(Price)).all()  # held here, so that each is read once
        ids = [row.id for row in some]
        facts, invoiced = event_store.load_facts_by_subscription(ids), _load_invoiced_lines(ids)
        for row in some:
            yield row, list(check_subscription(row, facts[row.id], invoiced[row.id], now))
        del prices
        some = db.session.scalars(following.where(Subscription.id > ids[-1])).all()


def _load_invoiced_lines(subscription_ids: list[str]) -> dict[str, list]:
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


def check_subscription(subscription: Subscription, facts: Facts, invoiced: list, now: datetime) -> Iterator[Difference]:
    """Where one subscription is not what its history asks for."""
    timeline = replay(facts, civil_day(now, subscription.time_zone))
    lines, whose = {line.identity: line for line in timeline.lines}, subscription.account_id
    for identity, amount, status in invoiced:
        line = lines.pop(identity, None)
        if line is None and status != "void":
            yield Difference("a line has its reason", f"{subscription.id} {identity}", None, amount, whose)
        elif line and line.amount_minor != amount:
            told = f"{subscription.id} {identity}", line.amount_minor, amount
            yield Difference("a line is what it should be", *told, whose)
    late = civil_day(now - timedelta(days=2), subscription.time_zone)
    for line in lines.values():
        if (
            line.bill_on <= late
            and subscription.status not in ("canceled", "incomplete")
            and not subscription.parked_at
        ):
            yield Difference(
                LINE_INVOICED_ON_TIME, f"{subscription.id} {line.identity}", line.amount_minor, None, whose
            )
    if subscription.status not in ("canceled", "incomplete") and subscription.due_at and subscription.due_at > now:
        shown = (subscription.price_id, subscription.period_start, subscription.period_end)
        told = (timeline.price.id, timeline.period and timeline.period.start, timeline.period and timeline.period.end)
        if shown != told:
            yield Difference(ROW_MATCHES_HISTORY, subscription.id, told, shown, whose)
