"""What a front end needs to take a payment: its configuration, the setup of a card, a payment's outcome now."""

import hashlib
import hmac
import json

import flask_migrate
import pytest

from streamsvc import clock
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models.subscriptions import PaymentMethod
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.conftest import Clock
from tests.worlds.billing_world import World
from tests.worlds.stripe_server import error_response, stripe_server

PATH = "/v1/payment-config"
STRIPE_KEYS = {"payment_provider": "stripe", "stripe_secret_key": "sk_test_1", "stripe_webhook_secret": "whsec_1"}


@pytest.fixture
def stripe(app, monkeypatch):
    with stripe_server() as (address, state):
        change_settings(app, monkeypatch, **STRIPE_KEYS, stripe_url=address)
        yield state


@pytest.fixture
def world(app, stripe):
    yield from audited_world(app)


@pytest.fixture
def sandbox(app):
    yield from audited_world(app)


def audited_world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def change_settings(app, monkeypatch, **values):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**values))


def require_card(app, monkeypatch):
    change_settings(app, monkeypatch, trial_without_card="refuse")


def start_setup(person):
    response = person.post("/v1/payment-methods/setup")
    assert response.status_code == 201
    return response.json["setup_id"]


def add_set_up_card(person, stripe, token="pm_card_visa"):
    setup_id = start_setup(person)
    stripe.confirm_setup(setup_id, token)
    return person.post("/v1/payment-methods", {"setup_id": setup_id})


def list_cards(person):
    return person.get("/v1/payment-methods").json["items"]


def deliver_event(world, number, kind, event_object):
    """Deliver an event as Stripe does, signed with a timestamp, and run the jobs that are due."""
    event = {"id": f"evt_{number}", "object": "event", "type": kind, "data": {"object": event_object}}
    body, at = json.dumps(event).encode(), int(clock.wall_time().timestamp())
    secret = STRIPE_KEYS["stripe_webhook_secret"].encode()
    signature = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}
    assert world.operator.client.post("/v1/webhooks/stripe", data=body, headers=headers).status_code == 204
    world.go_to(world.clock.at)


def deliver_setup(world, number, setup):
    deliver_event(world, number, "setup_intent.succeeded", setup)


def refresh(person, payment, owner=None):
    owner = owner or payment
    return person.post(f"/v1/invoices/{owner['invoice_id']}/payments/{payment['payment_id']}/refresh")


def last_intent(stripe):
    return next(reversed(stripe.intents.values()))


def authenticate(stripe):
    """Do at Stripe what the customer does in the bank's window."""
    last_intent(stripe)["status"] = "succeeded"


# --- configuration ---------------------------------------------------------------------------------------------------


def test_the_payment_config_of_stripe_has_all_that_a_form_needs_and_nothing_secret(app, monkeypatch, client):
    change_settings(app, monkeypatch, **STRIPE_KEYS, stripe_publishable_key="pk_test_1")
    response = client.get(PATH)
    assert response.json == {
        "provider": "stripe",
        "publishable_key": "pk_test_1",
        "api_version": "2026-10-28.endive",
        "script_url": "https://js.stripe.com/endive/stripe.js",
        "wallets": ["apple_pay", "google_pay"],
        "sandbox": False,
    }
    assert "sk_test" not in response.text and "whsec" not in response.text


def test_the_payment_config_of_the_sandbox_has_no_form(app, monkeypatch, client):
    change_settings(app, monkeypatch, stripe_publishable_key="pk_test_1")
    document = client.get(PATH).json
    assert (document.pop("provider"), document.pop("wallets"), document.pop("sandbox")) == ("sandbox", [], True)
    assert set(document.values()) == {None}


def test_the_payment_config_is_cached_by_browsers_and_changes_with_the_key(app, monkeypatch, client):
    change_settings(app, monkeypatch, **STRIPE_KEYS, stripe_publishable_key="pk_test_1")
    response = client.get(PATH)
    assert response.headers["Cache-Control"] == "public, max-age=300"
    known = {"If-None-Match": response.headers["ETag"]}
    assert client.get(PATH, headers=known).status_code == 304
    change_settings(app, monkeypatch, stripe_publishable_key="pk_test_2")
    assert client.get(PATH, headers=known).json["publishable_key"] == "pk_test_2"


@pytest.mark.parametrize("key", ["sk_test_1", "sk_live_1", "rk_live_1", "pk_1", "whsec_1", "pk_live_ü"])
def test_a_publishable_key_that_is_none_prevents_the_start_and_is_not_repeated(tmp_path, key):
    with pytest.raises(SettingsError, match="STREAMSVC_STRIPE_PUBLISHABLE_KEY") as error:
        Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), "STREAMSVC_STRIPE_PUBLISHABLE_KEY": key})
    assert key not in str(error.value)


