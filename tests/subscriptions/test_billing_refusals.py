"""Requests about billing that are refused: with which code, about which field, and without any effect."""

import pytest
import sqlalchemy as sa

from streamsvc.storage.database import db
from tests.worlds.billing_world import FEATURES, World
from tests.worlds.scenes import set_scene

NOBODY, NOTHING = "acc_00000000000000000000000000", "sub_00000000000000000000000000"
PRICE = {"currency": "USD", "amount_minor": 500, "tax": "exclusive"}
TABLES = """
    coupons credit_notes discounts gift_codes invoice_lines invoices ledger_entries payment_methods payments plans
    payouts price_migrations prices refunds store_products subscription_addon_prices subscription_events subscriptions
""".split()
POSTER = {"amount_minor": 700, "currency": "USD", "description": "A poster"}


def build_world(app):
    """Ann has a subscription; Bob an open and a void invoice, but no card; Eva a disabled account; Dan only a card."""
    world = World(app)
    world.ann, world.bob, world.eva, world.dan = (
        world.person(card=card) for card in ("pm_card_visa", None, None, None)
    )
    world.dan.add_card()
    world.price, world.other = world.plan("p", 1000, 2000)
    world.yearly, world.weekly = world.plan("y", 9000, interval="year"), world.plan("w", 300, interval="week")
    world.euros = world.plan("e", 900, currency="EUR")
    body = {"name": "Sport", "addon": True, "prices": [PRICE]}
    world.sport = world.operator.put("/v1/admin/plans/sport", body).json["prices"][0]["id"]
    world.operator.post("/v1/admin/gift-codes", {"code": "GIFT", "amount_minor": 5, "currency": "USD"})
    world.operator.put("/v1/admin/coupons/half", {"percent_off": 50, "duration": "once"})
    assert world.ann.subscribe(world.price).status_code == 201
    world.subscription, world.invoice = world.ann.subscription()["id"], world.ann.invoices()[0]["id"]
    poster = {"account_id": world.bob.id, **POSTER}
    world.debt = world.operator.post("/v1/admin/invoices", poster).json["id"]
    world.void = world.operator.post("/v1/admin/invoices", poster).json["id"]
    assert world.operator.post(f"/v1/admin/invoices/{world.void}/void").status_code == 200
    disabled = world.operator.patch(f"/v1/admin/accounts/{world.eva.id}", {"status": "disabled"})
    assert disabled.status_code == 200, disabled.json
    return world


@pytest.fixture
def world(app):
    world = set_scene(app, build_world)
    yield world
    assert world.differences() == []


def read_billing(world):
    """Return the rows of every table whose contents billing decides."""
    with world.app.app_context():
        return {name: sorted(map(repr, db.session.execute(sa.select(db.metadata.tables[name])))) for name in TABLES}


