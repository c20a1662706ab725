"""What an account owes: every route out of a debt, one dunning case per account, and who may not flee it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.worlds.billing_world import World
from tests.worlds.scenes import set_scene


def build_world(app, with_ann):
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    world.price = world.plan("p", 3100)
    world.bystander = world.person()
    world.bystander.subscribe(world.price)
    if with_ann:
        world.ann = world.person()
        world.ann.subscribe(world.price)
    return world


@pytest.fixture
def world(app, request):
    """Every test ends with an audit of the books, and with a bystander whose subscription nobody has touched."""
    world = set_scene(app, build_world, "ann" in request.fixturenames)
    bystander = world.bystander
    yield world
    assert world.differences() == []
    assert {invoice["status"] for invoice in bystander.invoices()} == {"paid"}
    assert (bystander.subscription()["status"], bystander.subscription()["access_until"]) == ("active", None)
    assert bystander.balances() == []


@pytest.fixture
def ann(world):
    return world.ann


def correct(world, invoice, what, **body):
    return world.operator.post(f"/v1/admin/invoices/{invoice['id']}/{what}", body)


def dispute(world, invoice, **body):
    """Charge back the invoice's first payment, or `amount_minor` of it."""
    path = f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute"
    response = world.operator.post(path, body)
    assert response.status_code == 200, response.json
    return path


def cancel(person, **body):
    response = person.post(f"/v1/subscriptions/{person.subscription()['id']}/cancellation", {"when": "now", **body})
    assert response.status_code == 200, response.json


def charge_once(world, person, amount_minor=1190):
    body = {"account_id": person.id, "amount_minor": amount_minor, "currency": "USD", "description": "A poster"}
    return world.operator.post("/v1/admin/invoices", body).json


def credit_account(world, person, amount_minor):
    body = {"amount_minor": amount_minor, "currency": "USD"}
    assert world.operator.post(f"/v1/admin/accounts/{person.id}/credits", body).status_code == 201


def gift_code(world, amount_minor, currency="USD"):
    body = {"amount_minor": amount_minor, "currency": currency, "quantity": 1}
    return world.operator.post("/v1/admin/gift-codes", body).json["code"]


def credit(person):
    return sum(balance["amount_minor"] for balance in person.balances())


def state(person):
    """Return what a debt decides: each invoice's status, balance and next attempt, and the subscription's standing."""
    subscription = person.subscription()
    invoices = [(row["status"], row["balance_minor"], row["next_attempt_on"]) for row in person.invoices()]
    return invoices, subscription["status"], subscription["past_due_since"], subscription["access_until"]


def kinds_of_mail(world, *kinds):
    world.go_to(world.clock.at)
    items = world.operator.get("/v1/sandbox/emails?limit=100").json["items"]
    return sorted((mail["sent_at"][:10], mail["kind"]) for mail in items if mail["kind"] in kinds)


CLEAR = ([("paid", 0, None)], "active", None, None)


def refund_everything(world, ann, invoice):
    assert correct(world, invoice, "refunds").status_code == 201


def issue_a_credit_note(world, ann, invoice):
    assert correct(world, invoice, "credit-notes", amount_minor=1000).status_code == 201


def credit_every_line(world, ann, invoice):
    lines = [{"line_id": invoice["lines"][0]["id"], "amount_minor": 3100}]
    assert correct(world, invoice, "credit-notes", lines=lines).status_code == 201