@pytest.mark.parametrize("secret_key", ["sk", "rk"])
@pytest.mark.parametrize("mode", ["test", "live"])
def test_keys_of_different_modes_prevent_the_start(tmp_path, secret_key, mode):
    other = {"test": "live", "live": "test"}[mode]
    values = {**STRIPE_KEYS, "stripe_secret_key": f"{secret_key}_{mode}_1", "data_dir": str(tmp_path)}
    assert Settings(**values, stripe_publishable_key=f"pk_{mode}_1").with_defaults()
    with pytest.raises(SettingsError, match="same mode"):
        Settings(**values, stripe_publishable_key=f"pk_{other}_1").with_defaults()


def test_a_publishable_key_in_place_of_the_secret_key_prevents_the_start(tmp_path):
    values = {**STRIPE_KEYS, "stripe_secret_key": "pk_test_1", "data_dir": str(tmp_path)}
    with pytest.raises(SettingsError, match="must be the secret key"):
        Settings(**values).with_defaults()


def test_the_domain_file_of_apple_pay_is_served_if_it_is_set(app, monkeypatch, client, tmp_path):
    path = "/.well-known/apple-developer-merchantid-domain-association"
    assert client.get(path).json["code"] == "not_found"
    (tmp_path / "association").write_text("7B227073")
    change_settings(app, monkeypatch, apple_pay_domain_file=str(tmp_path / "association"))
    response = client.get(path)
    assert (response.text, response.mimetype) == ("7B227073", "text/plain")
    with pytest.raises(SettingsError, match="STREAMSVC_APPLE_PAY_DOMAIN_FILE"):
        Settings.from_env({"STREAMSVC_APPLE_PAY_DOMAIN_FILE": str(tmp_path / "absent")})


# --- setup of a card -------------------------------------------------------------------------------------------------


def test_a_confirmed_setup_becomes_a_payment_method_once(world, stripe):
    ann, bob = world.person(card=None), world.person(card=None)
    setup_id = start_setup(ann)
    stripe.confirm_setup(setup_id)
    first, second = (ann.post("/v1/payment-methods", {"setup_id": setup_id}) for _ in range(2))
    assert (first.status_code, second.status_code, first.json) == (201, 201, second.json)
    assert (first.json["is_default"], first.json["last4"]) == (True, "4242")
    assert first.json["set_up_at"] is not None
    assert list_cards(ann) == [first.json]
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "active"
    assert stripe.intents[last_intent(stripe)["id"]]["amount"] == 1000
    assert list_cards(bob) == []


def test_the_webhook_of_a_setup_may_come_first_twice_or_alone(world, stripe):
    ann, bob = world.person(card=None), world.person(card=None)
    setup = stripe.confirm_setup(start_setup(ann))
    for number in range(2):
        deliver_setup(world, number, setup)
    [card] = list_cards(ann)
    assert ann.post("/v1/payment-methods", {"setup_id": setup["id"]}).json == card
    assert card["set_up_at"] is not None
    assert (list_cards(ann), list_cards(bob)) == ([card], [])


def test_a_late_webhook_does_not_bring_a_removed_card_back(world, stripe):
    ann = world.person(card=None)
    setup = stripe.confirm_setup(start_setup(ann))
    card = ann.post("/v1/payment-methods", {"setup_id": setup["id"]}).json
    assert ann.delete(f"/v1/payment-methods/{card['id']}").status_code == 204
    deliver_setup(world, 1, setup)
    response = ann.post("/v1/payment-methods", {"setup_id": setup["id"]})
    assert (response.status_code, list(response.json["errors"])) == (422, ["setup_id"])
    assert list_cards(ann) == []


def test_a_setup_that_is_not_this_accounts_is_unknown(world, stripe):
    ann, bob = world.person(card=None), world.person(card=None)
    setup_id = start_setup(ann)
    stripe.confirm_setup(setup_id)
    for made_up in (setup_id, "seti_none", "../customers/cus_000001"):
        response = bob.post("/v1/payment-methods", {"setup_id": made_up})
        assert (response.status_code, list(response.json["errors"])) == (422, ["setup_id"])
    assert (list_cards(ann), list_cards(bob)) == ([], [])


