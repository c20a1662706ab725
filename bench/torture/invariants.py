"""What must be true after every phase, whatever was broken: the database against what clients and provider know.

Every invariant is a function of one connection, so that `find_planted` can corrupt a row in a transaction, see that the
invariant notices, and roll the corruption back.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import sqlalchemy as sa

from bench.torture.clients import Journal, request
from bench.torture.core import Check, Context
from bench.torture.world import MAX_STREAMS, World
from streamsvc.models import Account, AuditEvent, Job, Session, Stream
from streamsvc.models.subscriptions import CreditNote, Invoice, InvoiceLine, LedgerEntry, Payment, Refund
from streamsvc.operations.billing.books.audit import audit_billing
from streamsvc.operations.billing.core.aggregate import DUE_JOB
from streamsvc.operations.outbox.audit import GENESIS, hash_details, hash_event
from streamsvc.storage.database import db
from tests.worlds.stripe_server import StripeState

SETTLE_TIMEOUT_S, PLANTED_TIMEOUT_S = 100, 8
RETRIED_WITHIN = timedelta(minutes=1)
"""When a renewal whose first attempts failed is tried again, at the latest."""
PAID = ("succeeded", "disputed")
IN_FLIGHT = ("pending", "unknown")


@dataclass
class Known:
    """What is known outside the database: the responses that clients got, and the payment provider's own journal."""

    journal: Journal
    stripe: StripeState


Invariant = Callable[[sa.Connection, Known], Iterator[str]]


def ledger_matches_invoices(connection: sa.Connection, known: Known) -> Iterator[str]:
    """Revenue and tax booked = issued invoices - credit notes; each journal sums to zero."""
    earned = sa.select(sa.func.coalesce(-sa.func.sum(LedgerEntry.amount_minor), 0))
    booked = connection.scalar(earned.where(LedgerEntry.book.in_(("revenue", "tax"))))
    issued = sa.select(sa.func.coalesce(sa.func.sum(Invoice.total_minor), 0))
    invoiced = connection.scalar(issued.where(Invoice.status.not_in(("draft", "void"))))
    credited = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(CreditNote.total_minor), 0)))
    if booked != invoiced - credited:
        yield f"the ledger has {booked}, the invoices {invoiced} less {credited} credited"
    unbalanced = sa.select(LedgerEntry.journal_id).group_by(LedgerEntry.journal_id)
    for row in connection.execute(unbalanced.having(sa.func.sum(LedgerEntry.amount_minor) != 0)):
        yield f"journal {row.journal_id} does not sum to zero"


def cash_matches_provider(connection: sa.Connection, known: Known) -> Iterator[str]:
    """Every successful charge and refund of the provider is one of ours, once, and the other way round."""
    theirs = Counter(
        (intent["metadata"].get("payment_id"), intent["amount"])
        for intent in list(known.stripe.intents.values())
        if intent["status"] == "succeeded"
    )
    ours = Counter(
        (row.id, row.amount_minor)
        for row in connection.execute(
            sa.select(Payment.id, Payment.amount_minor).where(Payment.status.in_(PAID), Payment.provider == "stripe")
        )
    )
    refunds = Counter((r["metadata"].get("refund_id"), r["amount"]) for r in list(known.stripe.refunds.values()))
    our_refunds = Counter(
        (row.id, row.amount_minor)
        for row in connection.execute(sa.select(Refund.id, Refund.amount_minor).where(Refund.status == "succeeded"))
    )
    for what, provider, service in (("charge", theirs, ours), ("refund", refunds, our_refunds)):
        for (row_id, amount), count in (provider - service).items():
            yield f"{count} × {what} {row_id} of {amount} is only in the provider's journal"
        for (row_id, amount), _ in (service - provider).items():
            yield f"{what} {row_id} of {amount} is not in the provider's journal"


def one_charge_per_period(connection: sa.Connection, known: Known) -> Iterator[str]:
    """At most one successful charge per subscription, item and period, by the provider's journal."""
    charged = Counter(
        intent["metadata"].get("invoice_id")
        for intent in list(known.stripe.intents.values())
        if intent["status"] == "succeeded"
    )
    line = InvoiceLine
    rows = sa.select(line.subscription_id, line.item, line.period_start, line.invoice_id).where(
        line.kind == "charge", line.subscription_id.is_not(None)
    )
    by_period: Counter = Counter()
    for subscription_id, item, period_start, invoice_id in connection.execute(rows):
        by_period[subscription_id, item, period_start] += charged[invoice_id]
    for (subscription_id, _, period_start), count in by_period.items():
        if count > 1:
            yield f"{subscription_id} was charged {count} times for the period from {period_start}"


def acknowledged_rows_exist(connection: sa.Connection, known: Known) -> Iterator[str]:
    """Every row that the service said it has saved is there."""
    stopped = known.journal.acknowledged.get("stopped streams", set())
    for name, keys in known.journal.acknowledged.items():
        table = db.metadata.tables["streams" if name == "stopped streams" else name]
        columns = [column for column in table.primary_key.columns]
        query = sa.select(*columns)
        if name == "stopped streams":
            query = query.where(table.c.ended_at.is_not(None))
        found = {tuple(row) for row in connection.execute(query)}
        for key in sorted((stopped if name == "stopped streams" else keys) - found):
            yield f"{name} {' '.join(key)} was acknowledged and is lost"


