"""Outgoing webhooks, received by a real local server."""

import base64
import hashlib
import hmac
import itertools
import json
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.blueprints.description import WEBHOOKS
from streamsvc.gateways import webhooks as gateway
from streamsvc.operations.outbox import webhooks
from streamsvc.rules.webhooks import EVENT_KINDS, RETRY_DELAYS_S, next_attempt_at
from tests.worlds.billing_world import World
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import everything

pytestmark = pytest.mark.either_database


class Receiver:
    """What the receiving server has got, and the statuses it responds with."""

    def __init__(self):
        self.requests, self.statuses, self.headers = [], [], {}
        self.moments, self.clock = [], datetime.now


@contextmanager
def receiving():
    receiver = Receiver()

    class Hook(LocalHandler):
        def do_POST(self):
            receiver.requests.append((dict(self.headers), self.read_body()))
            receiver.moments.append(receiver.clock())
            self.respond(receiver.statuses.pop(0) if receiver.statuses else 200, **receiver.headers)

    with local_server(Hook) as server:
        receiver.url = f"{server.url}/hook"
        yield receiver


@pytest.fixture
def world(app, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(webhooks_to_private=True))
    return World(app)


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def create_endpoint(world, receiver, **more):
    response = world.operator.post("/v1/admin/webhook-endpoints", {"url": receiver.url, **more})
    assert response.status_code == 201, response.json
    return response.json


def test_an_endpoint_for_an_unknown_kind_is_refused_with_the_kind_that_was_meant(world, receiver):
    body = {"url": receiver.url, "kinds": ["session.started", "session.strted", "x"]}
    refused = world.operator.post("/v1/admin/webhook-endpoints", body)
    assert refused.status_code == 422
    assert refused.json["errors"]["kinds.1"] == ["Must be a kind of event. Did you mean session.started?"]
    assert refused.json["errors"]["kinds.2"][0].startswith("Must be one of: account.deleted, ")
    assert set(EVENT_KINDS) == set(WEBHOOKS), "each kind is described"


def test_events_of_an_unknown_kind_are_refused_with_the_kinds_there_are(world):
    refused = [world.operator.get(f"/v1/admin/events?kind={kind}") for kind in ("payment.faild", "x")]
    assert [response.status_code for response in refused] == [422, 422]
    messages = [response.json["errors"]["kind"][0] for response in refused]
    assert messages[0] == "Must be a kind of event. Did you mean payment.failed?"
    assert messages[1] == f"Must be one of: {', '.join(EVENT_KINDS)}."


