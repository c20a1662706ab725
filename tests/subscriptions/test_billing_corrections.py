import pytest

from tests.worlds.billing_world import World
from tests.worlds.scenes import set_scene


def build_world(app, with_ann):
    world = World(app)
    if with_ann:
        world.go_to("2026-04-01T12:00:00")
        world.ann = world.person()
        world.ann.subscribe(world.plan("p", 24995))
    return world


@pytest.fixture
def world(app, request):
    """Every test ends with an audit of the books."""
    world = set_scene(app, build_world, "ann" in request.fixturenames)
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    """A subscriber who paid 249.95 for a full month from 2026-04-01, as in the 2012 cases."""
    return world.ann


def correct(world, invoice, what, **body):
    return world.operator.post(f"/v1/admin/invoices/{invoice['id']}/{what}", body)


def balance(person):
    balances = person.get("/v1/account/balance").json["balances"]
    return balances[0]["amount_minor"] if balances else 0


def test_a_credit_note_for_a_paid_line_becomes_account_credit(world, ann):
    invoice = ann.invoices()[0]
    line = invoice["lines"][0]["id"]
    note = correct(world, invoice, "credit-notes", lines=[{"line_id": line, "amount_minor": 1000}], reason="sorry")
    assert (note.status_code, note.json["number"], note.json["total_minor"]) == (201, "CN-2026-000001", 1000)
    assert (balance(ann), ann.invoices()[0]["status"]) == (1000, "paid")
    assert ann.invoices()[0]["total_minor"] == 24995


def test_a_later_credit_is_capped_by_what_a_credit_note_left(world, ann):
    """As in KB-006, 29 of 31 days would exceed the line less the credit note."""
    world.go_to("2026-05-01T06:00:00")
    invoice = ann.invoices()[-1]
    line = invoice["lines"][0]["id"]
    correct(world, invoice, "credit-notes", lines=[{"line_id": line, "amount_minor": 2000}])
    world.go_to("2026-05-02T06:00:00")
    cheap = world.plan("q", 995)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": cheap, "when": "now"})
    assert [line[3] for line in ann.lines()][-2:] == [-22995, 931]
    assert balance(ann) == 2000 + 22995 - 931


def test_a_refund_without_a_credit_note_leaves_the_amount_owed(world, ann):
    """KB-049. The amount that is owed again is collected like any overdue invoice."""
    invoice = ann.invoices()[0]
    assert correct(world, invoice, "refunds", amount_minor=1000, credit_note=False).json["status"] == "succeeded"
    assert (ann.invoices()[0]["balance_minor"], ann.invoices()[0]["status"]) == (1000, "open")
    for amount in (100, 1000):
        assert correct(world, invoice, "refunds", amount_minor=amount).status_code == 201
        assert ann.invoices()[0]["balance_minor"] == 1000
    assert ann.invoices()[0]["payments"][0]["refunded_minor"] == 2100
    world.go_to("2026-05-02")
    assert (world.charges(), ann.subscription()["status"]) == ([24995, 1000, 24995], "active")


def test_no_more_than_the_payment_can_be_refunded_or_credited(world, ann):
    invoice = ann.invoices()[0]
    assert correct(world, invoice, "refunds", amount_minor=24996).status_code == 422
    assert correct(world, invoice, "refunds").json["amount_minor"] == 24995
    assert correct(world, invoice, "refunds").json["code"] == "wrong_state"
    assert correct(world, invoice, "credit-notes", amount_minor=1).status_code == 422
    assert balance(ann) == 0


def test_a_refund_without_a_credit_note_cannot_exceed_what_is_left_of_the_payment(world, ann):
    invoice = ann.invoices()[0]
    for amount, status in ((24996, 422), (20000, 201), (4996, 422), (4995, 201)):
        response = correct(world, invoice, "refunds", amount_minor=amount, credit_note=False)
        assert (response.status_code, response.json.get("errors", {}).keys()) == (
            status,
            {"amount_minor"} if status == 422 else set(),
        )
    assert correct(world, invoice, "refunds", amount_minor=1, credit_note=False).json["code"] == "wrong_state"
    assert world.charges(kind="refund") == [20000, 4995]


def test_a_credit_note_cannot_exceed_what_is_left_of_its_line(world, ann):
    invoice = ann.invoices()[0]
    line = invoice["lines"][0]["id"]
    for amount, status in ((24996, 422), (1000, 201), (23996, 422), (23995, 201), (1, 422)):
        lines = [{"line_id": line, "amount_minor": amount}]
        assert correct(world, invoice, "credit-notes", lines=lines).status_code == status
    assert balance(ann) == 24995


def test_an_open_invoice_that_was_credited_cannot_be_voided(world, ann):
    invoice = overdue(world, ann, "2026-05-03T06:00:00")
    assert correct(world, invoice, "credit-notes", amount_minor=1).status_code == 201
    response = correct(world, invoice, "void")
    assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    assert (ann.invoices()[1]["status"], ann.invoices()[1]["balance_minor"]) == ("open", 24994)


