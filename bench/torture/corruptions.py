"""Planted corruptions: each breaks one invariant in a transaction that is rolled back, and the checker must notice."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bench.torture.clients import Journal
from bench.torture.invariants import INVARIANTS, Known
from bench.torture.world import MAX_STREAMS, World
from streamsvc.models import Account, AuditEvent, Session, Stream
from streamsvc.models.subscriptions import Invoice, LedgerEntry, Payment
from streamsvc.storage.database import new_id
from tests.worlds.stripe_server import StripeState


def change_ledger(connection: sa.Connection, known: Known) -> None:
    """Book one unit more of revenue."""
    newest = sa.select(sa.func.max(LedgerEntry.id)).where(LedgerEntry.book == "revenue").scalar_subquery()
    more = sa.update(LedgerEntry).where(LedgerEntry.id == newest)
    connection.execute(more.values(amount_minor=LedgerEntry.amount_minor - 1))


def repeat_charge(connection: sa.Connection, known: Known) -> None:
    """The provider charges one invoice twice."""
    name, intent = next((n, i) for n, i in known.stripe.intents.items() if i["status"] == "succeeded")
    known.stripe.intents[f"{name}_again"] = dict(intent)


def lose_payment(connection: sa.Connection, known: Known) -> None:
    """A successful payment is recorded as failed."""
    newest = sa.select(sa.func.max(Payment.id)).where(Payment.status == "succeeded").scalar_subquery()
    connection.execute(sa.update(Payment).where(Payment.id == newest).values(status="failed"))


def delete_acknowledged(connection: sa.Connection, known: Known) -> None:
    """A client got the id of an account that does not exist."""
    known.journal.acknowledged.setdefault("accounts", set()).add((new_id("acc"),))


def revive_session(connection: sa.Connection, known: Known) -> None:
    """An account is disabled and one of its sessions goes on."""
    owner = connection.scalar(sa.select(sa.func.min(Session.account_id)))
    connection.execute(sa.update(Account).where(Account.id == owner).values(status="disabled"))
    connection.execute(sa.update(Session).where(Session.account_id == owner).values(ended_at=None))


def change_audit_event(connection: sa.Connection, known: Known) -> None:
    """Someone else did what the first row of the audit log says."""
    first = sa.select(sa.func.min(AuditEvent.seq)).scalar_subquery()
    connection.execute(sa.update(AuditEvent).where(AuditEvent.seq == first).values(actor="somebody else"))


def add_streams(connection: sa.Connection, known: Known) -> None:
    """An account gets more live streams than its plan allows."""
    now = datetime.now(UTC)
    row = {"account_id": connection.scalar(sa.select(sa.func.min(Account.id))), "title_id": "ttl", "item_id": "ttl"}
    row |= {"profile_id": "pro", "session_id": "ses", "state": "playing", "position_s": 0, "watched_s": 0}
    row |= {"started_at": now, "seen_at": now, "expires_at": now + timedelta(minutes=1)}
    for number in range(MAX_STREAMS + 1):
        connection.execute(sa.insert(Stream).values(row | {"id": new_id("str"), "device_id": f"dev{number}"}))


def forget_invoice(connection: sa.Connection, known: Known) -> None:
    """An issued invoice is void, but stays in the ledger."""
    newest = sa.select(sa.func.max(Invoice.id)).where(Invoice.status == "paid").scalar_subquery()
    connection.execute(sa.update(Invoice).where(Invoice.id == newest).values(status="void"))


CORRUPTIONS: list[tuple[str, Callable[[sa.Connection, Known], None]]] = [
    ("Σ ledger = Σ invoices - credits", change_ledger),
    ("Σ ledger = Σ invoices - credits", forget_invoice),
    ("cash = the provider's journal", repeat_charge),
    ("cash = the provider's journal", lose_payment),
    ("≤ 1 charge per subscription and period", repeat_charge),
    ("every acknowledged row exists", delete_acknowledged),
    ("no live session of a disabled account", revive_session),
    ("the audit chain verifies", change_audit_event),
    ("slots within the plan's limit", add_streams),
]


def find_corruptions(world: World, journal: Journal) -> dict[str, bool]:
    """{what was corrupted: whether the checker noticed}. The database stays as it is."""
    found = {}
    url = world.url.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(url)
    for name, corrupt in CORRUPTIONS:
        known = Known(copy_journal(journal), copy_provider(world.stripe))
        with engine.connect() as connection:
            corrupt(connection, known)
            found[f"{corrupt.__doc__} → {name}"] = any(INVARIANTS[name](connection, known))
            connection.rollback()
    engine.dispose()
    return found


def copy_journal(journal: Journal) -> Journal:
    return Journal(acknowledged=copy.deepcopy(journal.acknowledged), disabled=set(journal.disabled))


def copy_provider(stripe: StripeState) -> StripeState:
    copied = StripeState()
    copied.intents, copied.refunds = dict(stripe.intents), dict(stripe.refunds)
    return copied