def test_events_of_setups_that_are_not_ours_change_nothing(world, stripe):
    ann = world.person(card=None)
    setup = stripe.confirm_setup(start_setup(ann))
    setup["metadata"] = {}
    deliver_setup(world, 1, setup)
    deliver_setup(world, 2, {**setup, "id": "seti_none"})
    setup["metadata"] = {"account_id": "acc_none"}
    deliver_setup(world, 3, setup)
    assert list_cards(ann) == []


def test_the_setup_of_an_account_that_was_disabled_meanwhile_adds_no_card(world, stripe):
    ann = world.person(card=None)
    setup = stripe.confirm_setup(start_setup(ann))

    def set_status(status):
        path, headers = f"/v1/admin/accounts/{ann.id}", world.operator.headers()
        assert world.operator.client.patch(path, json={"status": status}, headers=headers).status_code == 200

    set_status("disabled")
    deliver_setup(world, 1, setup)
    set_status("active")
    ann.sign_in()
    assert list_cards(ann) == []


def test_a_setup_that_the_bank_did_not_authorize_says_why(world, stripe):
    ann = world.person(card=None)
    setup_id = start_setup(ann)
    unconfirmed = ann.post("/v1/payment-methods", {"setup_id": setup_id})
    assert (unconfirmed.status_code, list(unconfirmed.json["errors"])) == (422, ["setup_id"])
    stripe.confirm_setup(setup_id, "pm_card_chargeDeclinedInsufficientFunds")
    declined = ann.post("/v1/payment-methods", {"setup_id": setup_id})
    assert (declined.status_code, declined.json["decline_code"]) == (402, "insufficient_funds")
    stripe.confirm_setup(setup_id, status="requires_action")
    waiting = ann.post("/v1/payment-methods", {"setup_id": setup_id})
    assert (waiting.status_code, waiting.json["code"]) == (402, "authentication_required")
    assert waiting.json["next_action"] == {"type": "stripe", "client_secret": f"{setup_id}_secret_1"}
    assert list_cards(ann) == []
    stripe.confirm_setup(setup_id)
    assert ann.post("/v1/payment-methods", {"setup_id": setup_id}).status_code == 201


def test_a_payment_method_takes_either_a_token_or_a_setup(world, stripe):
    ann = world.person(card=None)
    for body in ({}, {"token": "pm_card_visa", "setup_id": "seti_1"}, {"token": None}):
        response = ann.post("/v1/payment-methods", body)
        assert (response.status_code, list(response.json["errors"])) == (422, ["token"])


def test_a_setup_is_unavailable_while_stripe_is(world, stripe):
    ann = world.person(card=None)
    setup_id = start_setup(ann)
    stripe.failure = error_response(500, "api_error")
    response = ann.post("/v1/payment-methods", {"setup_id": setup_id})
    assert (response.status_code, response.json["code"]) == (503, "unavailable")


def test_the_sandbox_has_no_setups(sandbox):
    ann = sandbox.person(card=None)
    assert ann.post("/v1/payment-methods/setup").json == {
        "provider": "sandbox",
        "setup_id": None,
        "client_secret": None,
    }
    assert ann.post("/v1/payment-methods", {"setup_id": "seti_1"}).status_code == 422


# --- a card before a trial -------------------------------------------------------------------------------------------


def test_a_trial_can_require_a_card_that_is_set_up(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    price, ann, bob = world.plan("p", 1000, trial_days=7), world.person(card=None), world.person(card=None)
    without_card = ann.subscribe(price)
    ann.add_card()  # attached, but its bank was never asked
    with_attached_card = ann.subscribe(price)
    for response in (without_card, with_attached_card):
        assert (response.status_code, response.json["code"]) == (402, "payment_method_required")
    assert (ann.get("/v1/subscriptions").json["items"], ann.invoices()) == ([], [])
    card = add_set_up_card(ann, stripe).json
    assert ann.subscribe(price).status_code == 402  # the default is the other one
    assert ann.subscribe(price, payment_method_id=card["id"]).json["status"] == "trialing"
    world.go_to("2026-01-23")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])
    assert bob.get("/v1/subscriptions").json["items"] == []


def test_a_trial_starts_without_a_card_unless_the_setting_refuses(world, stripe):
    price = world.plan("p", 1000, trial_days=7)
    assert world.person(card=None).subscribe(price).json["status"] == "trialing"


