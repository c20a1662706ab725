"""Part payments: an invoice paid in parts by its owner or an operator, and charges of which only a part is captured."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """A world at noon of 1 April with a plan for 30.00. Every test ends with an audit of the books."""
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    world.base = world.plan("base", 3000)
    yield world
    assert world.differences() == []


def debtor(world, **more):
    """Return a subscriber whose renewal of 1 May was declined, and that invoice's path."""
    person = world.person(**more)
    assert person.subscribe(world.base).status_code == 201
    world.next_charge("decline")
    world.go_to("2026-05-01T12:00:00")
    return person, f"/v1/invoices/{person.invoices()[-1]['id']}"


def capture_next(world, amount=None):
    body = {"next": "partial"} | ({"amount_minor": amount} if amount else {})
    assert world.operator.put("/v1/sandbox/payments", body).status_code == 200


def record_payment(world, path, **body):
    return world.operator.post(f"/v1/admin{path.removeprefix('/v1')}/payments", body)


def state(person, path):
    invoice = person.get(path).json
    return tuple(invoice[name] for name in ("status", "amount_paid_minor", "balance_minor"))


def test_an_invoice_is_paid_in_parts(world):
    ann, path = debtor(world)
    bob = world.person()
    paid = ann.post(f"{path}/payments", {"amount_minor": 1000})
    assert (paid.status_code, paid.json["amount_minor"], paid.json["requested_minor"]) == (201, 1000, None)
    assert (state(ann, path), ann.subscription()["status"]) == (("open", 1000, 2000), "past_due")
    for amount in (2001, 0, -1, 10**13):
        assert ann.post(f"{path}/payments", {"amount_minor": amount}).status_code == 422
    assert bob.post(f"{path}/payments", {"amount_minor": 1}).status_code == 404
    assert ann.post(f"{path}/payments", {"amount_minor": 500}).status_code == 201
    assert ann.post(f"{path}/payments").json["amount_minor"] == 1500
    assert (state(ann, path), ann.subscription()["status"]) == (("paid", 3000, 0), "active")
    assert ann.post(f"{path}/payments", {"amount_minor": 1}).json["code"] == "invoice_not_open"


def test_the_rest_is_retried_on_the_dunning_schedule(world):
    ann, path = debtor(world)
    ann.post(f"{path}/payments", {"amount_minor": 1000})
    assert ann.get(path).json["next_attempt_on"] == "2026-05-02"
    world.next_charge("decline")
    world.go_to("2026-05-03T12:00:00")
    assert state(ann, path) == ("open", 1000, 2000)
    world.go_to("2026-05-05T12:00:00")
    assert (state(ann, path), world.charges()) == (("paid", 3000, 0), [3000, 1000, 2000])


def test_a_part_that_is_declined_changes_nothing(world):
    ann, path = debtor(world)
    world.next_charge("decline")
    assert ann.post(f"{path}/payments", {"amount_minor": 1000}).json["code"] == "payment_failed"
    assert state(ann, path) == ("open", 0, 3000)


def test_an_operator_records_a_bank_transfer_of_a_part(world):
    ann, path = debtor(world)
    recorded = record_payment(world, path, amount_minor=1200, reference="RF18 5390")
    assert recorded.status_code == 201
    payment = recorded.json
    assert (payment["status"], payment["payment_method_id"], payment["reference"]) == ("succeeded", None, "RF18 5390")
    assert state(ann, path) == ("open", 1200, 1800)
    assert record_payment(world, path, amount_minor=1801).status_code == 422
    assert record_payment(world, path).json["amount_minor"] == 1800
    assert (state(ann, path), ann.subscription()["status"]) == (("paid", 3000, 0), "active")
    assert record_payment(world, path).json["code"] == "invoice_not_open"
    assert world.charges() == [3000]
    events = world.operator.get("/v1/admin/audit?limit=20").json["items"]
    details = next(event["details"] for event in events if event["action"] == "payment_recorded")
    assert details["new"]["balance_minor"] == 0
    assert record_payment(world, "/v1/invoices/inv_none").status_code == 404


def test_a_written_off_invoice_is_paid_in_parts(world):
    ann, path = debtor(world)
    assert world.operator.post(f"/v1/admin{path.removeprefix('/v1')}/write-off").status_code == 200
    assert ann.post(f"{path}/payments", {"amount_minor": 3001}).status_code == 422
    assert ann.post(f"{path}/payments", {"amount_minor": 1000}).status_code == 201
    assert state(ann, path) == ("uncollectible", 1000, 0)
    assert record_payment(world, path, amount_minor=500).status_code == 201
    assert ann.post(f"{path}/payments").json["amount_minor"] == 1500
    assert state(ann, path) == ("paid", 3000, 0)


