"""Invariants of the books: each check yields the places where two values that must agree do not.

Money checks query the database in one statement per invariant; subscription histories are replayed. Both kinds can be
limited to one account.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc import clock
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
from streamsvc.operations.billing.books.paid_access import find_unpaid_access
from streamsvc.operations.billing.core import event_store, items
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.facts import Facts
from streamsvc.rules.billing.lines import replay_timeline
from streamsvc.storage.database import db, fetch_all

ENTRY_AMOUNT = LedgerEntry.amount_minor
CHECK_BATCH_SIZE = 500
"""How many subscriptions are loaded at a time."""
LINE_INVOICED_ON_TIME = "a due line is invoiced"
"""A failure of this check only means that processing is late: billing corrects it, so it causes no hold."""
ROW_MATCHES_HISTORY = "the row matches the history"
ACCESS_IS_PAID_FOR = "access today is paid for"
"""A check of a rule, which causes no hold."""


class Difference(NamedTuple):
    """A failed check: the expected and the stored value. `subject` is the id of the row, `account_id` its owner."""

    check: str
    subject: str
    expected: object
    found: object
    account_id: str | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: expected {self.expected}, found {self.found}"


def check_books(account_id: str | None = None) -> Iterator[Difference]:
    """Run all money checks for one account, or for all."""
    for check in (
        check_journals,
        check_invoice_totals,
        check_invoice_balances,
        check_payment_cash,
        check_credit_limits,
    ):
        yield from check(account_id)


def of_account(query: sa.Select, column: Any, account_id: str | None) -> sa.Select:
    """Limit the query to one account, unless `account_id` is None."""
    return query if account_id is None else query.where(column == account_id)


def check_journals(account_id: str | None = None) -> Iterator[Difference]:
    """Check that every journal sums to zero."""
    columns = (LedgerEntry.journal_id, LedgerEntry.account_id)
    sums = of_account(sa.select(*columns, sa.func.sum(ENTRY_AMOUNT)), LedgerEntry.account_id, account_id)
    for journal_id, owner_id, amount_minor in fetch_all(sums.group_by(*columns).having(sa.func.sum(ENTRY_AMOUNT) != 0)):
        yield Difference("journal sums to zero", journal_id, 0, int(amount_minor), owner_id)


def check_invoice_totals(account_id: str | None = None) -> Iterator[Difference]:
    """Check that the lines of each invoice add up to its totals."""
    exclusive_tax = sa.case((InvoiceLine.tax_inclusive, 0), else_=InvoiceLine.tax_minor)
    stored = (Invoice.total_minor, Invoice.tax_minor, Invoice.discount_minor)
    sums = (
        sa.func.sum(InvoiceLine.amount_minor + exclusive_tax),
        sa.func.sum(InvoiceLine.tax_minor),
        sa.func.sum(InvoiceLine.discount_minor),
    )
    rows = sa.select(Invoice.id, Invoice.account_id, *stored, *sums).join(
        InvoiceLine, InvoiceLine.invoice_id == Invoice.id
    )
    differs = sa.or_(*(column != line_sum for column, line_sum in zip(stored, sums, strict=True)))
    for invoice_id, owner_id, *amounts in fetch_all(
        of_account(rows, Invoice.account_id, account_id).group_by(Invoice.id).having(differs)
    ):
        stored_minor, summed_minor = tuple(amounts[:3]), tuple(map(int, amounts[3:]))
        yield Difference("lines add up to the invoice", invoice_id, stored_minor, summed_minor, owner_id)


def check_invoice_balances(account_id: str | None = None) -> Iterator[Difference]:
    """Check that each invoice's balance matches its receivables, and that only drafts and open invoices have one.

    Invoices with a refund in flight are skipped.
    """
    receivable = sa.func.coalesce(sa.func.sum(ENTRY_AMOUNT), 0)
    is_receivable = sa.and_(LedgerEntry.invoice_id == Invoice.id, LedgerEntry.book == "receivable")
    refunds_in_flight = sa.select(Refund.invoice_id).where(Refund.status.in_(("pending", "unknown")))
    rows = (
        of_account(
            sa.select(Invoice.id, Invoice.account_id, Invoice.balance_minor, receivable), Invoice.account_id, account_id
        )
        .outerjoin(LedgerEntry, is_receivable)
        .where(Invoice.id.not_in(refunds_in_flight))
        .group_by(Invoice.id)
        .having(receivable != Invoice.balance_minor)
    )
    for invoice_id, owner_id, balance_minor, receivable_minor in fetch_all(rows):
        yield Difference(
            "invoice balance matches the ledger", invoice_id, int(receivable_minor), balance_minor, owner_id
        )
    is_inconsistent = sa.or_(
        sa.and_(Invoice.status == "open", Invoice.balance_minor <= 0),
        sa.and_(Invoice.status.not_in(("draft", "open")), Invoice.balance_minor > 0),
    )
    statement = sa.select(Invoice.id, Invoice.status, Invoice.balance_minor, Invoice.account_id)
    statement = of_account(statement, Invoice.account_id, account_id).where(
        is_inconsistent, Invoice.id.not_in(refunds_in_flight)
    )
    for row in fetch_all(statement):
        yield Difference("invoice status matches its balance", *row)


def check_payment_cash(account_id: str | None = None) -> Iterator[Difference]:
    """Check that each payment's cash in the ledger is its amount less refunds and disputes.

    A refund of a payout is booked when it is recorded, and taken back if it fails.
    """
    is_successful, zero = Payment.status.in_(("succeeded", "disputed")), sa.literal(0)
    kept_minor = sa.case((is_successful, Payment.amount_minor - Payment.disputed_minor), else_=0)
    received = sa.select(Payment.id.label("payment"), Payment.account_id, kept_minor.label("kept"), zero.label("cash"))
    refunded = sa.select(Payment.id, Payment.account_id, -Refund.amount_minor, zero)
    is_booked = sa.or_(
        Refund.status == "succeeded",
        sa.and_(Refund.payout_id.is_not(None), Refund.status.in_(("pending", "unknown"))),
    )
    refunded = refunded.join(Refund, Refund.payment_id == Payment.id).where(is_successful, is_booked)
    posted = sa.select(LedgerEntry.payment_id, LedgerEntry.account_id, zero, ENTRY_AMOUNT)
    posted = posted.where(LedgerEntry.book == "cash", LedgerEntry.payment_id.is_not(None))
    columns = (Payment.account_id, Payment.account_id, LedgerEntry.account_id)
    parts = (
        of_account(part, column, account_id) for part, column in zip((received, refunded, posted), columns, strict=True)
    )
    union = sa.union_all(*parts).subquery().c
    sums, keys = (sa.func.sum(union.kept), sa.func.sum(union.cash)), (union.payment, union.account_id)
    for payment_id, owner_id, kept_minor, cash_minor in fetch_all(
        sa.select(*keys, *sums).group_by(*keys).having(sums[0] != sums[1])
    ):
        yield Difference("payment cash matches the ledger", payment_id, int(kept_minor), int(cash_minor), owner_id)


def check_credit_limits(account_id: str | None = None) -> Iterator[Difference]:
    """Check that no line is credited beyond its net amount, and that no account's credit is negative."""
    credits = sa.union_all(
        sa.select(InvoiceLine.credits_line_id.label("line_id"), (-InvoiceLine.amount_minor).label("amount"))
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.credits_line_id.is_not(None), Invoice.status != "void"),
        sa.select(CreditNoteLine.line_id, CreditNoteLine.net_minor),
    ).subquery()
    credited_lines = (
        sa.select(credits.c.line_id, sa.func.sum(credits.c.amount).label("amount"))
        .group_by(credits.c.line_id)
        .subquery()
    )
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor
    rows = sa.select(InvoiceLine.id, net, credited_lines.c.amount, Invoice.account_id)
    rows = rows.join(credited_lines, credited_lines.c.line_id == InvoiceLine.id).join(
        Invoice, Invoice.id == InvoiceLine.invoice_id
    )
    for line_id, net_minor, credited_minor, owner_id in fetch_all(
        of_account(rows, Invoice.account_id, account_id).where(credited_lines.c.amount > net)
    ):
        yield Difference("a line is not credited beyond its amount", line_id, net_minor, int(credited_minor), owner_id)
    balances = (
        of_account(sa.select(LedgerEntry.account_id, sa.func.sum(ENTRY_AMOUNT)), LedgerEntry.account_id, account_id)
        .where(LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.account_id, LedgerEntry.currency)
    )
    for account, balance_minor in fetch_all(balances.having(sa.func.sum(ENTRY_AMOUNT) > 0)):
        yield Difference("account credit is not negative", account, 0, -int(balance_minor), account)