SUBSCRIPTION = "/v1/subscriptions/{0.subscription}"
OPERATOR = [
    # (method, path, body, status, field or code)
    ("put", "/v1/admin/coupons/half", {"percent_off": 40, "duration": "once"}, 422, "code"),
    ("put", "/v1/admin/coupons/new", {"percent_off": 40, "duration": "once", "plans": ["none"]}, 422, "plans"),
    ("post", "/v1/admin/gift-codes", {"code": "GIFT", "amount_minor": 5, "currency": "USD"}, 422, "code"),
    (
        "put",
        "/v1/admin/plans/sport",
        {
            "name": "Sport",
            "addon": True,
            "prices": [PRICE],
            "store_products": [{"store": "app_store", "product_id": "sport"}],
        },
        422,
        "store_products",
    ),
    ("put", "/v1/admin/plans/p", {"code": "q", "name": "P", "features": FEATURES, "prices": [PRICE]}, 422, "code"),
    ("post", "/v1/admin/invoices", {"account_id": NOBODY, **POSTER}, 404, "not_found"),
    ("post", "/v1/admin/invoices", {"account_id": "{0.eva.id}", **POSTER}, 409, "account_not_active"),
    ("post", "/v1/admin/subscriptions", {"account_id": NOBODY, "price_id": "{0.price}"}, 404, "not_found"),
    (
        "post",
        "/v1/admin/subscriptions",
        {"account_id": "{0.eva.id}", "price_id": "{0.price}"},
        409,
        "account_not_active",
    ),
    ("post", "/v1/admin/invoices/{0.void}/refunds", {}, 409, "wrong_state"),
    ("get", "/v1/admin/invoices/inv_0", None, 404, "not_found"),
    ("get", f"/v1/admin/subscriptions/{NOTHING}", None, 404, "not_found"),
    ("post", f"/v1/admin/subscriptions/{NOTHING}/refresh", {}, 404, "not_found"),
    ("delete", "/v1/admin/price-migrations/pmi_0", None, 404, "not_found"),
    ("get", "/v1/admin/price-migrations/pmi_0", None, 404, "not_found"),
    ("get", "/v1/admin/payouts/pyo_0", None, 404, "not_found"),
    (
        "post",
        f"/v1/admin/accounts/{NOBODY}/credits",
        {"amount_minor": 5, "currency": "USD"},
        404,
        "not_found",
    ),
    (
        "post",
        "/v1/admin/accounts/{0.ann.id}/credits",
        {"amount_minor": 0, "currency": "USD"},
        422,
        "amount_minor",
    ),
    (
        "post",
        "/v1/admin/accounts/{0.ann.id}/credits",
        {"amount_minor": -1, "currency": "USD"},
        422,
        "amount_minor",
    ),
    (
        "post",
        "/v1/admin/price-migrations",
        {"from_price_id": "{0.price}", "to_price_id": "{0.yearly}", "effective": "2026-03-01"},
        422,
        "to_price_id",
    ),
    (
        "post",
        "/v1/admin/price-migrations",
        {"from_price_id": "{0.price}", "to_price_id": "{0.price}", "effective": "2026-03-01"},
        422,
        "to_price_id",
    ),
    (
        "post",
        "/v1/admin/price-migrations",
        {"from_price_id": "{0.price}", "to_price_id": "{0.sport}", "effective": "2026-03-01"},
        422,
        "to_price_id",
    ),
    ("post", "/v1/sandbox/payments/pay_0/authentication", {"approve": True}, 404, "not_found"),
]
VIEWER = [
    ("post", f"{SUBSCRIPTION}/plan-change", {"price_id": "{0.price}"}, 422, "price_id"),
    ("post", f"{SUBSCRIPTION}/plan-change", {"price_id": "{0.euros}"}, 422, "price_id"),
    ("post", f"{SUBSCRIPTION}/plan-change", {"price_id": "{0.sport}"}, 422, "price_id"),
    ("post", f"{SUBSCRIPTION}/plan-change", {"price_id": "{0.weekly}", "anchor_day": 5}, 422, "anchor_day"),
    ("post", f"{SUBSCRIPTION}/addons", {"price_id": "{0.other}"}, 422, "price_id"),
    ("post", "/v1/invoice-previews", {"coupon": "half"}, 422, "price_id"),
    ("post", "/v1/invoice-previews", {"subscription_id": NOTHING}, 404, "not_found"),
    ("delete", "/v1/payment-methods/pme_0", None, 404, "not_found"),
    ("put", "/v1/payment-methods/pme_0/default", None, 404, "not_found"),
]
NEWCOMER = [
    ("post", "/v1/subscriptions", {"price_id": "{0.price}", "payment_method_id": "pme_0"}, 422, "payment_method_id"),
    ("post", "/v1/subscriptions", {"price_id": "{0.price}", "addons": ["{0.yearly}"]}, 422, "addons"),
    ("post", "/v1/subscriptions", {"price_id": "{0.price}", "addons": ["{0.other}"]}, 422, "addons"),
    ("post", "/v1/subscriptions", {"price_id": "{0.price}", "addons": ["pri_0"]}, 422, "addons"),
]
CASES = [
    *(("operator", *case) for case in OPERATOR),
    *(("ann", *case) for case in VIEWER),
    *(("dan", *case) for case in NEWCOMER),
    ("bob", "post", "/v1/invoices/{0.debt}/payments", {}, 402, "payment_failed"),
]


def fill_in(value, world):
    if isinstance(value, dict):
        return {name: fill_in(each, world) for name, each in value.items()}
    if isinstance(value, list):
        return [fill_in(each, world) for each in value]
    return value.format(world) if isinstance(value, str) else value


@pytest.mark.parametrize(("who", "method", "path", "body", "status", "reason"), CASES)
def test_a_request_is_refused_for_its_reason_and_changes_nothing(world, who, method, path, body, status, reason):
    before, person = read_billing(world), getattr(world, who)
    send = getattr(person, method)
    path, body = fill_in(path, world), fill_in(body, world)
    response = send(path) if method in ("get", "delete") else send(path, body)
    assert response.status_code == status, response.json
    assert reason in (response.json["code"], *(name.partition(".")[0] for name in response.json.get("errors", {})))
    assert read_billing(world) == before


