"""Every request that can bill accepts an idempotency key, whatever its method, and replays its response."""

import inspect
from types import CodeType, ModuleType

import pytest

from tests.worlds.billing_world import World
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.either_database

BILLING = "streamsvc.operations.billing.core"
BILLING_STEPS = {
    f"{BILLING}.aggregate.load_locked",
    f"{BILLING}.charging.create_payment",
    f"{BILLING}.issuing.issue_invoice",
    f"{BILLING}.ledger.post_account_journal",
}
EXEMPT = {
    "POST /v1/invoice-previews": "rolls back",
    "POST /v1/admin/invoice-previews": "rolls back",
    "DELETE /v1/admin/accounts/<account_id>": "acts once: then the account is closed",
    "PUT /v1/admin/subscriptions/<subscription_id>/parking": "sets what is set already",
    "DELETE /v1/account": "ends the session by which a retry would be recognized",
    "DELETE /v1/sandbox/accounts/<account_id>/clock": "acts once: then there is no clock to delete",
    "POST /v1/sandbox/bank/payments/<payment_id>": "acts once: then the payment does not wait any more",
    "POST /v1/sandbox/payments/<payment_id>/authentication": "plays the customer",
    "POST /v1/sandbox/payments/<payment_id>/dispute": "plays the bank",
    "DELETE /v1/sandbox/payments/<payment_id>/dispute": "plays the bank",
}


def called_functions(function, seen):
    """Collect the functions of the service that a function can call by a name of its own module or an imported one."""
    function = inspect.unwrap(function)
    if function in seen or not hasattr(function, "__code__") or not function.__module__.startswith("streamsvc"):
        return seen
    seen.add(function)
    codes, names = [function.__code__], set()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    known = [function.__globals__[name] for name in names if name in function.__globals__]
    modules = [value for value in known if isinstance(value, ModuleType) and value.__name__.startswith("streamsvc")]
    known += [getattr(module, name) for module in modules for name in names if hasattr(module, name)]
    for value in known:
        if callable(value) and not isinstance(value, type):
            called_functions(value, seen)
    return seen


def billing_views(app):
    """Return {method and route: view} of every request that can reach a step of billing."""
    views = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        names = {f"{function.__module__}.{function.__qualname__}" for function in called_functions(view, set())}
        if names & BILLING_STEPS:
            views |= {f"{method} {rule.rule}": view for method in rule.methods & {"POST", "PUT", "PATCH", "DELETE"}}
    return views


def test_every_request_that_can_bill_accepts_an_idempotency_key(app):
    views = billing_views(app)
    assert {"POST", "PUT", "PATCH", "DELETE"} == {route.split()[0] for route in views}
    without_key = {route for route, view in views.items() if not hasattr(view, "takes_idempotency_key")}
    assert without_key == set(EXEMPT)


def build_world(app):
    world = World(app)
    price = world.plan("standard", 1000)
    world.ann, world.bob = world.person(), world.person()
    for person in (world.ann, world.bob):
        person.subscribe(price)
    return world


@pytest.fixture
def world(app):
    """A world with two subscribers."""
    return set_scene(app, build_world)


def prepare_anchor(world, ann, path):
    return "put", f"{path}/anchor", {"day": 20}


def prepare_anchor_withdrawal(world, ann, path):
    assert ann.put(f"{path}/anchor", {"day": 20}).status_code == 200
    return "delete", f"{path}/anchor", None


def prepare_plan_change_withdrawal(world, ann, path):
    small = world.plan("small", 500)
    assert ann.post(f"{path}/plan-change", {"price_id": small, "when": "period_end"}).status_code == 200
    return "delete", f"{path}/plan-change", None


def prepare_cancellation_withdrawal(world, ann, path):
    assert ann.post(f"{path}/cancellation", {}).status_code == 200
    return "delete", f"{path}/cancellation", None


def prepare_resumption(world, ann, path):
    assert ann.post(f"{path}/pause", {}).status_code == 200
    world.go_to("2026-06-20")
    return "delete", f"{path}/pause", None


def prepare_more_units(world, ann, path):
    add_addon(world, ann, path)
    return "patch", f"{path}/addons/sport", {"quantity": 3}


def prepare_addon_removal(world, ann, path):
    add_addon(world, ann, path)
    return "delete", f"{path}/addons/sport?when=now", None


def prepare_restored_addon(world, ann, path):
    add_addon(world, ann, path)
    assert ann.delete(f"{path}/addons/sport?when=period_end").status_code == 200
    return "delete", f"{path}/addons/sport/removal", None


def prepare_coupon_removal(world, ann, path):
    coupon = {"percent_off": 10, "duration": "forever"}
    assert world.operator.put("/v1/admin/coupons/ten", coupon).status_code == 200
    assert ann.post(f"{path}/coupons", {"coupon": "ten"}).status_code == 201
    return "delete", f"{path}/coupons/ten", None


def prepare_default_card(world, ann, path):
    return "put", f"/v1/payment-methods/{ann.add_card()}/default", None


def add_addon(world, ann, path):
    assert ann.post(f"{path}/addons", {"price_id": world.plan("sport", 500)}).status_code == 201


PREPARATIONS = [function for name, function in list(globals().items()) if name.startswith("prepare_")]


@pytest.mark.parametrize("prepare", PREPARATIONS, ids=lambda prepare: prepare.__name__.removeprefix("prepare_"))
def test_a_repeated_request_of_any_method_acts_once_and_gets_the_same_response(world, prepare):
    ann, bob = world.ann, world.bob
    method, path, body = prepare(world, ann, f"/v1/subscriptions/{ann.subscription()['id']}")
    untouched = bob.subscription(), bob.invoices()

    def send(key):
        send_request = getattr(ann.client, method)
        return send_request(path, json=body, headers=ann.headers(**{"Idempotency-Key": key}))

    first = send("once")
    assert first.status_code == 200, first.json
    charges, invoices, subscription = world.charges(), ann.invoices(), ann.subscription()
    replay = send("once")
    assert (replay.status_code, replay.json) == (200, first.json)
    assert replay.headers["Idempotency-Replayed"] == "true"
    assert (world.charges(), ann.invoices(), ann.subscription()) == (charges, invoices, subscription)
    assert world.differences() == []
    assert (bob.subscription(), bob.invoices()) == untouched


def test_a_declined_addition_is_declined_again_under_its_key_and_tried_anew_under_another(world):
    ann = world.ann
    path = f"/v1/subscriptions/{ann.subscription()['id']}"
    _, path, body = prepare_more_units(world, ann, path)
    world.next_charge("decline")

    def send(key):
        return ann.client.patch(path, json=body, headers=ann.headers(**{"Idempotency-Key": key}))

    assert [send("a").status_code for _ in range(2)] == [402, 402]
    assert len(world.charges("declined") + world.charges("failed")) == 1
    assert send("b").status_code == 200


def test_a_key_of_one_removal_cannot_be_used_for_another(world):
    ann = world.ann
    path = f"/v1/subscriptions/{ann.subscription()['id']}"
    headers = ann.headers(**{"Idempotency-Key": "k"})
    assert ann.client.delete(f"{path}/plan-change", headers=headers).status_code == 200
    reused = ann.client.delete(f"{path}/cancellation", headers=headers)
    assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")