def test_each_part_is_refunded_to_where_it_came_from(world):
    """The 8.00 that came by bank transfer go back by hand, 10.00 and 12.00 to the card."""
    ann, path = debtor(world)
    parts = [ann.post(f"{path}/payments", {"amount_minor": amount}).json["id"] for amount in (1000, 1200)]
    parts.append(record_payment(world, path).json["id"])
    refunds = f"/v1/admin{path.removeprefix('/v1')}/refunds"
    assert world.operator.post(refunds, {"payment_id": parts[0], "amount_minor": 1001}).status_code == 422
    one = world.operator.post(refunds, {"payment_id": parts[0]})
    assert (one.status_code, one.json["amount_minor"]) == (201, 1000)
    two = world.operator.post(refunds, {"amount_minor": 1500}).json
    assert (two["payment_id"], two["amount_minor"]) == (parts[2], 800)
    rest = world.operator.post(refunds, {}).json
    assert (rest["payment_id"], rest["amount_minor"]) == (parts[1], 500)
    payments = ann.get(path).json["payments"]
    refunded = {payment["id"]: payment["refunded_minor"] for payment in payments if payment["status"] == "succeeded"}
    assert refunded == dict(zip(parts, (1000, 1200, 800), strict=True))
    assert (ann.balances(), world.charges(kind="refund")) == ([], [1000, 700, 500])
    assert world.operator.post(refunds, {}).json["code"] == "wrong_state"


def test_a_capture_of_a_part_leaves_the_rest_open(world):
    """The renewal asks for 30.00 and gets 10.00; the rest is retried the day after."""
    ann = world.person()
    ann.subscribe(world.base)
    capture_next(world, 1000)
    world.go_to("2026-05-01T12:00:00")
    invoice = ann.invoices()[-1]
    path = f"/v1/invoices/{invoice['id']}"
    payment = invoice["payments"][0]
    assert (payment["status"], payment["amount_minor"], payment["requested_minor"]) == ("succeeded", 1000, 3000)
    assert (state(ann, path), invoice["next_attempt_on"]) == (("open", 1000, 2000), "2026-05-02")
    assert ann.subscription()["status"] == "past_due"
    world.go_to("2026-05-02T12:00:00")
    assert (state(ann, path), world.charges()) == (("paid", 3000, 0), [3000, 1000, 2000])
    assert ann.subscription()["status"] == "active"


def test_a_start_that_is_paid_in_part_does_not_happen_and_the_money_is_credit(world):
    capture_next(world)
    ann = world.person()
    refused = ann.subscribe(world.base)
    assert (refused.status_code, refused.json["decline_code"]) == (402, "partially_captured")
    assert ann.subscription()["status"] == "canceled"
    assert (ann.invoices()[0]["status"], ann.balances()) == ("void", [{"currency": "USD", "amount_minor": 1500}])
    assert ann.subscribe(world.base).status_code == 201
    assert (world.charges(), ann.balances()) == ([1500, 1500], [])


def test_a_change_that_is_paid_in_part_does_not_happen_and_the_money_is_credit(world):
    ann, large = world.person(), world.plan("large", 9000)
    ann.subscribe(world.base)
    capture_next(world, 100)
    step = f"/v1/subscriptions/{ann.subscription()['id']}/plan-change"
    assert ann.post(step, {"price_id": large}).json["decline_code"] == "partially_captured"
    assert ann.subscription()["price"]["amount_minor"] == 3000
    assert ann.balances() == [{"currency": "USD", "amount_minor": 100}]


def test_what_takes_effect_only_when_paid_is_not_paid_in_parts(world):
    ann = world.person(card="pm_card_authenticationRequired")
    assert ann.subscribe(world.base).json["code"] == "authentication_required"
    path = f"/v1/invoices/{ann.invoices()[0]['id']}"
    assert ann.post(f"{path}/payments", {"amount_minor": 1}).status_code == 422
    assert record_payment(world, path, amount_minor=1).status_code == 422
    assert record_payment(world, path).json["code"] == "payment_in_progress"
    assert state(ann, path) == ("open", 0, 3000)


def test_a_disputed_part_is_owed_again(world):
    ann, path = debtor(world)
    payment = ann.post(f"{path}/payments", {"amount_minor": 1000}).json["id"]
    assert world.operator.post(f"/v1/sandbox/payments/{payment}/dispute").status_code == 200
    assert state(ann, path) == ("open", 0, 3000)
    assert ann.post(f"{path}/payments").json["amount_minor"] == 3000
    assert world.operator.delete(f"/v1/sandbox/payments/{payment}/dispute").status_code == 200
    assert (state(ann, path), ann.balances()) == (("paid", 4000, 0), [{"currency": "USD", "amount_minor": 1000}])


@pytest.mark.every_database
def test_parts_sent_at_once_never_exceed_what_is_owed(world):
    """Eight threads: four of the owner's with 10.00 each, and four of an operator's."""
    ann, path = debtor(world)
    token = ann.headers()["Authorization"].removeprefix("Bearer ")
    admin_path = f"/v1/admin{path.removeprefix('/v1')}"

    def pay(n):
        caller = type(world.operator)(world.app, token if n % 2 else world.operator.token)
        response = caller.post(f"{path if n % 2 else admin_path}/payments", {"amount_minor": 1000})
        return response.status_code, response.json.get("code")

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(pay, range(8)))
    allowed = {(201, None), (409, "payment_in_progress"), (409, "invoice_not_open"), (422, "validation_failed")}
    assert set(results) <= allowed, results
    paid = results.count((201, None)) * 1000
    assert 1000 <= paid <= 3000
    assert state(ann, path) == ("open" if paid < 3000 else "paid", paid, 3000 - paid)