def test_an_operator_holds_the_billing_of_a_live_subscription_once(world):
    path = f"/v1/admin/subscriptions/{world.subscription}/parking"
    held = world.operator.put(path, {"reason": "looks odd"})
    assert (held.status_code, held.json["parked_reason"], held.json["account_id"]) == (200, "looks odd", world.ann.id)
    assert world.operator.put(path, {"reason": "again"}).json["code"] == "wrong_state"
    world.go_to("2026-02-16")
    assert world.charges() == [1000]
    assert world.operator.delete(path).status_code == 200
    world.go_to("2026-02-17")
    assert world.charges() == [1000, 1000]
    assert world.ann.post(f"/v1/subscriptions/{world.subscription}/cancellation", {"when": "now"}).status_code == 200
    assert world.operator.put(path, {"reason": "too late"}).json["code"] == "wrong_state"
    actions = [event["action"] for event in world.operator.get("/v1/admin/audit").json["items"]]
    assert actions.count("billing_held") == 1


ENDED = [
    ("post", "cancellation", {"when": "now"}),
    ("post", "cancellation", {"when": "period_end"}),
    ("delete", "cancellation", None),
    ("post", "plan-change", {"price_id": "{0.other}"}),
    ("delete", "plan-change", None),
    ("delete", "anchor", None),
    ("post", "pause", {}),
    ("delete", "pause", None),
    ("post", "addons", {"price_id": "{0.sport}"}),
    ("post", "coupons", {"coupon": "half"}),
]


@pytest.mark.parametrize("is_past", [False, True])
def test_nothing_changes_a_subscription_that_has_ended(world, is_past):
    path = fill_in(SUBSCRIPTION, world)
    assert world.ann.post(f"{path}/cancellation", {"when": "now"}).status_code == 200
    if is_past:
        world.go_to("2026-01-20")
    before = read_billing(world)
    for method, step, body in ENDED:
        send = getattr(world.ann, method)
        response = send(f"{path}/{step}") if method == "delete" else send(f"{path}/{step}", fill_in(body, world))
        assert (step, response.json["code"]) == (step, "wrong_state"), response.json
    assert read_billing(world) == before


def test_an_operator_changes_a_plan_for_a_viewer(world):
    path = f"/v1/admin/subscriptions/{world.subscription}/plan-change"
    changed = world.operator.post(path, {"price_id": world.other, "when": "now"})
    assert (changed.status_code, changed.json["price"]["id"], changed.json["account_id"]) == (
        200,
        world.other,
        world.ann.id,
    )
    actions = [event["action"] for event in world.operator.get("/v1/admin/audit").json["items"]]
    assert actions.count("plan_changed") == 1


def test_operators_list_offers_and_rates(world):
    for country, percent in (("DE", 19), ("AT", 20)):
        world.operator.put(f"/v1/admin/tax-rates/{country}", {"percent": percent, "name": "VAT"})

    def listed(path, name):
        pages, cursor = [], ""
        for _ in range(2):
            page = world.operator.get(f"/v1/admin/{path}?limit=1{cursor and f'&cursor={cursor}'}").json
            pages += [item[name] for item in page["items"]]
            cursor = page["next_cursor"]
        assert cursor is None
        return pages

    world.operator.put("/v1/admin/coupons/ten", {"percent_off": 10, "duration": "once"})
    world.operator.post("/v1/admin/gift-codes", {"code": "LATER", "amount_minor": 7, "currency": "USD"})
    assert listed("coupons", "code") == ["ten", "half"]
    assert listed("gift-codes", "amount_minor") == [7, 5]
    assert listed("tax-rates", "country") == ["AT", "DE"]
    assert world.operator.get(f"/v1/admin/invoices/{world.debt}").json["amount_due_minor"] == 700
    payment_id = world.ann.invoices()[0]["payments"][0]["id"]
    assert world.operator.get("/v1/admin/disputes").json["items"] == []
    assert world.operator.post(f"/v1/sandbox/payments/{payment_id}/dispute", {}).status_code == 200
    [dispute] = world.operator.get("/v1/admin/disputes").json["items"]
    assert dispute["invoice_id"] == world.invoice, dispute
