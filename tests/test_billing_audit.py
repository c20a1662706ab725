"""The audit must see what it is there to see: each test breaks one thing behind the service's back."""

import pytest
import sqlalchemy as sa

from streamsvc.cli.billing import billing
from streamsvc.database import db
from streamsvc.models import Job
from streamsvc.models.subscriptions import Invoice, InvoiceLine, InvoiceNumber, LedgerEntry, Payment
from streamsvc.operations.billing.audit import audit_daily
from tests.billing_world import World


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def ann(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    world.go_to("2026-03-01")
    assert world.differences() == []
    return ann


def tamper(app, statement):
    with app.app_context():
        db.session.execute(statement)
        db.session.commit()


def audit_by_hand(app):
    """`streamsvc billing audit`."""
    return app.test_cli_runner().invoke(billing, ["audit"])


BREAKS = [
    ("journal sums to zero", sa.update(LedgerEntry).where(LedgerEntry.book == "cash").values(amount_minor=1)),
    ("lines add up to the invoice", sa.update(Invoice).values(total_minor=999)),
    ("the invoice's balance is the ledger's", sa.update(Invoice).values(balance_minor=5)),
    ("an open invoice is owed, another is not", sa.update(Invoice).values(status="open")),
    ("the payment's cash is the ledger's", sa.update(Payment).values(status="failed")),
    ("numbers have no gap", sa.update(InvoiceNumber).values(last=7)),
    ("a line is what it should be", sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor - 1)),
    ("a line has its reason", sa.update(InvoiceLine).values(identity=InvoiceLine.identity + "x")),
    ("a line that fell due is invoiced", sa.update(InvoiceLine).values(identity=None)),
]


@pytest.mark.parametrize(("check", "statement"), BREAKS, ids=[check for check, _ in BREAKS])
def test_what_is_tampered_with_is_found(app, world, ann, check, statement):
    tamper(app, statement)
    assert check in {difference.check for difference in world.differences()}


def test_a_subscription_whose_history_does_not_fit_is_parked_and_not_billed_on(app, world, ann):
    tamper(app, sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor - 1))
    result = audit_by_hand(app)
    assert result.exit_code == 1
    assert "a line is what it should be" in result.output
    world.go_to("2026-05-01")
    assert len(ann.invoices()) == 2


def test_clean_books_have_no_differences(app, ann):
    result = audit_by_hand(app)
    assert (result.exit_code, result.output) == (0, "0 differences\n")


def test_a_subscription_whose_job_was_given_up_is_taken_up_again(app, world, ann):
    with app.app_context():
        db.session.execute(sa.update(Job).where(Job.kind == "subscription.due").values(failed_at=world.clock.at))
        db.session.commit()
    world.go_to("2026-03-20")
    assert len(ann.invoices()) == 2
    with app.app_context():
        audit_daily({}, world.clock.at)
        db.session.commit()
    world.go_to("2026-03-21")
    assert len(ann.invoices()) == 3
