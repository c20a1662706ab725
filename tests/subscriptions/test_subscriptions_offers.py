import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def price(world):
    return world.plan("p", 1000)


def coupon(world, code, **terms):
    response = world.operator.put(f"/v1/admin/coupons/{code}", terms)
    assert response.status_code == 200, response.json
    return response.json


def totals(person):
    return [(invoice["discount_minor"], invoice["total_minor"]) for invoice in person.invoices()]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"percent_off": 50, "duration": "once"}, [(500, 500), (0, 1000), (0, 1000)]),
        ({"percent_off": 12.5, "duration": "forever"}, [(125, 875)] * 3),
        ({"percent_off": 20, "duration": "repeating", "periods": 2}, [(200, 800), (200, 800), (0, 1000)]),
        ({"amount_off_minor": 300, "currency": "USD", "duration": "once"}, [(300, 700), (0, 1000), (0, 1000)]),
        ({"amount_off_minor": 1500, "currency": "USD", "duration": "once"}, [(1000, 0), (500, 500), (0, 1000)]),
        ({"amount_off_minor": 1500, "currency": "USD", "duration": "forever"}, [(1000, 0)] * 3),
    ],
)
def test_a_coupon_applies_its_discount_for_its_duration(world, price, terms, expected):
    coupon(world, "c", **terms)
    ann = world.person()
    response = ann.subscribe(price, coupon="c")
    assert response.status_code == 201, response.json
    world.go_to("2026-03-16")
    assert totals(ann) == expected
    assert world.charges() == [total for _, total in expected if total]


def test_a_preview_knows_when_a_coupon_and_credit_run_out(world, price):
    coupon(world, "c", percent_off=50, duration="repeating", periods=2)
    ann = world.person()
    ann.subscribe(price, coupon="c")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 700, "currency": "USD"})
    renewal = ann.post("/v1/invoice-previews", {"subscription_id": ann.subscription()["id"]}).json
    assert (renewal["total_minor"], renewal["amount_due_minor"]) == (500, 0)
    assert renewal["next_renewal"] == {"date": "2026-03-15", "total_minor": 1000, "amount_due_minor": 800}
    world.go_to("2026-03-16")
    assert [invoice["amount_due_minor"] for invoice in ann.invoices()] == [500, 0, 800]


def test_a_period_started_by_a_change_uses_the_coupon(world, price):
    """A discount of 50 % for two periods: a month, and the year that replaces it."""
    coupon(world, "c", percent_off=50, duration="repeating", periods=2)
    ann = world.person()
    ann.subscribe(price, coupon="c")
    year = world.plan("y", 20_000, interval="year")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": year, "when": "now"})
    assert [invoice["discount_minor"] for invoice in ann.invoices()] == [500, 10_000]
    assert ann.subscription()["discounts"] == []


def test_a_coupon_can_be_redeemed_only_as_often_as_allowed(world, price):
    coupon(world, "c", percent_off=50, duration="once", max_redemptions=1)
    ann, bob = world.person(), world.person()
    assert ann.get("/v1/coupons/c").json["percent_off"] == 50.0
    ann.subscribe(price, coupon="c")
    assert ann.get("/v1/coupons/c").status_code == 404
    response = bob.subscribe(price, coupon="c")
    assert (response.status_code, response.json["code"]) == (422, "coupon_invalid")
    assert bob.get("/v1/subscriptions").json["items"] == []


@pytest.mark.parametrize(
    "terms",
    [
        {"percent_off": 50, "duration": "once", "expires_at": "2026-01-15T12:00:00Z"},
        {"amount_off_minor": 5, "currency": "EUR", "duration": "once"},
    ],
)
def test_a_coupon_that_expired_or_is_for_another_currency_is_refused(world, price, terms):
    coupon(world, "c", **terms)
    assert world.person().subscribe(price, coupon="c").json["code"] == "coupon_invalid"
    assert world.person().subscribe(price, coupon="none").json["code"] == "coupon_invalid"


@pytest.mark.parametrize("percent", [0, 100.5, -1, "1e999999", "NaN", "٢٠", " 20 ", "1_0", 0.00001, True, None, [], ""])
def test_an_invalid_percentage_is_refused(world, percent):
    response = world.operator.put("/v1/admin/coupons/c", {"percent_off": percent, "duration": "once"})
    assert (response.status_code, list(response.json["errors"])) == (422, ["percent_off"])