def win_the_dispute(world, ann, invoice):
    assert world.operator.delete(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute").status_code == 200


def write_off_and_pay(world, ann, invoice):
    assert correct(world, invoice, "write-off").json["status"] == "uncollectible"
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201


def grant_credit(world, ann, invoice):
    credit_account(world, ann, 1000)


def redeem_a_gift_code(world, ann, invoice):
    assert ann.post("/v1/gift-redemptions", {"code": gift_code(world, 1000)}).status_code == 201


def pay_by_hand(world, ann, invoice):
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201


def add_another_card(world, ann, invoice):
    ann.add_card("pm_card_visa:another")


def authenticate_a_payment(world, ann, invoice):
    ann.add_card("pm_card_authenticationRequired")  # charged at once, and waits for its payer
    payment = ann.invoices()[0]["payments"][-1]
    path = f"/v1/sandbox/payments/{payment['id']}/authentication"
    assert world.operator.post(path, {"approve": True}).status_code == 200


def let_another_card_be_retried(world, ann, invoice):
    world.next_charge("decline")
    card = ann.add_card("pm_card_visa:another")
    world.next_charge("decline")
    ann.put(f"/v1/payment-methods/{card}/default")
    assert ann.invoices()[0]["status"] == "open"
    world.go_to("2026-04-02T12:00:00")


ROUTES = [
    refund_everything,
    issue_a_credit_note,
    credit_every_line,
    win_the_dispute,
    write_off_and_pay,
    grant_credit,
    redeem_a_gift_code,
    pay_by_hand,
    add_another_card,
    authenticate_a_payment,
    let_another_card_be_retried,
]


@pytest.mark.parametrize("route", ROUTES)
def test_whoever_owes_nothing_is_not_overdue(world, ann, route):
    """10.00 of 31.00 are charged back, and then no longer owed, by each route there is."""
    [invoice] = ann.invoices()
    dispute(world, invoice, amount_minor=1000)
    invoices, *standing = state(ann)
    assert (invoices[0][:2], standing) == (("open", 1000), ["past_due", "2026-04-01", "2026-04-08T00:00:00Z"])
    route(world, ann, invoice)
    assert state(ann) == CLEAR
    world.go_to("2026-04-30T12:00:00")
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)


def test_a_chargeback_long_after_a_decline_starts_a_new_dunning_case(world, ann):
    """The renewal failed on 1 May and was paid on the 2nd. A chargeback in August has its own days of grace."""
    for _ in range(2):  # the bystander's renewal and hers
        world.next_charge("decline")
    world.go_to("2026-05-03T12:00:00")
    assert [payment["status"] for payment in ann.invoices()[1]["payments"]] == ["failed", "succeeded"]
    world.go_to("2026-08-10T12:00:00")
    invoice = ann.invoices()[1]
    path = f"/v1/sandbox/payments/{invoice['payments'][-1]['id']}/dispute"
    assert world.operator.post(path).status_code == 200
    subscription = ann.subscription()
    assert (subscription["status"], subscription["past_due_since"]) == ("past_due", "2026-08-10")
    assert subscription["access_until"] == "2026-08-17T00:00:00Z"
    assert world.operator.delete(path).status_code == 200
    assert ann.subscription()["status"] == "active"


# a debt that nobody collects


def canceled_and_restarted(world):
    """Return somebody who paid 31.00, canceled for credit, restarted on that credit, and charged the 31.00 back."""
    bob = world.person()
    bob.subscribe(world.price)
    cancel(bob)
    assert (bob.subscribe(world.price).status_code, credit(bob)) == (201, 0)
    dispute(world, bob.invoices()[0])
    return bob


def test_a_debt_of_an_ended_subscription_suspends_and_then_ends_the_live_one(world):
    bob = canceled_and_restarted(world)
    subscription = bob.subscription()
    assert (subscription["status"], subscription["access_until"]) == ("past_due", "2026-04-08T00:00:00Z")
    world.go_to("2026-04-08T12:00:00")
    assert bob.get("/v1/sessions/current").json["entitlements"]["active"] is False
    world.go_to("2026-04-22T12:00:00")
    assert bob.subscription()["status"] == "canceled"
    invoice = bob.invoices()[0]
    assert (invoice["status"], invoice["balance_minor"], invoice["next_attempt_on"]) == ("uncollectible", 0, None)
    assert (invoice["credit_applied_minor"], credit(bob)) == (2377, 0)  # 23 of the 30 days of the live subscription
    assert world.charges()[1:] == [3100, 103]


def test_the_card_whose_owner_disputed_the_payment_is_not_charged_for_it_again(world):
    bob = canceled_and_restarted(world)
    world.go_to("2026-04-07T12:00:00")
    assert (bob.invoices()[0]["status"], len(bob.invoices()[0]["payments"])) == ("open", 1)
    bob.add_card("pm_card_visa:another")
    assert (bob.invoices()[0]["status"], bob.subscription()["status"]) == ("paid", "active")
    assert (world.charges()[1:], bob.subscription()["access_until"]) == ([3100, 103, 3100], None)