def test_a_prorated_cancellation_and_a_refund_of_the_rest_add_up(world):
    """KB-009."""
    world.go_to("2026-07-19")
    ann = world.person()
    ann.subscribe(world.plan("annual", 239995, interval="year", trial_days=30))
    world.go_to("2026-09-17T06:00:00")
    body = {"when": "now", "effective_date": "2026-09-17", "credit": "prorated"}
    world.operator.post(f"/v1/admin/subscriptions/{ann.subscription()['id']}/cancellation", body)
    assert ann.lines()[-1] == ("credit", "2026-09-17", "2027-08-18", -220269)
    refund = correct(world, ann.invoices()[1], "refunds")
    assert (refund.json["amount_minor"], balance(ann)) == (19726, 220269)


def test_a_credit_note_returns_tax_in_proportion(world):
    """LG-018."""
    world.operator.put("/v1/admin/tax-rates/FR", {"percent": 20, "name": "TVA"})
    ann = world.person(country="FR")
    ann.subscribe(world.plan("p", 76900, currency="EUR"))
    invoice = ann.invoices()[0]
    lines = [{"line_id": invoice["lines"][0]["id"], "amount_minor": 72686}]
    note = correct(world, invoice, "credit-notes", lines=lines).json
    assert (note["net_minor"], note["tax_minor"], note["total_minor"]) == (72686, 14537, 87223)
    rest = correct(world, invoice, "credit-notes").json
    assert (rest["net_minor"], rest["tax_minor"]) == (4214, 843)
    assert balance(ann) == 92280


def test_a_credited_amount_includes_the_tax_that_is_added_to_the_price(world):
    world.operator.put("/v1/admin/tax-rates/FR", {"percent": 20, "name": "TVA"})
    ann = world.person(country="FR")
    ann.subscribe(world.plan("p", 1000, currency="EUR"))
    amounts = [
        (note["net_minor"], note["tax_minor"])
        for body in ({"amount_minor": 120}, {"amount_minor": 1}, {})
        if (note := correct(world, ann.invoices()[0], "credit-notes", **body).json)
    ]
    assert amounts == [(100, 20), (1, 0), (899, 180)]


def test_an_open_invoice_can_be_voided_and_a_paid_one_cannot(world, ann):
    assert correct(world, ann.invoices()[0], "void").json["code"] == "wrong_state"
    world.next_charge("decline")
    world.go_to("2026-05-01T06:00:00")
    assert ann.subscription()["status"] == "past_due"
    assert correct(world, ann.invoices()[1], "void").json["status"] == "void"
    assert correct(world, ann.invoices()[1], "void").json["code"] == "wrong_state"
    assert ann.subscription()["status"] == "active"
    world.go_to("2026-05-05")
    assert world.charges() == [24995]


def test_a_refund_of_a_change_returns_what_the_change_cost(world):
    """30.00 and 60.00 plus 10 % tax, halfway through: at most 16.50. No net amount plus tax comes to exactly 0.05."""
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 10, "name": "MwSt."})
    world.go_to("2026-04-01T12:00:00")
    low, high = world.plan("q", 3000, 6000)
    bob = world.person(country="DE")
    bob.subscribe(low)
    world.go_to("2026-04-16T12:00:00")
    bob.post(f"/v1/subscriptions/{bob.subscription()['id']}/plan-change", {"price_id": high})
    first, change = bob.invoices()
    assert [line["cause"] for invoice in (first, change) for line in invoice["lines"]] == ["renewal", "e1", "e1"]
    assert (change["total_minor"], world.charges()) == (1650, [3300, 1650])
    assert correct(world, change, "credit-notes", amount_minor=1651).status_code == 422
    assert correct(world, change, "refunds").json["amount_minor"] == 1650
    assert (balance(bob), bob.invoices()[1]["status"]) == (0, "paid")
    assert correct(world, change, "credit-notes").status_code == 422
    refunded = [correct(world, first, "refunds", amount_minor=amount).json["amount_minor"] for amount in (5, 50, 39)]
    assert refunded == [5, 50, 39]


def overdue(world, ann, until):
    """Return the invoice of the second month, still uncollected at `until`."""
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to(until)
    return ann.invoices()[1]


def test_a_written_off_invoice_is_not_collected_and_yields_no_credit(world, ann):
    """The subscription continues, even from a suspension. Lost days, cancellation, and credit notes yield nothing."""
    invoice = overdue(world, ann, "2026-05-10T06:00:00")
    subscription = ann.subscription()
    assert (subscription["status"], subscription["access_until"]) == ("past_due", "2026-05-08T00:00:00Z")
    response = correct(world, invoice, "write-off")
    assert (response.status_code, response.json["status"], response.json["balance_minor"]) == (200, "uncollectible", 0)
    subscription = ann.subscription()
    assert (subscription["status"], subscription["access_until"], subscription["past_due_since"]) == (
        "active",
        None,
        None,
    )
    assert [correct(world, invoice, what).json["code"] for what in ("write-off", "void")] == ["wrong_state"] * 2
    [event] = [
        event
        for event in world.operator.get("/v1/admin/audit").json["items"]
        if event["action"] == "invoice_written_off"
    ]
    assert (event["account_id"], event["details"]["amount_minor"]) == (ann.id, 24995)
    assert correct(world, invoice, "credit-notes", amount_minor=5000).status_code == 201
    ann.post(f"/v1/subscriptions/{subscription['id']}/cancellation", {"when": "now"})
    assert ([line[3] for line in ann.lines()], balance(ann)) == ([24995, 24995, 0], 0)
    assert (ann.invoices()[1]["status"], world.charges()) == ("uncollectible", [24995])