def test_a_coupon_is_returned_when_the_first_payment_fails(world, price):
    coupon(world, "c", percent_off=50, duration="once", max_redemptions=1)
    ann = world.person(card="pm_card_chargeDeclined")
    assert ann.subscribe(price, coupon="c").status_code == 402
    assert coupon(world, "c", percent_off=50, duration="once", max_redemptions=1)["redeemed"] == 0


def test_a_void_invoice_does_not_use_a_coupon(world, price):
    """B19."""
    coupon(world, "c", percent_off=50, duration="repeating", periods=2)
    ann = world.person()
    ann.subscribe(price, coupon="c")
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    assert world.operator.post(f"/v1/admin/invoices/{ann.invoices()[-1]['id']}/void").status_code == 200
    world.go_to("2026-04-16")
    assert [invoice["total_minor"] for invoice in ann.invoices()] == [500, 500, 500, 1000]


def test_a_credit_returns_the_paid_price_not_the_list_price(world):
    cheap, dear = world.plan("p", 1000, 2000)
    coupon(world, "c", percent_off=50, duration="once")
    world.go_to("2026-04-01")
    ann = world.person()
    ann.subscribe(cheap, coupon="c")
    world.go_to("2026-04-16T08:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": dear})
    assert [line[3] for line in ann.lines()] == [1000, -250, 1000]


def test_a_gift_becomes_account_credit_that_pays_before_the_card(world, price):
    gift = world.operator.post("/v1/admin/gift-codes", {"currency": "USD", "amount_minor": 1500}).json["items"][0]
    ann, bob = world.person(), world.person()
    assert ann.post("/v1/gift-redemptions", {"code": gift["code"]}).status_code == 201
    assert bob.post("/v1/gift-redemptions", {"code": gift["code"]}).json["code"] == "gift_code_invalid"
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 1500}]
    ann.subscribe(price)
    world.go_to("2026-02-16")
    assert world.charges() == [500]
    entries = ann.get("/v1/account/balance").json["items"]
    assert [entry["amount_minor"] for entry in entries] == [-500, -1000, 1500]


def test_a_gift_code_can_start_a_subscription_without_a_card(world, price):
    world.operator.post("/v1/admin/gift-codes", {"currency": "USD", "amount_minor": 1000, "code": "GIFT-2026"})
    ann = world.person(card=None)
    assert ann.subscribe(price, gift_code="GIFT-2026").json["status"] == "active"


def test_goodwill_pays_the_open_invoice_first_and_the_rest_remains(world):
    """KB-045."""
    world.go_to("2026-05-15")
    ann = world.person(card="pm_card_chargeCustomerFail")
    ann.subscribe(world.plan("p", 24995, trial_days=30), anchor_day=14)
    world.go_to("2026-06-14T06:00:00")
    assert ann.subscription()["status"] == "past_due"
    granted = world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 30000, "currency": "USD"})
    assert granted.json["balances"] == [{"currency": "USD", "amount_minor": 5005}]
    assert (ann.subscription()["status"], ann.invoices()[-1]["status"]) == ("active", "paid")
    good = ann.add_card()
    ann.put(f"/v1/payment-methods/{good}/default")
    world.go_to("2026-07-15")
    assert world.charges() == [19990]


def test_only_unspent_credit_can_be_withdrawn(world):
    ann = world.person()
    path = f"/v1/admin/accounts/{ann.id}/credits"
    world.operator.post(path, {"amount_minor": 500, "currency": "USD"})
    assert world.operator.post(path, {"amount_minor": -501, "currency": "USD"}).status_code == 422
    assert world.operator.post(path, {"amount_minor": -500, "currency": "USD"}).json["balances"] == []


@pytest.mark.parametrize(
    ("tax", "percent", "total", "contained"),
    [("exclusive", 20, 1200, 200), ("inclusive", 20, 1000, 167), ("exclusive", 8.875, 1089, 89)],
)
def test_tax_is_added_or_included(world, tax, percent, total, contained):
    assert world.operator.put("/v1/admin/tax-rates/US", {"percent": percent, "name": "VAT"}).status_code == 200
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, tax=tax))
    invoice = ann.invoices()[0]
    assert (invoice["total_minor"], invoice["tax_minor"], invoice["tax_name"]) == (total, contained, "VAT")


