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
from streamsvc.operations.billing.books.audit import (
    STALLED_AFTER,
    handle_daily_audit,
    list_accounts_with_stalled_debts,
    list_stalled_subscriptions,
)
from streamsvc.operations.billing.books.checks import check_subscriptions
from streamsvc.operations.billing.books.rule_checks import check_next_steps
from streamsvc.operations.billing.core.debts import COLLECT_JOB
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.plans import query_plan
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database
PAST = datetime(2026, 1, 1, tzinfo=UTC)


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


TOTALS, LINE, DUE = "lines add up to the invoice", "a line's amount matches the history", "a due line is invoiced"
JOURNAL, CASH = "journal sums to zero", "payment cash matches the ledger"
BALANCE, STATUS = "invoice balance matches the ledger", "invoice status matches its balance"
TAMPERING = [
    # (statement that changes Ann's two invoices of 1000, [(check, expected, found) for each of the two])
    (LedgerEntry, {"amount_minor": 999}, LedgerEntry.book == "cash", [(JOURNAL, 0, -1), (CASH, 1000, 999)]),
    (Invoice, {"total_minor": 999}, None, [(TOTALS, (999, 0, 0), (1000, 0, 0))]),
    (Invoice, {"tax_minor": 7}, None, [(TOTALS, (1000, 7, 0), (1000, 0, 0))]),
    (Invoice, {"discount_minor": 7}, None, [(TOTALS, (1000, 0, 7), (1000, 0, 0))]),
    (InvoiceLine, {"tax_minor": 5}, None, [(TOTALS, (1000, 0, 0), (1005, 5, 0))]),
    (InvoiceLine, {"tax_minor": 5, "tax_inclusive": True}, None, [(TOTALS, (1000, 0, 0), (1000, 5, 0))]),
    (InvoiceLine, {"discount_minor": 3}, None, [(TOTALS, (1000, 0, 0), (1000, 0, 3))]),
    (Invoice, {"balance_minor": 1}, None, [(BALANCE, 0, 1), (STATUS, "paid", 1)]),
    (Invoice, {"balance_minor": -1}, None, [(BALANCE, 0, -1)]),
    (Invoice, {"balance_minor": 1, "status": "draft"}, None, [(BALANCE, 0, 1)]),
    (Invoice, {"status": "open"}, None, [(STATUS, "open", 0)]),
    (Payment, {"status": "failed"}, None, [(CASH, 0, 1000)]),
    (Payment, {"disputed_minor": 300, "status": "disputed"}, None, [(CASH, 700, 1000)]),
    (InvoiceLine, {"amount_minor": 999}, None, [(TOTALS, (1000, 0, 0), (999, 0, 0)), (LINE, 1000, 999)]),
    (InvoiceLine, {"identity": "x"}, None, [("an invoiced line is in the history", None, 1000), (DUE, 1000, None)]),
    (InvoiceLine, {"identity": None}, None, [(DUE, 1000, None)]),
]
RULES = {"an open invoice has a next step", "access today is paid for"}
"""Checks of rules, which tests of their own check."""


@pytest.mark.parametrize(("model", "values", "condition", "expected"), TAMPERING)
def test_the_audit_finds_tampering(app, world, ann, model, values, condition, expected):
    """With what was expected and what was found, and only where it was."""
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    with app.app_context():
        own_invoices = sa.select(Invoice.id).where(Invoice.account_id == ann.id)
    is_own = model.id.in_(own_invoices) if model is Invoice else model.invoice_id.in_(own_invoices)
    if values.get("identity") == "x":
        values = {"identity": InvoiceLine.identity + "x"}
    statement = sa.update(model).where(is_own if condition is None else is_own & condition).values(**values)
    tamper(app, statement)
    found = [difference for difference in world.differences() if difference.check not in RULES]
    assert sorted(map(str, [each[:1] + each[2:4] for each in found])) == sorted(map(str, expected * 2))
    assert {difference.account_id for difference in found} == {ann.id}
    assert len({(difference.check, difference.subject) for difference in found}) == 2 * len(expected)


