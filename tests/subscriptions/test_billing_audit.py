"""The billing audit detects differences: each test changes one value directly in the database."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from streamsvc.cli.billing import billing
from streamsvc.models import Job
from streamsvc.models.subscriptions import (
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    LedgerEntry,
    Payment,
    SandboxCharge,
    Subscription,
)
from streamsvc.operations.billing.books.audit import STALLED_AFTER, handle_daily_audit, list_stalled_subscriptions
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.plans import query_plan
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database


def build_world(app, with_ann):
    world = World(app)
    if with_ann:
        world.ann = world.person()
        world.ann.subscribe(world.plan("p", 1000))
        world.go_to("2026-03-01")
        assert world.differences() == []
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


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


def refuse_renewal(world, ann):
    """Let Ann's renewal of 15 March be declined; return on the day after."""
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-03-16T06:00:00")
    assert ann.subscription()["status"] == "past_due"


def rules_broken(world):
    return [difference.check for difference in world.differences()]


PAST = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN_RULES = [
    (
        "a subscription past due owes something",
        sa.update(Subscription).values(past_due_since=date(2026, 3, 1), status="past_due"),
    ),
    ("no payment returns more than it brought", sa.update(Payment).values(refunded_minor=1001)),
    ("access today is paid for", sa.update(InvoiceLine).values(identity=None)),
]


@pytest.mark.parametrize(("check", "statement"), BROKEN_RULES, ids=[check for check, _ in BROKEN_RULES])
def test_the_audit_finds_a_broken_rule(app, world, ann, check, statement):
    tamper(app, statement)
    assert check in rules_broken(world)


def test_a_broken_rule_is_reported_without_a_billing_hold(app, world, ann):
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    tamper(
        app, sa.update(Subscription).where(Subscription.account_id == ann.id).values(past_due_since=date(2026, 3, 1))
    )
    result = run_audit_command(app)
    assert (result.exit_code, result.output.splitlines()[1:]) == (1, ["1 differences"])
    assert f"a subscription past due owes something: {ann.subscription()['id']}" in result.output
    assert on_billing_hold(world) == []


def test_a_debt_is_reported_only_if_nobody_will_ask_for_it(app, world, ann):
    refuse_renewal(world, ann)
    assert rules_broken(world) == []
    is_open = sa.update(Invoice).where(Invoice.status == "open")
    tamper(app, is_open.values(next_attempt_on=None))  # only the payer can act, until the case is closed
    assert rules_broken(world) == []
    tamper(app, is_open.values(next_attempt_on=PAST.date()))
    assert rules_broken(world) == ["an open invoice has a next step"]
    tamper(app, is_open.values(next_attempt_on=None, first_failed_on=PAST.date()))
    assert "an open invoice has a next step" in rules_broken(world)
    tamper(app, is_open.values(next_attempt_on=None, first_failed_on=None, issued_at=PAST))
    assert "an open invoice has a next step" in rules_broken(world)
    tamper(app, is_open.values(issued_at=None))
    assert "an open invoice has a next step" in rules_broken(world)


def test_access_is_reported_once_an_unpaid_invoice_is_past_its_grace_period(app, world, ann):
    refuse_renewal(world, ann)
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    is_open = sa.update(Invoice).where(Invoice.status == "open")
    tamper(app, is_open.values(first_failed_on=date(2026, 3, 10)))
    assert rules_broken(world) == []
    tamper(app, is_open.values(first_failed_on=date(2026, 3, 9)))  # today is the seventh day after it
    [difference] = world.differences()
    assert (difference.check, difference.subject) == ("access today is paid for", ann.subscription()["id"])
    assert difference.found == "open"


def test_access_to_another_plan_than_the_paid_one_is_reported(app, world, ann):
    dear = world.plan("dear", 9900)
    tamper(app, sa.update(Subscription).values(price_id=dear))
    assert rules_broken(world) == ["the row matches the history", "access today is paid for"]


