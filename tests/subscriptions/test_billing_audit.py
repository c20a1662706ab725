"""The billing audit detects differences: each test changes one value directly in the database."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from streamsvc.cli.billing import billing
from streamsvc.models import Job
from streamsvc.models.subscriptions import Invoice, InvoiceLine, InvoiceNumber, LedgerEntry, Payment, Subscription
from streamsvc.operations.billing.books.audit import STALLED_AFTER, handle_daily_audit, list_stalled_subscriptions
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.plans import query_plan


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


def run_audit_command(app):
    """Run `streamsvc billing audit`."""
    return app.test_cli_runner().invoke(billing, ["audit"])


TAMPERING = [
    ("journal sums to zero", sa.update(LedgerEntry).where(LedgerEntry.book == "cash").values(amount_minor=1)),
    ("lines add up to the invoice", sa.update(Invoice).values(total_minor=999)),
    ("invoice balance matches the ledger", sa.update(Invoice).values(balance_minor=5)),
    ("invoice status matches its balance", sa.update(Invoice).values(status="open")),
    ("payment cash matches the ledger", sa.update(Payment).values(status="failed")),
    ("numbers have no gap", sa.update(InvoiceNumber).values(last=7)),
    ("a line's amount matches the history", sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor - 1)),
    ("an invoiced line is in the history", sa.update(InvoiceLine).values(identity=InvoiceLine.identity + "x")),
    ("a due line is invoiced", sa.update(InvoiceLine).values(identity=None)),
]


@pytest.mark.parametrize(("check", "statement"), TAMPERING, ids=[check for check, _ in TAMPERING])
def test_the_audit_finds_tampering(app, world, ann, check, statement):
    tamper(app, statement)
    assert check in {difference.check for difference in world.differences()}


def on_billing_hold(world):
    return world.operator.get("/v1/admin/subscriptions?parked=true").json["items"]


def release_hold(world, row):
    return world.operator.delete(f"/v1/admin/subscriptions/{row['id']}/parking")


def test_a_mismatched_history_places_a_billing_hold_until_it_is_fixed_and_released(app, world, ann):
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}"
    world.go_to("2026-03-10")
    tamper(app, sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor - 1))
    result = run_audit_command(app)
    assert result.exit_code == 1
    assert "a line's amount matches the history" in result.output
    [row] = on_billing_hold(world)
    assert (row["account_id"], row["parked_at"]) == (ann.id, "2026-03-10T00:00:00Z")
    assert "a line's amount matches the history: sub_" in row["parked_reason"]
    assert world.operator.get(path).json == row
    world.go_to("2026-05-01")
    assert len(ann.invoices()) == 2
    refusal = release_hold(world, row)
    assert (refusal.status_code, refusal.json["code"]) == (409, "does_not_add_up")
    assert {"check", "subject", "expected", "found"} == refusal.json["differences"][0].keys()
    tamper(app, sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor + 1))
    release = release_hold(world, row)
    assert (release.status_code, release.json["parked_at"], release.json["parked_reason"]) == (200, None, None)
    assert (release_hold(world, row).json["code"], on_billing_hold(world)) == ("wrong_state", [])
    world.go_to("2026-05-01T00:01:00")
    assert [invoice["issued_at"][:10] for invoice in ann.invoices()][2:] == ["2026-05-01", "2026-05-01"]
    assert world.charges() == [1000] * 4
    assert world.differences() == []
    audit_events = world.operator.get("/v1/admin/audit").json["items"]
    assert [event["details"]["reason"] for event in audit_events if event["action"] == "subscription_taken_out"]


def test_an_open_invoice_is_not_charged_while_its_subscription_is_on_billing_hold(app, world, ann):
    """Neither by a scheduled attempt nor to a new card."""
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-03-15T06:00:00")
    assert (ann.subscription()["status"], len(world.charges("declined"))) == ("past_due", 1)
    tamper(app, sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor - 1))
    run_audit_command(app)
    [row] = on_billing_hold(world)
    world.go_to("2026-03-17T06:00:00")
    ann.add_card()
    assert (world.charges(), len(world.charges("declined"))) == ([1000, 1000], 1)
    tamper(app, sa.update(InvoiceLine).values(amount_minor=InvoiceLine.amount_minor + 1))
    assert release_hold(world, row).status_code == 200
    ann.add_card()
    assert (world.charges(), ann.subscription()["status"]) == ([1000] * 3, "active")


def test_an_account_that_does_not_reconcile_is_not_billed_but_can_cancel(app, world, ann):
    other, new_owner = world.person(), world.person()
    other.subscribe(world.plan("q", 700))
    path = f"/v1/subscriptions/{ann.subscription()['id']}"
    statement = sa.update(Invoice).where(Invoice.account_id == ann.id)
    tamper(app, statement.values(total_minor=Invoice.total_minor + 1))
    run_audit_command(app)
    [row] = on_billing_hold(world)
    assert (row["account_id"], row["parked_reason"][:28]) == (ann.id, "lines add up to the invoice:")
    world.go_to("2026-03-20T12:00:00")
    expensive = world.plan("dear", 9900)
    for action, body in (("plan-change", {"price_id": expensive}), ("pause", {}), ("addons", {"price_id": expensive})):
        assert ann.post(f"{path}/{action}", body).json["code"] == "wrong_state"
    assert (
        world.operator.post(f"/v1/admin{path[3:]}/transfer", {"account_id": new_owner.id}).json["code"] == "wrong_state"
    )
    assert ann.post(f"{path}/cancellation", {"when": "now"}).json["status"] == "canceled"
    assert len(ann.invoices()) == 2
    tamper(app, statement.values(total_minor=Invoice.total_minor - 1))
    assert release_hold(world, row).status_code == 200
    assert [line[0] for line in ann.lines()][2:] == ["charge", "credit"]
    assert world.differences() == []


def test_listing_subscriptions_on_billing_hold_uses_the_index(app):
    with app.app_context():
        page = Subscription.select_on_billing_hold().order_by(Subscription.id.desc()).limit(25)
        assert "ix_subscriptions_on_billing_hold" in query_plan(page, prefer_indexes=True)


def test_clean_books_have_no_differences(app, ann):
    result = run_audit_command(app)
    assert (result.exit_code, result.output) == (0, "0 differences\n")


def test_the_audit_restarts_no_subscription_that_the_worker_is_only_a_little_late_with(app, world, ann):
    due_at = datetime(2026, 3, 15, tzinfo=UTC)
    with app.app_context():
        assert list_stalled_subscriptions(due_at + STALLED_AFTER) == []
        assert len(list_stalled_subscriptions(due_at + STALLED_AFTER + timedelta(seconds=1))) == 1


def test_the_audit_restarts_a_subscription_whose_job_was_given_up(app, world, ann):
    with app.app_context():
        db.session.execute(sa.update(Job).where(Job.kind == "subscription.due").values(failed_at=world.clock.at))
        db.session.commit()
    world.go_to("2026-03-20")
    assert len(ann.invoices()) == 2
    with app.app_context():
        handle_daily_audit({}, world.clock.at)
        db.session.commit()
    world.go_to("2026-03-21")
    assert len(ann.invoices()) == 3