def test_the_audit_expects_of_a_payment_what_was_neither_refunded_nor_failed(app, world, ann):
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    assert world.operator.post(path, {"amount_minor": 400}).status_code == 201
    payment_id = ann.invoices()[0]["payments"][0]["id"]
    assert world.differences() == []
    for values, expected in (({"amount_minor": 1001}, 601), ({"amount_minor": 1000, "status": "failed"}, 0)):
        tamper(app, sa.update(Payment).where(Payment.id == payment_id).values(**values))
        assert (CASH, payment_id, expected, 600, ann.id) in world.differences()


@pytest.mark.parametrize(("last", "count"), [(7, 3), (1, 5), (0, 3)])
def test_the_audit_finds_numbers_that_are_missing_or_too_high(app, world, ann, last, count):
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    tamper(app, sa.update(InvoiceNumber).values(last=last))
    [difference] = world.differences()
    assert (difference.check, difference.expected, difference.found) == ("numbers have no gap", last, count)


def cancel_with_credit(app, world, ann):
    """Return the ids of the line that charged for the current period and of the line that credits the rest of it."""
    path = f"/v1/subscriptions/{ann.subscription()['id']}/cancellation"
    assert ann.post(path, {"when": "now"}).status_code == 200
    assert world.differences() == []
    with app.app_context():
        is_credit = InvoiceLine.credits_line_id.is_not(None)
        return db.session.execute(sa.select(InvoiceLine.credits_line_id, InvoiceLine.id).where(is_credit)).one()


def test_the_audit_finds_a_line_that_was_credited_beyond_its_amount(app, world, ann):
    check, (charged, credited) = "a line is not credited beyond its amount", cancel_with_credit(app, world, ann)
    its_amount = sa.update(InvoiceLine).where(InvoiceLine.id == credited)
    tamper(app, its_amount.values(amount_minor=-1000))
    assert check not in rules_broken(world)
    tamper(app, its_amount.values(amount_minor=-1001))
    [difference] = [each for each in world.differences() if each.check == check]
    assert difference[1:] == (charged, 1000, 1001, ann.id)
    tamper(app, sa.update(InvoiceLine).where(InvoiceLine.id == charged).values(discount_minor=2))
    [difference] = [each for each in world.differences() if each.check == check]
    assert difference[1:] == (charged, 998, 1001, ann.id)
    its_invoice = sa.select(InvoiceLine.invoice_id).where(InvoiceLine.id == credited).scalar_subquery()
    tamper(app, sa.update(Invoice).where(Invoice.id == its_invoice).values(status="void"))
    assert check not in rules_broken(world)


def test_the_audit_finds_credit_that_was_overspent(app, world, ann):
    check = "account credit is not negative"
    cancel_with_credit(app, world, ann)
    [balance] = ann.balances()
    with app.app_context():
        latest = sa.select(sa.func.max(LedgerEntry.id)).where(LedgerEntry.book == "customer_credit").scalar_subquery()
    its_entry = sa.update(LedgerEntry).where(LedgerEntry.id == latest)
    tamper(app, its_entry.values(amount_minor=0))
    assert check not in rules_broken(world)
    tamper(app, its_entry.values(amount_minor=1))
    [difference] = [each for each in world.differences() if each.check == check]
    assert (difference[1:], balance["currency"]) == ((ann.id, 0, -1, ann.id), "USD")


def test_a_line_is_due_on_the_second_day_after_its_own(app, world, ann):
    """Processing may be late: on 15 March the next period begins."""

    def due_at(*moment):
        with app.app_context():
            checked = list(check_subscriptions(datetime(2026, 3, *moment, tzinfo=UTC)))
            return [difference[2:] for _, differences in checks_of(checked) for difference in differences]

    def checks_of(checked):
        return [(row, [each for each in found if each.check == DUE]) for row, found in checked]

    assert due_at(16, 23, 59) == []
    assert due_at(17) == [(1000, None, ann.id)]
    for values in ({"status": "canceled"}, {"status": "incomplete"}, {"billing_held_at": PAST}):
        with app.app_context():
            db.session.execute(sa.update(Subscription).values(**values))
            found = [
                each
                for _, differences in check_subscriptions(datetime(2026, 3, 17, tzinfo=UTC))
                for each in differences
            ]
            db.session.rollback()
        assert DUE not in {each.check for each in found}


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