def test_a_debt_without_a_subscription_is_retried_on_the_default_card_and_then_written_off(world, ann):
    [invoice] = ann.invoices()
    correct(world, invoice, "refunds", amount_minor=1000, credit_note=False)
    cancel(ann, credit="none")
    for _ in range(6):
        world.next_charge("decline")
    world.go_to("2026-04-20T12:00:00")
    attempts = [payment["created_at"][:10] for payment in ann.invoices()[0]["payments"][1:]]
    assert attempts == [f"2026-04-{day:02}" for day in (2, 4, 6, 8, 11, 15)]
    assert ann.invoices()[0]["status"] == "open"
    world.go_to("2026-04-22T12:00:00")
    assert (ann.invoices()[0]["status"], ann.invoices()[0]["next_attempt_on"]) == ("uncollectible", None)
    notices = kinds_of_mail(world, "payment_failed", "payment_overdue")
    assert notices == [("2026-04-01", "payment_failed"), ("2026-04-08", "payment_overdue")]


def test_a_debt_without_a_subscription_is_paid_by_the_first_retry_that_succeeds(world, ann):
    [invoice] = ann.invoices()
    correct(world, invoice, "refunds", amount_minor=1000, credit_note=False)
    cancel(ann, credit="none")
    world.go_to("2026-04-02T12:00:00")
    assert (ann.invoices()[0]["status"], world.charges()[1:]) == ("paid", [3100, 1000])


def test_canceling_does_not_clear_what_is_overdue(world, ann):
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-05-03T12:00:00")
    cancel(ann)
    overdue = ann.invoices()[1]
    assert (overdue["status"], overdue["balance_minor"]) == ("open", 300)  # three of 31 days
    response = ann.subscribe(world.price)
    assert (response.status_code, response.json["code"]) == (409, "payment_overdue")
    [named] = response.json["invoices"]
    assert named == {name: overdue[name] for name in ("id", "number", "currency", "balance_minor")}
    assert ann.post("/v1/invoice-previews", {"price_id": world.price}).json["code"] == "payment_overdue"
    assert (
        world.operator.post("/v1/admin/subscriptions", {"account_id": ann.id, "price_id": world.price}).json["code"]
        == "payment_overdue"
    )
    card = ann.add_card()
    ann.put(f"/v1/payment-methods/{card}/default")
    assert ann.invoices()[1]["status"] == "paid"
    assert ann.subscribe(world.price).status_code == 201


def test_a_debt_in_its_days_of_grace_does_not_block_a_start(world, ann, monkeypatch, app):
    settings = app.extensions["settings"].replace(dunning="retry=1,3,5 warn=5 suspend=7 cancel=21")
    monkeypatch.setitem(app.extensions, "settings", settings)
    correct(world, ann.invoices()[0], "refunds", amount_minor=1000, credit_note=False)
    cancel(ann, credit="none")
    for _ in range(3):
        world.next_charge("decline")
    world.go_to("2026-04-05T13:00:00")
    assert ann.post("/v1/invoice-previews", {"price_id": world.price}).status_code == 200
    world.go_to("2026-04-06T13:00:00")
    assert ann.subscribe(world.price).json["code"] == "payment_overdue"


def test_a_change_is_refused_while_any_invoice_of_the_account_is_overdue(world, ann):
    dearer = world.plan("q", 6200)
    world.next_charge("decline")
    poster = charge_once(world, ann)
    response = ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": dearer})
    assert (response.status_code, response.json["code"]) == (409, "payment_overdue")
    assert [invoice["id"] for invoice in response.json["invoices"]] == [poster["id"]]
    ann.post(f"/v1/invoices/{poster['id']}/payments")
    response = ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": dearer})
    assert response.status_code == 200


def test_access_ends_with_the_earliest_of_suspension_and_scheduled_end(world, ann):
    """One debt of 10 April and one of 12 April; and one of 29 April, whose subscription ends on 1 May."""
    eva = world.person()
    eva.subscribe(world.price)
    for person in (ann, eva):
        person.put(f"/v1/payment-methods/{person.add_card('pm_card_chargeDeclined')}/default")
    for day in (10, 12):
        world.go_to(f"2026-04-{day}T12:00:00")
        charge_once(world, ann)
        assert (ann.subscription()["past_due_since"], ann.subscription()["access_until"]) == (
            "2026-04-10",
            "2026-04-17T00:00:00Z",
        )
    cancel(ann, when="period_end")
    assert ann.subscription()["access_until"] == "2026-04-17T00:00:00Z"
    world.go_to("2026-04-29T12:00:00")
    cancel(eva, when="period_end")
    charge_once(world, eva)
    assert eva.subscription()["access_until"] == "2026-05-01T00:00:00Z"