def check_numbers() -> Iterator[Difference]:
    """Check that each number series has every number from 1 to its last.

    Numbers are unique, so counting them is enough; one outside that range makes the count too high. It is a single
    statement because numbers are taken concurrently.
    """
    series, last = InvoiceNumber.series, InvoiceNumber.last

    def count_in(column: Any) -> sa.ScalarSelect[int]:
        position = sa.cast(sa.func.substr(column, sa.func.length(series) + 2), sa.Integer)
        count = sa.func.coalesce(sa.func.sum(sa.case((position.between(1, last), 1), else_=last + 1)), 0)
        return sa.select(count).where(column.startswith(series + "-")).correlate(InvoiceNumber).scalar_subquery()

    counted_numbers = count_in(Invoice.number) + count_in(CreditNote.number)  # a series may be shared by both
    for series_name, last_number, count in fetch_all(
        sa.select(series, last, counted_numbers).where(counted_numbers != last)
    ):
        yield Difference("numbers have no gap", series_name, last_number, int(count))


def check_subscriptions(
    now: datetime, account_id: str | None = None
) -> Iterator[tuple[Subscription, list[Difference]]]:
    """Yield each subscription with its differences: replayed history against invoiced lines and stored dates."""
    statement = of_account(sa.select(Subscription), Subscription.account_id, account_id)
    statement = statement.order_by(Subscription.id).limit(CHECK_BATCH_SIZE)
    subscriptions = db.session.scalars(statement).all()
    while subscriptions:
        prices = db.session.scalars(
            sa.select(Price)
        ).all()  # referenced here, so that the session loads each price once
        subscription_ids = [subscription.id for subscription in subscriptions]
        facts = event_store.load_facts_by_subscription(subscription_ids)
        invoiced = _load_invoiced_lines(subscription_ids)
        for subscription in subscriptions:
            time = clock.account_now(subscription.account_id, now)
            differences = check_subscription(subscription, facts[subscription.id], invoiced[subscription.id], time)
            yield subscription, list(differences)
        del prices
        subscriptions = db.session.scalars(statement.where(Subscription.id > subscription_ids[-1])).all()