BROKEN_RULES = [
    (
        "a subscription past due owes something",
        sa.update(Subscription).values(past_due_since=date(2026, 3, 1), status="past_due"),
    ),
    ("access today is paid for", sa.update(InvoiceLine).values(identity=None)),
]


@pytest.mark.parametrize(("check", "statement"), BROKEN_RULES, ids=[check for check, _ in BROKEN_RULES])
def test_the_audit_finds_a_broken_rule(app, world, ann, check, statement):
    tamper(app, statement)
    assert check in rules_broken(world)


def test_a_payment_that_returned_more_than_it_brought_is_reported(app, world, ann):
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    with app.app_context():
        payment_id = db.session.scalar(sa.select(sa.func.min(Payment.id)).where(Payment.account_id == ann.id))
    its_payment = sa.update(Payment).where(Payment.id == payment_id)
    check = "no payment returns more than it brought"
    tamper(app, its_payment.values(refunded_minor=700, disputed_minor=300))
    assert check not in rules_broken(world)
    tamper(app, its_payment.values(refunded_minor=700, disputed_minor=301))
    assert (check, payment_id, 1000, 1001, ann.id) in world.differences()


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
    [difference] = world.differences()
    invoice = ann.invoices()[-1]
    assert difference == ("an open invoice has a next step", invoice["id"], "a next step", 1000, ann.id)


NO_STEP = {"next_attempt_on": None, "first_failed_on": None, "issued_at": PAST}
MIDDAY = datetime(2026, 3, 16, 12, tzinfo=UTC)
DEBTS = [
    # (values of the open invoice, the first moment at which nobody would ask for it)
    ({"next_attempt_on": date(2026, 3, 20)}, datetime(2026, 3, 23, tzinfo=UTC)),
    ({"first_failed_on": date(2026, 3, 1)}, datetime(2026, 3, 25, tzinfo=UTC)),
    ({"issued_at": MIDDAY}, MIDDAY + timedelta(days=2)),
    ({"issued_at": None}, MIDDAY),
    ({"balance_minor": 1}, MIDDAY),
]


@pytest.mark.parametrize(("values", "moment"), DEBTS)
def test_a_debt_is_reported_two_days_after_its_step_was_missed(app, world, ann, values, moment):
    """Unless its subscription is on billing hold, or it changed in the last hour."""
    refuse_renewal(world, ann)
    tamper(app, sa.update(Invoice).where(Invoice.status == "open").values(**NO_STEP | values))

    def found_at(now, account_id=None):
        with app.app_context():
            return [difference.account_id for difference in check_next_steps(now, account_id)]

    just_before = moment - timedelta(seconds=1)
    assert found_at(just_before) == ([] if moment > MIDDAY else [ann.id])
    assert found_at(moment) == found_at(moment, ann.id) == [ann.id]
    assert found_at(moment, "acc_other") == []
    is_its_entry = LedgerEntry.invoice_id.in_(sa.select(Invoice.id).where(Invoice.status == "open"))
    tamper(app, sa.update(LedgerEntry).where(is_its_entry).values(at=moment - timedelta(hours=1)))
    assert found_at(moment) == [ann.id]
    tamper(app, sa.update(LedgerEntry).where(is_its_entry).values(at=moment - timedelta(minutes=59)))
    assert found_at(moment) == ([] if values.get("issued_at", PAST) else [ann.id])
    tamper(app, sa.update(LedgerEntry).where(is_its_entry).values(at=PAST))
    tamper(app, sa.update(Subscription).values(billing_held_at=PAST))
    assert found_at(moment) == ([] if values.get("issued_at", PAST) else [ann.id])