def test_a_one_off_debt_suspends_access_but_ends_no_subscription(world, ann):
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    charge_once(world, ann)
    assert ann.subscription()["access_until"] == "2026-04-08T00:00:00Z"
    world.go_to("2026-04-10T12:00:00")
    assert ann.get("/v1/sessions/current").json["entitlements"]["active"] is False
    world.go_to("2026-04-22T12:00:00")
    assert [invoice["status"] for invoice in ann.invoices()][:2] == ["paid", "uncollectible"]
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)


def test_access_returns_when_a_one_off_debt_comes_in_by_bank_transfer(world, ann):
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    invoice = charge_once(world, ann)
    world.go_to("2026-04-10T12:00:00")
    path = f"/v1/admin/invoices/{invoice['id']}/payments"
    assert world.operator.post(path, {"reference": "transfer 7"}).status_code == 201
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)


def test_a_one_off_charge_without_a_card_is_dunned_too(world):
    bob = world.person(card=None)
    invoice = charge_once(world, bob)
    assert (invoice["status"], invoice["next_attempt_on"]) == ("open", None)
    assert kinds_of_mail(world, "payment_failed") == [("2026-04-01", "payment_failed")]
    assert bob.subscribe(world.price).json["code"] == "payment_overdue"
    world.go_to("2026-04-22T12:00:00")
    assert bob.invoices()[0]["status"] == "uncollectible"


def test_several_overdue_invoices_are_one_case(world, ann):
    """A one-off and the renewal: one notice of each step, one run on the days of the oldest, one end."""
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-04-29T12:00:00")
    charge_once(world, ann)
    world.go_to("2026-05-09T12:00:00")
    poster, renewal = ann.invoices()[1:3]
    days = [[payment["created_at"][:10] for payment in invoice["payments"]] for invoice in (poster, renewal)]
    together = ["2026-05-02", "2026-05-04", "2026-05-06", "2026-05-09"]
    assert days == [["2026-04-29", "2026-04-30", *together], ["2026-05-01", *together]]
    assert ann.subscription()["past_due_since"] == "2026-04-29"
    world.go_to("2026-05-20T12:00:00")
    assert ann.subscription()["status"] == "canceled"
    assert [invoice["status"] for invoice in ann.invoices()[1:3]] == ["paid", "uncollectible"]  # credit of unused days
    assert [invoice["balance_minor"] for invoice in ann.invoices()] == [0] * 4
    notices = kinds_of_mail(world, "payment_failed", "payment_overdue", "subscription_ended")
    assert notices == [
        ("2026-04-29", "payment_failed"),
        ("2026-05-06", "payment_overdue"),
        ("2026-05-20", "subscription_ended"),
    ]


def test_a_new_card_pays_every_overdue_invoice_of_the_account(world, ann):
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-04-29T12:00:00")
    charge_once(world, ann)
    world.go_to("2026-05-02T12:00:00")
    ann.add_card()
    assert {invoice["status"] for invoice in ann.invoices()} == {"paid"}
    assert (ann.subscription()["status"], sorted(world.charges()[2:])) == ("active", [1190, 3100, 3100])


def test_a_debt_left_by_a_scheduled_end_is_collected(world, ann):
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "period_end"})
    world.go_to("2026-04-29T12:00:00")
    dispute(world, ann.invoices()[0])
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-05-05T12:00:00")
    assert (ann.subscription()["status"], ann.invoices()[0]["status"]) == ("canceled", "open")
    assert ann.invoices()[0]["next_attempt_on"] == "2026-05-06"
    world.go_to("2026-05-20T12:00:00")
    assert (ann.invoices()[0]["status"], ann.invoices()[0]["balance_minor"]) == ("uncollectible", 0)


# credit that came from a payment which is charged back


def test_credit_from_a_payment_that_is_charged_back_pays_the_debt_first(world, ann):
    cancel(ann)
    assert credit(ann) == 2997
    dispute(world, ann.invoices()[0])
    assert (credit(ann), ann.invoices()[0]["balance_minor"]) == (0, 103)


def test_credit_is_taken_back_even_if_the_invoice_was_written_off(world, ann):
    [invoice] = ann.invoices()
    dispute(world, invoice, amount_minor=1000)
    correct(world, invoice, "write-off")
    credit_account(world, ann, 700)
    path = f"/v1/admin/invoices/{invoice['id']}/refunds"
    assert world.operator.post(path, {"amount_minor": 900, "credit_note": False}).status_code == 201
    assert (ann.invoices()[0]["status"], credit(ann)) == ("uncollectible", 0)


