"""Other services that hang, drip, reset or send too much: a call ends at its deadline, and holds nobody else."""

import dataclasses
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from bench.hanging_peers import hanging_service, measure
from streamsvc.gateways import (
    breach_ranges,
    challenges,
    license_server,
    mail,
    oidc,
    peers,
    sign_in_hook,
    sms,
    vies,
    webhooks,
)
from streamsvc.gateways.calls import send_request
from streamsvc.gateways.license_server import LicenseServerUnavailable
from streamsvc.gateways.payments import stripe_http
from streamsvc.gateways.payments.interface import UNKNOWN, ChargeRequest, ProviderUnavailable
from streamsvc.gateways.payments.stripe import StripeProvider
from streamsvc.gateways.peers import CallFailed, CallNotMade, CallTimedOut, Peer
from streamsvc.rules.sign_in.hook import parse_decision
from streamsvc.rules.thread_shares import share_threads
from streamsvc.worker import jobs
from tests.conftest import migrate_database
from tests.worlds.billing_world import World
from tests.worlds.broken_peers import HTTP_FAULTS, SMTP_FAULTS, broken_peer, hang
from tests.worlds.stripe_events import use_stripe
from tests.worlds.stripe_server import stripe_server

DEADLINE_S, MARGIN_S = 0.4, 0.5
SECRET = "whsec_" + "A" * 32
CHARGE = ChargeRequest("pay_1", "cus_1/pm_1", 1000, "USD", True, "inv_1", None)
MESSAGE = mail.build_email("a@example.com", "b@example.com", "Hello", "text", "<p>text")
pytestmark = pytest.mark.one_database


def is_allowed(port):
    response = sign_in_hook.post_hook(f"http://127.0.0.1:{port}/", b"{}", {}, DEADLINE_S, True)
    return parse_decision(response).is_allowed


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
    "licence server": lambda port: license_server.request_license(
        f"http://127.0.0.1:{port}/", "widevine", b"challenge", license_server.LicenseMessage("X-AxDRM-Message", "token")
    ),
    "mail": lambda port: mail.send_message(f"smtp://127.0.0.1:{port}", MESSAGE),
}
FAILED_RESULTS = {"VIES": None, "webhook": None, "Stripe charge": UNKNOWN}
TAKES_ANY_BODY = ("SMS", "webhook")


@pytest.fixture
def short_deadlines(monkeypatch):
    for module in (breach_ranges, challenges, license_server, oidc, sms, vies, webhooks, mail, stripe_http):
        monkeypatch.setattr(module, "PEER", dataclasses.replace(module.PEER, deadline_s=DEADLINE_S))


@pytest.mark.parametrize("name", CALLS)
def test_a_call_ends_at_its_deadline_whatever_the_peer_does(app, short_deadlines, monkeypatch, name):
    faults = SMTP_FAULTS if name == "mail" else HTTP_FAULTS

    def call(fault, port):
        started = time.monotonic()
        with app.app_context():
            try:
                result = CALLS[name](port)
            except (CallFailed, LicenseServerUnavailable, ProviderUnavailable, ValueError):
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


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def stripe(app, monkeypatch):
    with stripe_server() as (address, state):
        use_stripe(app, monkeypatch, address)
        yield state


def test_a_charge_without_a_response_is_unknown_and_settled_under_its_key(world, stripe, app, monkeypatch):
    """The request responds within its budget, though Stripe has charged and only its response is late."""
    ann, price = world.person(), world.plan("p", 1000)
    set_budget(app, monkeypatch, 1)
    stripe.before_reply = lambda: time.sleep(4)
    started = time.monotonic()
    response = ann.subscribe(price)
    assert (response.status_code, response.json["status"]) == (201, "incomplete")
    assert time.monotonic() - started < 3.5
    [payment] = ann.invoices()[0]["payments"]
    assert payment["status"] == "unknown"
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])
    keys = [key for method, path, _, key in stripe.requests if (method, path) == ("POST", "/v1/payment_intents")]
    assert keys == [payment["id"]] * 2


def test_the_calls_of_one_request_share_its_budget(world, app, short_deadlines, monkeypatch):
    """A deadline of one call ends it; a further call of the request has what is left, and fails at once without."""
    with broken_peer(hang) as port, app.test_request_context():
        use_stripe(app, monkeypatch, f"http://127.0.0.1:{port}", call_budget_s=1)
        durations = [lasts(lambda: StripeProvider().delete_customer("cus_1")) for _ in range(4)]
        assert durations[0] > DEADLINE_S and sum(durations) < 1 + MARGIN_S
        assert durations[3] < 0.1
    with broken_peer(hang) as port:
        ann = world.person(card=None)
        use_stripe(app, monkeypatch, f"http://127.0.0.1:{port}", call_budget_s=1)
        response = ann.post("/v1/payment-methods", {"token": "pm_card_visa"})
    assert (response.status_code, response.json["code"], response.headers["Retry-After"]) == (503, "unavailable", "2")