def subscribe(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    world.go_to(world.clock.at)
    return ann


def deliveries(world):
    return world.operator.get("/v1/admin/webhook-deliveries").json["items"]


def is_signed(headers, body, secret):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{mac}" in headers["webhook-signature"].split(" ")


def test_events_are_sent_and_signed(world, receiver):
    endpoint = create_endpoint(world, receiver)
    ann = subscribe(world)
    events = [json.loads(body) for _, body in receiver.requests]
    assert {row["type"] for row in events} == {"subscription.changed", "invoice.issued", "payment.succeeded"}
    assert {row["data"]["account_id"] for row in events} == {ann.id}
    assert all(is_signed(headers, body, endpoint["secret"]) for headers, body in receiver.requests)
    assert {row["status"] for row in deliveries(world)} == {"delivered"}
    assert "secret" not in world.operator.get("/v1/admin/webhook-endpoints").json["items"][0]


def test_only_the_requested_event_types_are_sent(world, receiver):
    create_endpoint(world, receiver, kinds=["payment.failed"])
    subscribe(world)
    assert receiver.requests == []
    assert "payment.succeeded" in {event["kind"] for event in world.operator.get("/v1/admin/events").json["items"]}


def test_a_failed_delivery_is_retried_with_the_same_id(world, receiver):
    """SW-002."""
    create_endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.statuses = [500, 302]
    subscribe(world)
    world.go_to(world.clock.at + timedelta(seconds=5))
    assert [delivery["attempts"] for delivery in deliveries(world)] == [2]
    world.go_to(world.clock.at + timedelta(minutes=5))
    assert [(delivery["status"], delivery["attempts"]) for delivery in deliveries(world)] == [("delivered", 3)]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1


def test_after_the_last_attempt_a_delivery_has_failed_and_can_be_redelivered(world, receiver):
    """SW-002: ten attempts over 75:35:05."""
    create_endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.statuses, receiver.clock = [500] * len(RETRY_DELAYS_S), world.clock
    subscribe(world)
    world.go_to(world.clock.at + timedelta(days=4))
    [failed] = deliveries(world)
    assert (failed["status"], failed["attempts"], failed["next_at"]) == ("failed", len(RETRY_DELAYS_S), None)
    waited = [later - moment for moment, later in itertools.pairwise(receiver.moments)]
    assert waited == [timedelta(seconds=delay) for delay in RETRY_DELAYS_S[1:]]
    assert sum(waited, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)
    world.operator.post(f"/v1/admin/webhook-deliveries/{failed['id']}/redelivery")
    world.go_to(world.clock.at)
    assert deliveries(world)[0]["status"] == "delivered"
    listed = world.operator.get("/v1/admin/webhook-deliveries?status=failed").json["items"]
    assert [delivery["id"] for delivery in listed] == [failed["id"]]
    assert redeliver_all(world) == (201, 0, 0), "it was redelivered"


def redeliver_all(world, **body):
    response = world.operator.post("/v1/admin/webhook-redeliveries", body)
    return response.status_code, response.json["deliveries"], response.json["remaining"]


def test_all_that_was_given_up_is_counted_and_then_redelivered_to_endpoints_that_live(world, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_REDELIVERIES", 2)
    first, second = (create_endpoint(world, receiver, kinds=["payment.succeeded"])["id"] for _ in range(2))
    gone = create_endpoint(world, receiver, kinds=["payment.succeeded"])["id"]
    receiver.statuses = [500] * 6 * len(RETRY_DELAYS_S)
    for _ in range(2):
        subscribe(world)
    world.go_to(world.clock.at + timedelta(days=4))
    receiver.statuses.clear()
    world.operator.delete(f"/v1/admin/webhook-endpoints/{gone}")
    assert {delivery["status"] for delivery in deliveries(world)} == {"failed"}
    assert redeliver_all(world, dry_run=True) == (200, 2, 2)
    assert redeliver_all(world, endpoint_id=second, dry_run=True) == (200, 2, 0)
    receiver.requests.clear()
    assert redeliver_all(world, endpoint_id=first) == (201, 2, 0)
    assert redeliver_all(world) == (201, 2, 0)
    world.go_to(world.clock.at)
    assert len(receiver.requests) == 4
    assert redeliver_all(world) == (201, 0, 0)


def test_an_endpoint_that_returns_410_is_disabled(world, receiver):
    create_endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.statuses = [410]
    subscribe(world)
    subscribe(world)
    assert len(receiver.requests) == 1
    assert world.operator.get("/v1/admin/webhook-endpoints").json["items"][0]["disabled_at"]


def test_a_busy_receiver_can_delay_the_retry(world, receiver):
    create_endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.statuses, receiver.headers = [429], {"Retry-After": "120"}
    subscribe(world)
    world.go_to(world.clock.at + timedelta(seconds=119))
    assert len(receiver.requests) == 1
    world.go_to(world.clock.at + timedelta(seconds=1))
    assert len(receiver.requests) == 2


def test_during_a_secret_rotation_both_secrets_sign(world, receiver):
    old = create_endpoint(world, receiver, kinds=["payment.succeeded"])
    new = world.operator.post(f"/v1/admin/webhook-endpoints/{old['id']}/secret").json["secret"]
    subscribe(world)
    assert all(is_signed(*receiver.requests[0], secret) for secret in (old["secret"], new))
    world.go_to(world.clock.at + timedelta(hours=25))
    subscribe(world)
    assert not is_signed(*receiver.requests[-1], old["secret"])


def test_no_secret_is_stored_in_plain_text(world, receiver):
    endpoint = create_endpoint(world, receiver)
    new_secret = world.operator.post(f"/v1/admin/webhook-endpoints/{endpoint['id']}/secret").json["secret"]
    assert [secret for secret in (endpoint["secret"], new_secret) if secret[6:] in everything(world.app)] == []


def test_a_repeated_request_gets_the_same_secret_and_changes_nothing(world, receiver):
    body = {"url": receiver.url}
    responses = [world.operator.post("/v1/admin/webhook-endpoints", body, key="made") for _ in range(2)]
    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].json == responses[1].json
    path = f"/v1/admin/webhook-endpoints/{responses[0].json['id']}/secret"
    secrets = [world.operator.post(path, key="changed").json["secret"] for _ in range(2)]
    assert secrets[0] == secrets[1] != responses[0].json["secret"]
    assert len(base64.b64decode(secrets[0].removeprefix("whsec_"), validate=True)) == 32
    subscribe(world)
    assert all(is_signed(*receiver.requests[0], secret) for secret in (responses[0].json["secret"], secrets[0]))


def test_events_of_a_rolled_back_transaction_are_not_sent(world, receiver):
    create_endpoint(world, receiver)
    ann = world.person()
    ann.post("/v1/invoice-previews", {"price_id": world.plan("p", 1000)})
    world.go_to(world.clock.at)
    assert receiver.requests == []
    assert world.operator.get("/v1/admin/events").json["items"] == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://10.0.0.8/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[::7f00:1]/x",
        "https://[fec0::1]/x",
        "https://2130706433/x",
        "http://example.com/x",
        "ftp://example.com/x",
        "https:///x",
    ],
)
def test_private_addresses_are_not_called(app, url):
    with app.app_context():
        response = gateway.post_webhook("whe_1", url, b"{}", {})
    assert response.status is None
    assert response.error


def test_the_address_that_was_checked_is_the_one_that_is_called(app, receiver, monkeypatch):
    """The resolver answers a second question with the private address: DNS rebinding."""
    answers = iter([[(2, 1, 6, "", ("8.8.8.8", 443))], [(2, 1, 6, "", ("127.0.0.1", 443))]])
    called = []

    async def connect(loop, sock, address):
        called.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: next(answers))
    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", connect)
    with app.app_context():
        assert gateway.post_webhook("whe_1", "https://rebinding.example/hook", b"{}", {}).status is None
    assert called == ["8.8.8.8"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(app, monkeypatch):
    answers = [(2, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "64:ff9b::a00:1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with app.app_context():
        assert "is not a public address" in gateway.post_webhook("whe_1", "https://two.example/", b"{}", {}).error


def test_the_attempts_follow_the_specification():
    attempt_at, elapsed = datetime(2026, 1, 1, tzinfo=UTC), timedelta()
    for attempts in range(1, len(RETRY_DELAYS_S)):
        next_at = next_attempt_at(attempts, attempt_at)
        elapsed += next_at - attempt_at
        attempt_at = next_at
    assert elapsed == timedelta(hours=75, minutes=35, seconds=5)
    assert next_attempt_at(len(RETRY_DELAYS_S), attempt_at) is None
