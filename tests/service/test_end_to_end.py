"""From sign-up to playback with the real catalogue: one story over TCP, with two web processes.

`make test` runs it on PostgreSQL; test_wheel.py seeds the same catalogue on SQLite.
"""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.worlds.service import DEMO_SETTINGS, running_service, seed_demo

pytestmark = pytest.mark.either_database
CATALOG = Path(__file__).parent.parent.parent / "streamsvc" / "demo" / "catalog.ndjson.gz"
TITLES, WITH_VIDEO = 17_472, 4
ANN = {"email": "ann@example.com", "password": "seven red herons", "country": "DE", "time_zone": "Europe/Berlin"}
TV = {"name": "Living room", "kind": "tv"}


@pytest.fixture(scope="module")
def service(database, new_database, tmp_path_factory):
    url = new_database(database, "thread", seed_demo)
    with running_service(url, tmp_path_factory.mktemp("thread"), **DEMO_SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def key(service):
    return service.command("api-keys", "create", "--scope", "admin", "--name", "story").stdout.split()[-1]


@pytest.fixture(scope="module")
def ann(service):
    status, body = service.call("POST", "/v1/accounts", {**ANN, "device": TV})
    assert status == 201, body
    return body


def price_of(service, plan, currency="EUR", interval="month"):
    plans = service.get("/v1/plans?country=DE")[1]["items"]
    prices = next(p for p in plans if p["code"] == plan)["prices"]
    return next(p for p in prices if (p["currency"], p["interval"]) == (currency, interval))


def sign_in(service, email=ANN["email"]):
    """A new token: sessions expire when they are not used for long."""
    status, body = service.call("POST", "/v1/sessions", {"email": email, "password": ANN["password"], "device": TV})
    assert status == 201, body
    return body["token"]


def advance_clock(service, key, **by):
    """Advance the sandbox's clock; returns its new time."""
    target = datetime.fromisoformat(service.get("/v1/sandbox/clock", key)[1]["now"]) + timedelta(**by)
    status, body = service.call("PUT", "/v1/sandbox/clock", {"now": target.isoformat()}, key)
    assert status == 200, body
    return target


def test_the_catalogue_is_complete(service, key):
    with gzip.open(CATALOG) as lines:
        assert sum(1 for _ in lines) == TITLES
    assert service.get("/v1/admin/coverage", key)[1]["total"] == TITLES + WITH_VIDEO
    page = service.get("/v1/catalog/titles?include_total=true", key)[1]
    assert (page["total"], page["total_relation"]) == (10_000, "at_least")


def test_seeding_again_changes_nothing(service):
    result = service.command("demo", "seed")
    assert result.returncode == 0
    assert f"{TITLES} unchanged" in result.stdout


def test_a_new_viewer_can_browse_but_not_play(service, ann):
    token = ann["token"]
    assert (ann["subscription"], ann["entitlements"]["active"]) == (None, False)
    title = service.get("/v1/catalog/search?q=shawshank", token)[1]["items"][0]
    assert title["external_ids"]["imdb"] == "tt0111161"
    availability = service.get(f"/v1/catalog/titles/{title['id']}", token)[1]["availability"]
    assert availability["reason"] == "subscription_required"
    denied = service.call("POST", "/v1/playback", {"item_id": title["id"]}, token)
    assert (denied[0], denied[1]["code"]) == (403, "subscription_required")


def test_a_subscriber_plays_renews_and_is_denied_when_it_ends(service, ann, key):
    token = ann["token"]
    method = service.call("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token)
    assert method[0] == 201
    price = price_of(service, "premium")
    order = {"price_id": price["id"]}
    status, subscription = service.call("POST", "/v1/subscriptions", order, token, Idempotency_Key="order-1")
    assert (status, subscription["status"]) == (201, "active"), subscription
    assert subscription["period"] == {"start": "2026-01-31", "end": "2026-02-28"}
    replay = service.call("POST", "/v1/subscriptions", order, token, Idempotency_Key="order-1")
    assert replay == (201, subscription)

    film = service.get("/v1/catalog/search?q=the+godfather", token)[1]["items"][0]
    status, stream = service.call("POST", "/v1/playback", {"item_id": film["id"]}, token)
    assert status == 201, stream
    assert stream["manifests"]
    heartbeat = {"position_s": 61, "state": "playing", "at": service.get("/v1/sandbox/clock", key)[1]["now"]}
    assert service.call("POST", f"/v1/playback/{stream['stream_id']}/heartbeat", heartbeat, token)[0] == 200
    assert service.call("DELETE", f"/v1/playback/{stream['stream_id']}", token=token)[0] == 204
    ended = service.call("POST", f"/v1/playback/{stream['stream_id']}/heartbeat", heartbeat, token)
    assert (ended[0], ended[1]["code"]) == (410, "stream_ended")

    advance_clock(service, key, days=60)
    token = sign_in(service)
    invoices = service.get("/v1/invoices", token)[1]["items"]
    assert sorted(i["lines"][0]["period"]["start"] for i in invoices) == ["2026-01-31", "2026-02-28", "2026-03-31"]
    assert {(i["status"], i["amount_paid_minor"]) for i in invoices} == {("paid", price["amount_minor"])}

    path = f"/v1/subscriptions/{subscription['id']}/cancellation"
    assert service.call("POST", path, {"when": "period_end"}, token, Idempotency_Key="bye")[0] == 200
    advance_clock(service, key, days=40)
    token = sign_in(service)
    denied = service.call("POST", "/v1/playback", {"item_id": film["id"]}, token)
    assert (denied[0], denied[1]["code"]) == (403, "subscription_required")


def test_a_trial_becomes_a_paid_month(service, key):
    status, bob = service.call("POST", "/v1/accounts", {**ANN, "email": "bob@example.com", "device": TV})
    assert status == 201
    service.call("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, bob["token"])
    order = {"price_id": price_of(service, "standard")["id"]}
    status, trial = service.call("POST", "/v1/subscriptions", order, bob["token"], Idempotency_Key="order-2")
    assert (status, trial["status"]) == (201, "trialing"), trial
    advance_clock(service, key, days=15)
    current = service.get("/v1/sessions/current", bob["token"])[1]
    assert (current["subscription"]["status"], current["entitlements"]["active"]) == ("active", True)
    assert service.get("/v1/invoices", bob["token"])[1]["items"][0]["status"] == "paid"


def test_a_declined_card_buys_nothing(service):
    _, eve = service.call("POST", "/v1/accounts", {**ANN, "email": "eve@example.com", "device": TV})
    service.call("POST", "/v1/payment-methods", {"token": "pm_card_chargeCustomerFail"}, eve["token"])
    order = {"price_id": price_of(service, "premium")["id"]}
    declined = service.call("POST", "/v1/subscriptions", order, eve["token"], Idempotency_Key="order-3")
    assert (declined[0], declined[1]["code"]) == (402, "payment_failed")
    assert service.get("/v1/sessions/current", eve["token"])[1]["entitlements"]["active"] is False


def test_mail_is_sent_as_soon_as_it_is_requested(service, ann, key):
    service.call("POST", "/v1/password-resets", {"email": ANN["email"]})
    mails = service.get("/v1/sandbox/emails?to=ann@example.com", key)[1]["items"]
    assert [mail["kind"] for mail in mails].count("password_reset") == 1
    assert all(json.dumps(m).find(ANN["password"]) < 0 for m in mails)


def test_a_revoked_token_is_rejected_by_every_process_at_once(service):
    token = sign_in(service)
    assert service.get("/v1/sessions/current", token)[0] == 200
    assert service.call("DELETE", "/v1/sessions/current", token=token)[0] == 204
    assert {service.get("/v1/sessions/current", token)[0] for _ in range(20)} == {401}