def disabled_accounts_have_no_session(connection: sa.Connection, known: Known) -> Iterator[str]:
    """No session of a disabled account is live."""
    live = sa.select(Session.id, Account.id.label("account_id")).join(Account, Account.id == Session.account_id)
    live = live.where(Session.ended_at.is_(None), Account.status == "disabled")
    for row in connection.execute(live):
        yield f"session {row.id} of the disabled account {row.account_id} is live"
    enabled = sa.select(Account.id).where(Account.status != "disabled")
    for account_id in known.journal.disabled & set(connection.scalars(enabled)):
        yield f"account {account_id} was disabled and is not"


def audit_chain_is_intact(connection: sa.Connection, known: Known) -> Iterator[str]:
    """The hashes of the audit log cover each other without a gap."""
    previous = GENESIS
    rows = connection.execute(sa.select(AuditEvent.__table__).order_by(AuditEvent.seq))
    for expected_seq, row in enumerate(rows, 1):
        event = SimpleNamespace(**row._mapping)
        is_changed = row.details is not None and hash_details(row.details) != row.details_digest
        has_gap = (row.seq, row.previous) != (expected_seq, previous)
        if has_gap or is_changed or row.hash != hash_event(previous, row.seq, event):
            yield f"row {row.seq} of the audit log does not continue the chain"
            return
        previous = row.hash


def slots_within_limit(connection: sa.Connection, known: Known) -> Iterator[str]:
    """No account has more live streams than its plan allows."""
    now = datetime.now(UTC)
    live = sa.select(Stream.account_id, sa.func.count()).where(Stream.ended_at.is_(None), Stream.expires_at > now)
    rows = live.group_by(Stream.account_id).having(sa.func.count() > MAX_STREAMS)
    for account_id, count in connection.execute(rows):
        yield f"account {account_id} has {count} live streams"


INVARIANTS: dict[str, Invariant] = {
    "Σ ledger = Σ invoices - credits": ledger_matches_invoices,
    "cash = the provider's journal": cash_matches_provider,
    "≤ 1 charge per subscription and period": one_charge_per_period,
    "every acknowledged row exists": acknowledged_rows_exist,
    "no live session of a disabled account": disabled_accounts_have_no_session,
    "the audit chain verifies": audit_chain_is_intact,
    "slots within the plan's limit": slots_within_limit,
}


def check_invariants(world: World, journal: Journal, context: Context) -> list[Check]:
    """Wait until all payments are decided, then check every invariant, and the product's own audit of the books.

    With a planted fault, some may never be.
    """
    context.show("waiting until every payment is decided")
    settled_s = wait_until_settled(world, PLANTED_TIMEOUT_S if context.plant else SETTLE_TIMEOUT_S)
    known, checks = Known(journal, world.stripe), []
    checks.append(
        Check(
            "every payment is decided",
            settled_s < SETTLE_TIMEOUT_S,
            f"after {settled_s:.0f} s" if settled_s < SETTLE_TIMEOUT_S else f"not within {SETTLE_TIMEOUT_S} s",
        )
    )
    with world.engine.connect() as connection:
        for name, invariant in INVARIANTS.items():
            broken = list(invariant(connection, known))
            checks.append(Check(name, not broken, describe(broken)))
    with world.app_context():
        differences = [str(difference) for difference in audit_billing(datetime.now(UTC))]
    checks.append(Check("the audit of the books finds nothing", not differences, describe(differences)))
    return checks


def describe(broken: list[str]) -> str:
    """How many places break a rule, and the first of them."""
    return "0 broken" if not broken else f"{len(broken)} broken, such as: {broken[0]}"


def wait_until_settled(world: World, timeout_s: float) -> float:
    """Wait until no payment or refund is in flight, no job overdue, no renewal due soon; returns the seconds."""
    started = time.monotonic()
    open_payments = sa.select(sa.func.count()).select_from(Payment).where(Payment.status.in_(IN_FLIGHT))
    open_refunds = sa.select(sa.func.count()).select_from(Refund).where(Refund.status.in_(IN_FLIGHT))
    while (elapsed_s := time.monotonic() - started) < timeout_s:
        due = sa.select(sa.func.count()).select_from(Job)
        now = datetime.now(UTC)
        is_due_soon = sa.and_(Job.kind == DUE_JOB, Job.run_at <= now + RETRIED_WITHIN)
        due = due.where(Job.done_at.is_(None), Job.failed_at.is_(None), sa.or_(Job.run_at <= now, is_due_soon))
        try:
            with world.engine.connect() as connection:
                if not any(connection.scalar(query) for query in (open_payments, open_refunds, due)):
                    return elapsed_s
        except sa.exc.DBAPIError:  # the database is still recovering
            world.engine.dispose()
        time.sleep(0.25)
    return elapsed_s


def find_slots_over_limit(world: World, journal: Journal) -> list[str]:
    """The accounts with too many live streams right now."""
    try:
        with world.engine.connect() as connection:
            return list(slots_within_limit(connection, Known(journal, world.stripe)))
    except sa.exc.DBAPIError:
        world.engine.dispose()
        return []


def is_alive(world: World, timeout_s: float = 5) -> bool:
    return request(world.service.port, "GET", "/livez", timeout_s=timeout_s)[0] == 200