def test_a_debt_is_asked_for_by_a_payment_in_flight_or_after_a_transfer(app, world, ann):
    refuse_renewal(world, ann)
    bob = world.person()
    tamper(app, sa.update(Invoice).where(Invoice.status == "open").values(**NO_STEP))
    assert "an open invoice has a next step" in rules_broken(world)
    is_of_open = Payment.invoice_id.in_(sa.select(Invoice.id).where(Invoice.status == "open"))
    last = sa.select(sa.func.max(Payment.id)).where(is_of_open).scalar_subquery()
    for statement in (
        sa.update(Payment).where(Payment.id == last).values(status="pending"),
        sa.update(Subscription).values(account_id=bob.id),
    ):
        with app.app_context():
            db.session.execute(statement)
            assert list(check_next_steps(world.clock.at)) == []
            db.session.rollback()
    with app.app_context():  # after the subscription has ended, the debt is the former owner's
        db.session.execute(sa.update(Subscription).values(account_id=bob.id, status="canceled"))
        assert [difference.account_id for difference in check_next_steps(world.clock.at)] == [ann.id]
        db.session.rollback()


def test_debts_whose_job_was_given_up_are_collected_again(app, world, ann):
    refuse_renewal(world, ann)
    now = world.clock.at
    is_open = sa.update(Invoice).where(Invoice.status == "open")
    for values, is_stalled in (
        ({"status": "open"}, False),
        ({"next_attempt_on": date(2026, 3, 15)}, False),
        ({"next_attempt_on": date(2026, 3, 14)}, True),
        ({"first_failed_on": date(2026, 2, 22)}, False),
        ({"first_failed_on": date(2026, 2, 21)}, True),
        ({"first_failed_on": None, "issued_at": now - STALLED_AFTER}, False),
        ({"first_failed_on": None, "issued_at": now - STALLED_AFTER - timedelta(seconds=1)}, True),
        ({"issued_at": now - timedelta(days=9)}, False),
    ):
        with app.app_context():
            db.session.execute(is_open.values(**values))
            assert list_accounts_with_stalled_debts(now) == ([ann.id] if is_stalled else []), values
            db.session.rollback()


def test_a_debt_whose_attempt_was_given_up_is_charged_after_the_daily_audit(app, world):
    bob = world.person(card="pm_card_chargeDeclined")
    poster = {"account_id": bob.id, "amount_minor": 600, "currency": "USD", "description": "A poster"}
    assert world.operator.post("/v1/admin/invoices", poster).json["status"] == "open"
    with app.app_context():
        db.session.execute(sa.update(Job).where(Job.kind == COLLECT_JOB).values(failed_at=world.clock.at))
        db.session.commit()
    world.go_to("2026-01-20")
    assert world.charges("declined") == [600]
    with app.app_context():
        handle_daily_audit({}, world.clock.at)
        db.session.commit()
    world.go_to("2026-01-20T01:00:00")
    assert world.charges("declined") == [600, 600]


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


@pytest.mark.parametrize("is_of_subscription", [True, False])
@pytest.mark.parametrize("book", ["revenue", "tax"])
def test_credits_above_what_was_charged_are_reported(app, world, ann, book, is_of_subscription):
    """By the subscription of the invoice, or by the account."""
    bob = world.person()
    bob.subscribe(world.plan("q", 700))
    with app.app_context():
        invoice_id = db.session.scalar(sa.select(Invoice.id).where(Invoice.account_id == ann.id))
        values = {"kind": "invoice", "account_id": ann.id, "currency": "USD"}
        values |= {"invoice_id": invoice_id if is_of_subscription else None}
        values |= {"journal_id": "jou_planted", "payment_id": None, "note": None, "at": world.clock.at}
        charged_minor = 2000 if is_of_subscription else 0
        for credited in ((book, charged_minor), ("customer_credit", -charged_minor)):
            db.session.add(LedgerEntry(book=credited[0], amount_minor=credited[1], **values))
        db.session.commit()
    assert rules_broken(world) == []
    tamper(
        app,
        sa.update(LedgerEntry)
        .where(LedgerEntry.journal_id == "jou_planted")
        .values(amount_minor=sa.case((LedgerEntry.book == book, 1), else_=-1) + LedgerEntry.amount_minor),
    )
    subject = ann.subscription()["id"] if is_of_subscription else ann.id
    assert world.differences() == [("credits do not exceed charges", subject, 0, -1, ann.id)]


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