def _load_invoiced_lines(subscription_ids: list[str]) -> dict[str, list]:
    """Load every invoiced line with what is known of its invoice, by subscription id."""
    lines: dict[str, list] = {subscription_id: [] for subscription_id in subscription_ids}
    line_columns = (InvoiceLine.subscription_id, InvoiceLine.identity, InvoiceLine.amount_minor, InvoiceLine.cause)
    payment_columns = (Invoice.balance_minor, Invoice.currency, Invoice.first_failed_on)
    rows: sa.Select = (
        sa.select(*line_columns, Invoice.status, Invoice.issued_at, *payment_columns)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.subscription_id.in_(subscription_ids), InvoiceLine.identity.is_not(None))
    )
    for line in db.session.execute(rows):
        lines[line.subscription_id].append(line)
    return lines


def check_subscription(subscription: Subscription, facts: Facts, invoiced: list, now: datetime) -> Iterator[Difference]:
    """Yield the differences between a subscription's replayed history and its invoiced lines and row."""
    timeline = replay_timeline(facts, civil_day(now, subscription.time_zone))
    lines, account_id = {line.identity: line for line in timeline.lines}, subscription.account_id
    for invoiced_line in invoiced:
        identity, amount = invoiced_line.identity, invoiced_line.amount_minor
        line = lines.pop(identity, None)
        if line is None and invoiced_line.status != "void":
            yield Difference(
                "an invoiced line is in the history", f"{subscription.id} {identity}", None, amount, account_id
            )
        elif line and line.amount_minor != amount:
            subject = f"{subscription.id} {identity}"
            yield Difference("a line's amount matches the history", subject, line.amount_minor, amount, account_id)
    late_since = civil_day(now - timedelta(days=2), subscription.time_zone)
    for line in lines.values():
        if (
            line.bill_on <= late_since
            and subscription.status not in ("canceled", "incomplete")
            and not subscription.billing_held_at
        ):
            yield Difference(
                LINE_INVOICED_ON_TIME, f"{subscription.id} {line.identity}", line.amount_minor, None, account_id
            )
    if subscription.status not in ("canceled", "incomplete") and subscription.due_at and subscription.due_at > now:
        waiting = {line.cause for line in invoiced if line.status == "open" and not line.issued_at}
        if waiting:  # changes that are not paid for yet
            timeline = replay_timeline(facts.without_events(waiting), civil_day(now, subscription.time_zone))
        stored = (subscription.price_id, subscription.period_start, subscription.period_end)
        expected = (
            timeline.price.id,
            timeline.period and timeline.period.start,
            timeline.period and timeline.period.end,
        )
        if stored != expected:
            yield Difference(ROW_MATCHES_HISTORY, subscription.id, expected, stored, account_id)
        addons = items.addon_rows(timeline)
        if subscription.addons is not None and subscription.addons != addons:
            yield Difference(ROW_MATCHES_HISTORY, subscription.id, addons, subscription.addons, account_id)
        if unpaid := find_unpaid_access(subscription, facts, timeline, invoiced, now):
            yield Difference(ACCESS_IS_PAID_FOR, subscription.id, *unpaid, account_id)