def test_only_a_trial_requires_a_card_that_is_set_up(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    ann, bob, price = world.person(), world.person(card=None), world.plan("p", 1000)
    assert ann.subscribe(price).json["status"] == "active"
    response = bob.subscribe(price)
    assert (response.json["code"], response.json["decline_code"]) == ("payment_failed", "payment_method_required")


def test_a_card_that_the_customer_has_paid_with_is_set_up(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    ann = world.person()
    assert list_cards(ann)[0]["set_up_at"] is None
    ann.subscribe(world.plan("paid", 1000))
    assert list_cards(ann)[0]["set_up_at"] is not None
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.subscribe(world.plan("tried", 1000, trial_days=7)).json["status"] == "trialing"


def test_a_declined_card_is_not_set_up(world, stripe):
    ann = world.person(card="pm_card_chargeDeclined")
    assert ann.subscribe(world.plan("p", 1000)).status_code == 402
    assert list_cards(ann)[0]["set_up_at"] is None


def test_a_preview_of_a_trial_needs_no_card(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    price = world.plan("p", 1000, trial_days=7)
    response = world.person(card=None).post("/v1/invoice-previews", {"price_id": price})
    assert (response.status_code, response.json["amount_due_minor"]) == (200, 0)


def test_an_operator_starts_a_trial_by_the_same_rule(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    price, ann = world.plan("p", 1000, trial_days=7), world.person(card=None)
    body = {"account_id": ann.id, "price_id": price}
    assert world.operator.post("/v1/admin/subscriptions", body).json["code"] == "payment_method_required"
    add_set_up_card(ann, stripe)
    assert world.operator.post("/v1/admin/subscriptions", body).json["status"] == "trialing"


def test_a_trial_whose_required_card_was_removed_ends(app, monkeypatch, world, stripe):
    require_card(app, monkeypatch)
    ann = world.person(card=None)
    card = add_set_up_card(ann, stripe).json
    ann.subscribe(world.plan("p", 1000, trial_days=7))
    ann.delete(f"/v1/payment-methods/{card['id']}")
    world.go_to("2026-01-23")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("canceled", [])


def test_the_sandbox_has_cards_that_are_set_up_and_one_that_is_not(app, monkeypatch, sandbox):
    require_card(app, monkeypatch)
    price = sandbox.plan("p", 1000, trial_days=7)
    assert sandbox.person(card=None).subscribe(price).json["code"] == "payment_method_required"
    asks = sandbox.person(card="pm_card_authenticationRequired")
    assert asks.subscribe(price).json["code"] == "payment_method_required"
    assert sandbox.person().subscribe(price).json["status"] == "trialing"


# --- the outcome of a payment now ------------------------------------------------------------------------------------


def test_an_authenticated_start_is_active_after_a_refresh_without_any_webhook(world, stripe):
    ann, bob = (world.person(card="pm_card_authenticationRequired") for _ in range(2))
    price = world.plan("p", 1000)
    waiting, other = ann.subscribe(price).json, bob.subscribe(price).json
    assert waiting["code"] == "authentication_required"
    intent = next(iter(stripe.intents.values()))
    assert waiting["next_action"] == {"type": "stripe", "client_secret": intent["client_secret"]}
    before = refresh(ann, waiting)
    assert (before.status_code, before.json["status"]) == (200, "requires_action")
    intent["status"] = "succeeded"
    after = refresh(ann, waiting)
    assert (after.status_code, after.json["status"], after.json["next_action"]) == (200, "succeeded", None)
    assert ann.subscription()["status"] == "active"
    assert ann.invoices()[0]["status"] == "paid"
    assert refresh(ann, waiting).json == after.json
    deliver_event(world, 1, "payment_intent.succeeded", intent)
    assert [payment["status"] for payment in ann.invoices()[0]["payments"]] == ["succeeded"]
    assert (bob.subscription()["status"], refresh(bob, other).json["status"]) == ("incomplete", "requires_action")


def test_a_failed_authentication_is_known_after_a_refresh(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    waiting = ann.subscribe(world.plan("p", 1000)).json
    intent = last_intent(stripe)
    intent["status"] = "requires_payment_method"
    intent["last_payment_error"] = {"code": "payment_intent_authentication_failure", "type": "invalid_request_error"}
    payment = refresh(ann, waiting).json
    assert (payment["status"], payment["decline_code"]) == ("failed", "payment_intent_authentication_failure")
    assert ann.subscription()["status"] == "canceled"


def test_a_payment_of_an_invoice_is_refreshed_too(world, stripe):
    ann = world.person(card="pm_card_chargeDeclined")
    card = ann.add_card("pm_card_authenticationRequired")
    charge = {"account_id": ann.id, "currency": "USD", "amount_minor": 500, "description": "Film rental"}
    invoice = world.operator.post("/v1/admin/invoices", charge).json
    waiting = ann.post(f"/v1/invoices/{invoice['id']}/payments", {"payment_method_id": card}).json
    assert waiting["invoice_id"] == invoice["id"]
    authenticate(stripe)
    assert refresh(ann, waiting).json["status"] == "succeeded"
    assert [row["status"] for row in ann.invoices()] == ["paid"]


def test_another_accounts_payment_looks_like_an_unknown_one(world, stripe):
    ann, bob = (world.person(card="pm_card_authenticationRequired") for _ in range(2))
    price = world.plan("p", 1000)
    anns, bobs = ann.subscribe(price).json, bob.subscribe(price).json
    unknown = {"invoice_id": "inv_none", "payment_id": "pay_none"}
    responses = [
        refresh(bob, anns),
        refresh(bob, bobs, owner=anns),
        refresh(bob, anns, owner=bobs),
        refresh(bob, unknown),
    ]
    for response in responses:
        assert (response.status_code, response.json["code"]) == (404, "not_found")
    assert not [path for method, path, _, _ in stripe.requests if method == "GET"]


def test_a_refresh_says_that_stripe_does_not_respond_and_books_nothing(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    waiting = ann.subscribe(world.plan("p", 1000)).json
    stripe.failure = error_response(500, "api_error")
    response = refresh(ann, waiting)
    assert (response.status_code, response.json["code"], response.headers["Retry-After"]) == (503, "unavailable", "2")
    stripe.failure = None
    assert refresh(ann, waiting).json["status"] == "requires_action"


def test_a_payment_whose_response_was_lost_is_found_by_a_refresh(world, stripe):
    ann = world.person()
    stripe.lose_replies = 2  # the SDK itself tries twice
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "incomplete"
    [payment] = ann.invoices()[0]["payments"]
    assert payment["status"] == "unknown"
    refreshed = refresh(ann, {"invoice_id": payment["invoice_id"], "payment_id": payment["id"]})
    assert (refreshed.json["status"], ann.subscription()["status"]) == ("succeeded", "active")
    assert stripe.charged_amounts() == [1000]


def test_money_that_came_for_an_abandoned_payment_is_credited_by_a_refresh(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    abandoned = ann.subscribe(world.plan("p", 1000)).json
    intent = last_intent(stripe)
    world.go_to("2026-01-16T12:00:00")
    assert refresh(ann, abandoned).json["status"] == "failed"
    intent["status"] = "succeeded"
    assert [refresh(ann, abandoned).json["status"] for _ in range(2)] == ["succeeded", "succeeded"]
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1000}]


def test_a_refresh_does_not_extend_the_time_to_authenticate(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    waiting = ann.subscribe(world.plan("p", 1000)).json
    world.go_to("2026-01-16T00:00:00")
    assert refresh(ann, waiting).json["status"] == "requires_action"
    world.go_to("2026-01-16T11:30:00")
    assert ann.subscription()["status"] == "canceled"


def test_a_refresh_works_in_the_sandbox(sandbox):
    ann = sandbox.person(card="pm_card_authenticationRequired")
    waiting = ann.subscribe(sandbox.plan("p", 1000)).json
    assert refresh(ann, waiting).json["status"] == "requires_action"
    with sandbox.app.app_context():
        SandboxProvider().authenticate(waiting["payment_id"], approve=True)  # at the bank, without an event
    assert refresh(ann, waiting).json["status"] == "succeeded"
    assert (ann.subscription()["status"], sandbox.charges()) == ("active", [1000])


def test_refreshes_are_limited_per_account(world, stripe):
    ann, bob = (world.person(card="pm_card_authenticationRequired") for _ in range(2))
    price = world.plan("p", 1000)
    anns, bobs = ann.subscribe(price).json, bob.subscribe(price).json
    statuses = [refresh(ann, anns).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    limited = refresh(ann, anns)
    assert (limited.json["code"], int(limited.headers["Retry-After"]) > 0) == ("too_many_attempts", True)
    assert refresh(bob, bobs).status_code == 200
    asked = [path for method, path, _, _ in stripe.requests if method == "GET"]
    assert len(asked) == 31


def test_cards_from_before_are_set_up_if_they_were_charged(database, new_app):
    world = World(new_app(database, "card_setups", clock=Clock()))
    ann, bob = world.person(), world.person()
    ann.subscribe(world.plan("p", 1000))
    with world.app.app_context():
        db.session.query(PaymentMethod).update({"provider": "stripe"})
        db.session.commit()
        flask_migrate.downgrade(revision="0020")
        flask_migrate.upgrade()
    set_up = [[card["set_up_at"] is not None for card in list_cards(person)] for person in (ann, bob)]
    assert set_up == [[True], [False]]