def test_the_tax_of_a_credit_is_that_of_its_line(world):
    """LG-002: 25 % added; 193.5 rounds up, and a second change credits the first one in full."""
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 25, "name": "MwSt"})
    small, middle, large = world.plan("p", 1000, 1500, 1900, currency="EUR")
    world.go_to("2026-03-05")
    ann = world.person(country="DE")
    ann.subscribe(small)
    world.go_to("2026-03-12T12:12:00")
    for price in (middle, large):
        ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": price})
    taxes = [[(line["amount_minor"], line["tax_minor"]) for line in invoice["lines"]] for invoice in ann.invoices()]
    assert taxes == [[(1000, 250)], [(-774, -194), (1161, 290)], [(-1161, -290), (1471, 368)]]


def gift_code(world, currency):
    body = {"currency": currency, "amount_minor": 1500}
    return world.operator.post("/v1/admin/gift-codes", body).json["items"][0]["code"]


def assert_unused(response, code, currency):
    assert (response.status_code, response.json["code"]) == (422, "gift_code_currency_mismatch")
    assert response.json["currency"] == currency


def test_a_gift_code_in_another_currency_is_refused_and_stays_usable(world, price):
    euros = world.plan("euros", 1400, currency="EUR")
    code = gift_code(world, "EUR")
    ann, bob = world.person(), world.person()
    ann.subscribe(price)
    assert_unused(ann.post("/v1/gift-redemptions", {"code": code}), code, "EUR")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now", "credit": "none"})
    assert_unused(ann.post("/v1/gift-redemptions", {"code": code}), code, "EUR")
    assert_unused(bob.subscribe(price, gift_code=code), code, "EUR")
    assert_unused(bob.post("/v1/invoice-previews", {"price_id": price, "gift_code": code}), code, "EUR")
    assert (ann.balances(), bob.balances()) == ([], [])
    assert bob.subscribe(euros, gift_code=code).status_code == 201
    assert bob.balances() == [{"currency": "EUR", "amount_minor": 100}]


def test_a_gift_code_waits_for_a_subscription_in_its_currency_only_where_there_is_one(world, price):
    code, unsold = gift_code(world, "USD"), gift_code(world, "JPY")
    ann = world.person()
    assert_unused(ann.post("/v1/gift-redemptions", {"code": unsold}), unsold, "JPY")
    assert ann.post("/v1/gift-redemptions", {"code": code}).status_code == 201
    ann.subscribe(price)
    assert (world.charges(), ann.balances()) == ([], [{"currency": "USD", "amount_minor": 500}])


def test_a_declined_start_does_not_decide_the_currency_of_an_account(world, price):
    world.plan("euros", 1400, currency="EUR")
    ann = world.person(card="pm_card_chargeDeclined")
    assert ann.subscribe(price).status_code == 402
    assert ann.post("/v1/gift-redemptions", {"code": gift_code(world, "EUR")}).status_code == 201


def test_a_coupon_is_not_used_again_through_starts_that_are_given_up(world, price):
    coupon(world, "once", percent_off=50, duration="once", max_per_account=1, max_redemptions=1)
    ann, bob = world.person(card="pm_card_authenticationRequired"), world.person()
    for _ in range(3):
        assert ann.subscribe(price, coupon="once").json["code"] == "authentication_required"
    assert bob.subscribe(price, coupon="once").json["code"] == "coupon_invalid"
    payment = [payment for invoice in ann.invoices() for payment in invoice["payments"]][-1]
    assert world.operator.post(f"/v1/sandbox/payments/{payment['id']}/authentication", {"approve": True}).json
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now", "credit": "none"})
    assert ann.subscribe(price, coupon="once").json["code"] == "coupon_invalid"
    assert ann.get("/v1/coupons/once").status_code == 404


def test_a_failed_start_returns_its_coupon_and_no_other(world, price):
    terms = {"percent_off": 50, "duration": "once", "max_redemptions": 3}
    for code in ("used", "other"):
        coupon(world, code, **terms)
        assert world.person().subscribe(price, coupon=code).status_code == 201
    assert world.person(card="pm_card_chargeDeclined").subscribe(price, coupon="used").status_code == 402
    assert [coupon(world, code, **terms)["redeemed"] for code in ("used", "other")] == [1, 1]