@pytest.mark.parametrize("kind", ["trial", "downgrade", "pause", "import", "waiting"])
def test_access_by_the_rules_is_not_reported(world, ann, kind):
    bob = world.person()
    cheap, dear = world.plan("cheap", 300), world.plan("dear", 2000)
    if kind == "trial":
        bob.subscribe(world.plan("t", 900, trial_days=7))
    elif kind == "import":
        body = {"account_id": bob.id, "price_id": cheap, "paid_through": "2026-03-20"}
        assert world.operator.post("/v1/admin/subscriptions", body).status_code == 201
    else:
        bob.subscribe(dear)
    if kind == "downgrade":  # today stays at the dearer price
        path = f"/v1/subscriptions/{bob.subscription()['id']}/plan-change"
        assert bob.post(path, {"price_id": cheap, "when": "now"}).status_code == 200
    elif kind == "pause":
        path = f"/v1/subscriptions/{bob.subscription()['id']}/pause"
        assert bob.post(path, {}).status_code == 200
        world.go_to("2026-03-12")
        assert bob.delete(path).status_code == 200
    elif kind == "waiting":
        bob.put(f"/v1/payment-methods/{bob.add_card('pm_card_authenticationRequired')}/default")
        path = f"/v1/subscriptions/{bob.subscription()['id']}/plan-change"
        assert bob.post(path, {"price_id": world.plan("dearest", 5000), "when": "now"}).status_code == 402
    assert bob.get("/v1/sessions/current").json["entitlements"]["active"]
    assert world.differences() == []
    world.go_to("2026-03-13")
    assert world.differences() == []


def test_credits_above_what_was_charged_are_reported(app, world, ann):
    with app.app_context():
        invoice_id = db.session.scalars(sa.select(Invoice.id)).first()
        values = {"kind": "invoice", "account_id": ann.id, "currency": "USD", "invoice_id": invoice_id}
        values |= {"journal_id": "jou_planted", "payment_id": None, "note": None, "at": world.clock.at}
        for book, amount_minor in (("revenue", 5000), ("customer_credit", -5000)):
            db.session.add(LedgerEntry(book=book, amount_minor=amount_minor, **values))
        db.session.commit()
    assert rules_broken(world) == ["credits do not exceed charges"]


def test_credits_after_a_transfer_are_not_above_what_was_charged(world, ann):
    bob = world.person()
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200
    assert bob.post(f"/v1/subscriptions/{bob.subscription()['id']}/cancellation", {"when": "now"}).status_code == 200
    assert bob.balances() != []
    assert world.differences() == []


def test_the_provider_is_asked_for_recent_payments_only_on_request(app, world, ann):
    """Against a payment that it declined, one that it never got, and one of another amount."""
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    world.go_to(world.clock.at + timedelta(hours=1))

    def provider_differences():
        assert run_audit_command(app).output == "0 differences\n"
        return app.test_cli_runner().invoke(billing, ["audit", "--provider"]).output.splitlines()

    assert provider_differences() == ["0 differences"]
    with app.app_context():
        payment_id = db.session.scalars(sa.select(Payment.id).where(Payment.account_id == bob.id)).one()
    its_charge = sa.update(SandboxCharge).where(SandboxCharge.key == payment_id)
    check = "the provider has the payment's"
    tamper(app, its_charge.values(status="declined"))
    assert provider_differences()[0] == f"{check} state: {payment_id}: expected succeeded, found declined"
    tamper(app, its_charge.values(status="succeeded", amount_minor=701))
    assert provider_differences()[0] == f"{check} amount: {payment_id}: expected 700, found 701"
    tamper(app, sa.delete(SandboxCharge).where(SandboxCharge.key == payment_id))
    assert provider_differences() == [f"{check} state: {payment_id}: expected succeeded, found None", "1 differences"]
    tamper(app, sa.update(Payment).values(created_at=world.clock.at - timedelta(days=31)))
    assert provider_differences() == ["0 differences"]
