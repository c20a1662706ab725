"""Other services that hang, drip, reset or send too much: a call ends at its deadline, and holds nobody else."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from streamsvc.gateways import breach_ranges, challenges, mail, oidc, peers, sign_in_hook, sms, vies, webhooks
from streamsvc.gateways.payments import stripe_http
from streamsvc.gateways.payments.interface import UNKNOWN, ChargeRequest, ProviderUnavailable
from streamsvc.gateways.payments.stripe import StripeProvider
from streamsvc.gateways.peers import CallFailed, CallNotMade, CallTimedOut, Peer
from streamsvc.rules.sign_in.hook import parse_decision
from streamsvc.rules.thread_shares import share_threads
from tests.worlds.broken_peers import HTTP_FAULTS, SMTP_FAULTS, broken_peer, hang
from tests.worlds.stripe_events import use_stripe

DEADLINE_S, MARGIN_S = 0.4, 0.5
SECRET = "whsec_" + "A" * 32
CHARGE = ChargeRequest("pay_1", "cus_1/pm_1", 1000, "USD", True, "inv_1", None)
pytestmark = pytest.mark.one_database


def is_allowed(port):
    try:
        return parse_decision(sign_in_hook.post_hook(f"http://127.0.0.1:{port}/", b"{}", {}, DEADLINE_S, True)).is_allowed
    except ValueError:
        return False


CALLS = {
    "breach ranges": lambda port: breach_ranges.is_password_listed(f"http://127.0.0.1:{port}/", "a password"),
    "challenge": lambda port: challenges.is_challenge_solved(f"http://127.0.0.1:{port}/", "secret", "token", None),
    "OIDC": lambda port: oidc.OidcProvider("idp", f"http://127.0.0.1:{port}", "id").authorization_url("/", "", "", ""),
    "VIES": lambda port: vies.check_vat_number("DE136695976", "IE6388047V").is_valid,
    "SMS": lambda port: sms.send_sms(f"http://127.0.0.1:{port}/", SECRET, "sms_1", "+4930123456", "1234", 1),
    "sign-in hook": is_allowed,
    "webhook": lambda port: webhooks.post_webhook(f"whe_{port}", f"http://127.0.0.1:{port}/", b"{}", {}).status,
    "Stripe charge": lambda port: StripeProvider().charge(CHARGE).status,
    "Stripe customer": lambda port: StripeProvider().create_customer("acc_1", "ann@example.com"),
    "mail": lambda port: mail.send_message(f"smtp://127.0.0.1:{port}", mail.build_email("a@x.y", "b@x.y", "s", "t", "h")),
}
FAILED_RESULTS = {"VIES": None, "sign-in hook": False, "webhook": None, "Stripe charge": UNKNOWN}
TAKES_ANY_BODY = ("SMS", "webhook")


@pytest.fixture
def short_deadlines(monkeypatch):
    for module in (breach_ranges, challenges, oidc, sms, vies, webhooks, mail, stripe_http):
        monkeypatch.setattr(module, "PEER", dataclasses.replace(module.PEER, deadline_s=DEADLINE_S))


@pytest.mark.parametrize("name", CALLS)
def test_a_call_ends_at_its_deadline_whatever_the_peer_does(app, short_deadlines, monkeypatch, name):
    faults = SMTP_FAULTS if name == "mail" else HTTP_FAULTS

    def call(fault, port):
        started = time.monotonic()
        with app.app_context():
            try:
                result = CALLS[name](port)
            except (CallFailed, ProviderUnavailable):
                result = FAILED_RESULTS.get(name, "failed")
        return fault.__name__, result, time.monotonic() - started

    with ExitStack() as stack:
        results = []
        for fault in faults:
            port = stack.enter_context(broken_peer(fault))
            url = f"http://127.0.0.1:{port}"
            use_stripe(app, monkeypatch, url, vies_url=url, webhooks_to_private=True)
            results.append(call(fault, port))
    for fault, result, elapsed_s in results:
        if not (fault == "send_too_much" and name in TAKES_ANY_BODY):
            assert result == FAILED_RESULTS.get(name, "failed"), fault
        assert elapsed_s < DEADLINE_S + MARGIN_S + 0.7 * (fault == "reset"), fault


def test_a_charge_without_a_response_is_unknown_and_settled_under_its_key(world, stripe, app, monkeypatch):
    """The request responds within its budget, though Stripe has charged and only its response is late."""
    ann, price = world.person(), world.plan("p", 1000)
    set_budget(app, monkeypatch, 1)
    stripe.before_reply = lambda: time.sleep(1.5)
    started = time.monotonic()
    response = ann.subscribe(price)
    assert (response.status_code, response.json["status"]) == (201, "incomplete")
    assert time.monotonic() - started < 1 + MARGIN_S
    [payment] = ann.invoices()[0]["payments"]
    assert payment["status"] == "unknown"
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])
    keys = [key for method, path, _, key in stripe.requests if (method, path) == ("POST", "/v1/payment_intents")]
    assert keys == [payment["id"]] * 2


def test_the_calls_of_one_request_share_its_budget(world, stripe, app, monkeypatch):
    """A card is attached in two calls; the second has what the first has left, and is not made if that is nothing."""
    ann = world.person(card=None)
    set_budget(app, monkeypatch, 1)
    with broken_peer(hang) as port:
        use_stripe(app, monkeypatch, f"http://127.0.0.1:{port}", call_budget_s=1)
        started = time.monotonic()
        response = ann.post("/v1/payment-methods", {"token": "pm_card_visa"})
    assert (response.status_code, response.json["code"], response.headers["Retry-After"]) == (503, "unavailable", "2")
    assert time.monotonic() - started < 1 + MARGIN_S


def set_budget(app, monkeypatch, call_budget_s):
    settings = app.extensions["settings"].replace(call_budget_s=call_budget_s)
    monkeypatch.setitem(app.extensions, "settings", settings)