def test_a_payment_is_disputed_once(world, ann):
    path = dispute(world, ann.invoices()[0])
    assert world.operator.post(path).json["code"] == "wrong_state"
    assert ann.invoices()[0]["balance_minor"] == 3100
    assert world.operator.delete(path).status_code == 200
    assert world.operator.delete(path).json["code"] == "wrong_state"
    assert state(ann) == CLEAR


# transfers


def test_a_subscription_is_not_transferred_away_from_a_debt_or_into_one(world, ann):
    bob = world.person()
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    world.next_charge("decline")
    charge_once(world, bob)
    assert world.operator.post(path, {"account_id": bob.id}).json["code"] == "wrong_state"
    bob.post(f"/v1/invoices/{bob.invoices()[0]['id']}/payments")
    world.next_charge("decline")
    poster = charge_once(world, ann)
    assert world.operator.post(path, {"account_id": bob.id}).json["code"] == "wrong_state"
    ann.post(f"/v1/invoices/{poster['id']}/payments")
    assert ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/pause").status_code == 200
    world.next_charge("decline")
    poster = charge_once(world, ann)
    assert world.operator.post(path, {"account_id": bob.id}).json["code"] == "wrong_state"
    ann.post(f"/v1/invoices/{poster['id']}/payments")
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200


def test_days_that_were_charged_back_do_not_survive_a_transfer(world, ann):
    bob = world.person()
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    charge_once(world, ann)
    world.go_to("2026-04-03T12:00:00")
    dispute(world, ann.invoices()[0])
    world.go_to("2026-04-04T12:00:00")
    assert (bob.subscription()["status"], bob.subscription()["past_due_since"]) == ("past_due", "2026-04-03")
    world.go_to("2026-04-22T12:00:00")  # her case is closed, but this debt waits for his subscription
    assert [invoice["status"] for invoice in ann.invoices()] == ["open", "uncollectible"]
    world.go_to("2026-04-24T12:00:00")
    assert (bob.subscription()["status"], credit(bob)) == ("canceled", 0)
    owed = [(invoice["status"], invoice["balance_minor"]) for invoice in ann.invoices()]
    assert owed == [("uncollectible", 0), ("uncollectible", 0)]


# credit notes


def test_a_line_is_named_once_in_a_credit_note(world, ann):
    [invoice] = ann.invoices()
    line = {"line_id": invoice["lines"][0]["id"], "amount_minor": 100}
    response = correct(world, invoice, "credit-notes", lines=[line, line])
    assert (response.status_code, list(response.json["errors"])) == (422, ["lines"])
    assert (credit(ann), ann.invoices()[0]["credit_notes"]) == (0, [])


def test_credit_notes_never_exceed_the_invoice(world, ann):
    """A change to 62.00 costs 31.00, since its own credit line pays the rest: no more than that is credited on it."""
    dearer = world.plan("q", 6200)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": dearer})
    change = ann.invoices()[1]
    line = next(line for line in change["lines"] if line["kind"] == "charge")
    total = change["total_minor"]
    assert 0 < total < line["amount_minor"]
    for amount_minor, status in ((total + 1, 422), (1000, 201), (total - 999, 422), (total - 1000, 201), (1, 422)):
        lines = [{"line_id": line["id"], "amount_minor": amount_minor}]
        assert correct(world, change, "credit-notes", lines=lines).status_code == status
    assert (credit(ann), sum(note["total_minor"] for note in ann.invoices()[1]["credit_notes"])) == (total, total)
    assert correct(world, change, "credit-notes").status_code == 422


def test_credit_notes_at_once_do_not_exceed_the_invoice(world, ann):
    """Four of 10.00 on an invoice that owes 31.00: three are issued, and none loses what another has written."""
    [invoice] = ann.invoices()
    dispute(world, invoice)

    def issue(_):
        for _ in range(10):  # on a busy machine a request may wait for the account's lock in vain; it changes nothing
            status = correct(world, invoice, "credit-notes", amount_minor=1000).status_code
            if status != 503:
                break
        return status

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(issue, range(4))) == [201, 201, 201, 422]
    assert (credit(ann), ann.invoices()[0]["balance_minor"]) == (0, 100)