def test_a_request_has_a_share_of_the_threads(app, monkeypatch):
    """Of 8 threads, 2 may wait for one peer and 3 for all; what is beyond fails at once."""
    shares = share_threads(8, 1)
    assert shares == (4, 3, 3, 2)
    with broken_peer(hang) as port:
        use_stripe(app, monkeypatch, f"http://127.0.0.1:{port}", call_budget_s=1)

        def call(peer_name):
            with app.test_request_context():
                started = time.monotonic()
                with pytest.raises(CallFailed) as error:
                    send_request(Peer(peer_name, 1, max_failures=100), "GET", f"http://127.0.0.1:{port}/")
                return peer_name, error.type, time.monotonic() - started

        with ThreadPoolExecutor(12) as pool:
            results = list(pool.map(call, ["a"] * 6 + ["b"] * 6))
    waited = [peer_name for peer_name, kind, _ in results if kind is CallTimedOut]
    assert (len(waited), max(waited.count("a"), waited.count("b"))) == (shares.calls, shares.calls_per_peer)
    assert max(elapsed_s for _, kind, elapsed_s in results if kind is CallNotMade) < 0.3


def test_sign_ins_and_services_that_hang_leave_a_thread_free():
    for threads, slots in itertools.product(range(4, 129), (1, 2, 8, 64)):
        shares = share_threads(threads, slots)
        assert shares.unknown_device_hashes + shares.calls < threads
        assert shares.known_device_hashes < threads and shares.calls_per_peer <= shares.calls
        assert min(shares) >= 1


def lasts(call):
    """How many seconds a call takes that fails."""
    started = time.monotonic()
    with pytest.raises((CallFailed, ProviderUnavailable)):
        call()
    return time.monotonic() - started


def set_budget(app, monkeypatch, call_budget_s):
    settings = app.extensions["settings"].replace(call_budget_s=call_budget_s)
    monkeypatch.setitem(app.extensions, "settings", settings)


def test_mail_and_text_messages_leave_each_other_a_thread_as_does_one_webhook_endpoint_to_others():
    interactive, deliveries = jobs.THREADS_BY_LANE[jobs.INTERACTIVE_LANE], jobs.THREADS_BY_LANE[jobs.WEBHOOK_LANE]
    assert sms.PEER.worker_limit + mail.PEER.worker_limit <= interactive
    assert webhooks.PEER.worker_limit < deliveries


def test_an_endpoint_that_hangs_gets_one_delivery_at_a_time_and_is_then_left_alone(app, short_deadlines, monkeypatch):
    with broken_peer(hang) as port:
        use_stripe(app, monkeypatch, "http://127.0.0.1:1", webhooks_to_private=True)

        def post(_):
            with app.app_context():
                try:
                    return webhooks.post_webhook("whe_1", f"http://127.0.0.1:{port}/", b"{}", {}).status
                except CallNotMade as error:
                    return str(error)

        with ThreadPoolExecutor(3) as pool:
            assert sorted(map(str, pool.map(post, range(3)))) == ["None"] + ["too many calls in progress"] * 2
        assert [post(attempt) for attempt in range(5)] == [None] * 4 + [peers.CIRCUIT_OPEN]


def test_forty_hanging_calls_to_stripe_hold_nobody_else(new_database, tmp_path):
    with hanging_service(new_database("sqlite", "peers", migrate_database), tmp_path, call_budget_s=4) as hanging:
        measured = measure(hanging, clients=40, duration_s=3)
        samples = hanging.service.raw("/metrics")
    assert {payment[:2] for payment in measured.payments} == {(503, "2")}
    assert max(seconds for *_, seconds in measured.payments) < 4 + 3
    for path, responses in measured.others.items():
        assert {status for status, _ in responses} == {200}, path
        assert max(seconds for _, seconds in responses) < 3.5, path
    assert measured.mail_s < 5
    for peer, outcome in (("stripe", "timed_out"), ("stripe", "too_many"), ("mail", "ok")):
        assert f'streamsvc_calls_total{{outcome="{outcome}",peer="{peer}"}}' in samples