def test_a_written_off_invoice_can_be_paid_manually_and_then_credited(world, ann):
    invoice = overdue(world, ann, "2026-05-03T06:00:00")
    correct(world, invoice, "write-off")
    correct(world, invoice, "credit-notes", amount_minor=5)
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").json["code"] == "payment_failed"
    assert (ann.invoices()[1]["status"], ann.subscription()["status"]) == ("uncollectible", "active")
    card = {"payment_method_id": ann.add_card()}
    assert world.charges() == [24995]
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments", card).status_code == 201
    assert (ann.invoices()[1]["status"], world.charges()) == ("paid", [24995, 24990])
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments", card).json["code"] == "invoice_not_open"
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert balance(ann) == round(24995 * 28 / 31)


def test_an_invoice_is_not_written_off_while_a_payment_is_in_flight(world, ann):
    assert correct(world, ann.invoices()[0], "write-off").json["code"] == "wrong_state"
    world.next_charge("error")
    world.go_to("2026-05-01T00:00:00")
    [payment] = ann.invoices()[1]["payments"]
    assert payment["status"] == "unknown"
    assert correct(world, ann.invoices()[1], "write-off").json["code"] == "payment_in_progress"
    world.go_to("2026-05-01T00:01:00")
    assert world.charges() == [24995, 24995]


def test_a_partial_dispute_and_a_refund_return_no_more_than_was_paid(world, ann):
    invoice = ann.invoices()[0]
    path = f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute"
    assert world.operator.post(path, {"amount_minor": 10000}).json["disputed_minor"] == 10000
    assert correct(world, invoice, "write-off").json["status"] == "uncollectible"
    assert correct(world, invoice, "refunds").json["amount_minor"] == 14995
    assert (balance(ann), ann.invoices()[0]["status"]) == (0, "paid")
    assert world.operator.delete(path).status_code == 200
    assert balance(ann) == 10000


def test_a_disputed_payment_is_owed_again_until_the_bank_decides(world, ann):
    payment = ann.invoices()[0]["payments"][0]["id"]
    world.operator.post(f"/v1/sandbox/payments/{payment}/dispute")
    assert (ann.subscription()["status"], ann.invoices()[0]["balance_minor"]) == ("past_due", 24995)
    world.operator.delete(f"/v1/sandbox/payments/{payment}/dispute")
    assert (ann.subscription()["status"], ann.invoices()[0]["status"]) == ("active", "paid")
    assert world.charges() == [24995]


def test_an_operator_can_backdate_a_cancellation(world):
    """KB-053: one invoice per past period; an amount already credited is not credited again."""
    world.go_to("2026-09-20")
    ann = world.person()
    ann.subscribe(world.plan("b", 2995), start_date="2026-08-10")
    _, second = ann.invoices()
    assert [line[1:] for line in ann.lines()] == [
        ("2026-08-10", "2026-09-10", 2995),
        ("2026-09-10", "2026-10-10", 2995),
    ]
    correct(world, second, "credit-notes")
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/cancellation"
    world.operator.post(path, {"when": "now", "effective_date": "2026-09-10"})
    assert ann.lines()[-1] == ("credit", "2026-09-10", "2026-10-10", 0)
    assert balance(ann) == 2995


def test_a_price_migration_waits_for_a_renewal_on_or_after_its_day(world):
    """KB-035."""
    world.go_to("2026-03-05")
    old, new, other = world.plan("p", 1000, 1500, 700)
    ann, bob = world.person(), world.person()
    ann.subscribe(old)
    bob.subscribe(other)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-05-15"}
    assert world.operator.post("/v1/admin/price-migrations", body).json["subscriptions"] == 1
    world.operator.post("/v1/admin/price-migrations", body)
    assert ann.subscription()["pending_change"] == {"price_id": new, "effective": "2026-05-15"}
    assert bob.subscription()["pending_change"] is None
    world.go_to("2026-06-06")
    assert [[invoice["total_minor"] for invoice in person.invoices()] for person in (ann, bob)] == [
        [1000, 1000, 1000, 1500],
        [700] * 4,
    ]


def test_a_price_migration_skips_subscriptions_that_left_the_old_price(world):
    world.go_to("2026-03-05")
    old, new, other = world.plan("p", 1000, 1500, 3000)
    ann = world.person()
    ann.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-03-06", "notice_days": 10}
    assert world.operator.post("/v1/admin/price-migrations", body).json["effective"] == "2026-03-15"
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": other})
    world.go_to("2026-04-06")
    assert ann.subscription()["price"]["id"] == other
