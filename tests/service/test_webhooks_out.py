"""Outgoing webhooks, received by a real server on this machine."""

import base64
import hashlib
import hmac
import itertools
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.gateways import webhooks as outside
from streamsvc.rules.webhooks import RETRY_DELAYS_S, is_public_address, next_attempt_at
from tests.worlds.billing_world import World
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import everything


class Receiver:
    def __init__(self):
        self.got, self.answers, self.headers = [], [], {}
        self.moments, self.clock = [], datetime.now


@contextmanager
def receiving():
    receiver = Receiver()

    class Hook(LocalHandler):
        def do_POST(self):
            receiver.got.append((dict(self.headers), self.read_body()))
            receiver.moments.append(receiver.clock())
            self.answer(receiver.answers.pop(0) if receiver.answers else 200, **receiver.headers)

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


def endpoint(world, receiver, **more):
    answer = world.operator.post("/v1/admin/webhook-endpoints", {"url": receiver.url, **more})
    assert answer.status_code == 201, answer.json
    return answer.json


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


def test_what_happens_is_told_and_signed(world, receiver):
    made = endpoint(world, receiver)
    ann = subscribe(world)
    told = [json.loads(body) for _, body in receiver.got]
    assert {one["type"] for one in told} == {"subscription.changed", "invoice.issued", "payment.succeeded"}
    assert {one["data"]["account_id"] for one in told} == {ann.id}
    assert all(is_signed(headers, body, made["secret"]) for headers, body in receiver.got)
    assert {one["status"] for one in deliveries(world)} == {"delivered"}
    assert "secret" not in world.operator.get("/v1/admin/webhook-endpoints").json["items"][0]


def test_only_the_events_that_were_asked_for_are_told(world, receiver):
    endpoint(world, receiver, kinds=["payment.failed"])
    subscribe(world)
    assert receiver.got == []
    assert "payment.succeeded" in {one["kind"] for one in world.operator.get("/v1/admin/events").json["items"]}


def test_a_receiver_that_fails_is_told_again_under_the_same_id(world, receiver):
    """SW-002."""
    endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.answers = [500, 302]
    subscribe(world)
    world.go_to(world.clock.at + timedelta(seconds=5))
    assert [one["attempts"] for one in deliveries(world)] == [2]
    world.go_to(world.clock.at + timedelta(minutes=5))
    assert [(one["status"], one["attempts"]) for one in deliveries(world)] == [("delivered", 3)]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_after_the_last_try_it_has_failed_and_can_be_sent_again_by_hand(world, receiver):
    """SW-002: ten tries over 75:35:05."""
    endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.answers, receiver.clock = [500] * len(RETRY_DELAYS_S), world.clock
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


def test_a_receiver_that_is_gone_is_told_no_more(world, receiver):
    endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.answers = [410]
    subscribe(world)
    subscribe(world)
    assert len(receiver.got) == 1
    assert world.operator.get("/v1/admin/webhook-endpoints").json["items"][0]["disabled_at"]


def test_a_busy_receiver_may_ask_for_time(world, receiver):
    endpoint(world, receiver, kinds=["payment.succeeded"])
    receiver.answers, receiver.headers = [429], {"Retry-After": "120"}
    subscribe(world)
    world.go_to(world.clock.at + timedelta(seconds=119))
    assert len(receiver.got) == 1
    world.go_to(world.clock.at + timedelta(seconds=1))
    assert len(receiver.got) == 2


def test_while_a_secret_changes_both_sign(world, receiver):
    old = endpoint(world, receiver, kinds=["payment.succeeded"])
    new = world.operator.post(f"/v1/admin/webhook-endpoints/{old['id']}/secret").json["secret"]
    subscribe(world)
    assert all(is_signed(*receiver.got[0], secret) for secret in (old["secret"], new))
    world.go_to(world.clock.at + timedelta(hours=25))
    subscribe(world)
    assert not is_signed(*receiver.got[-1], old["secret"])


def test_no_secret_is_kept_in_the_open(world, receiver):
    made = endpoint(world, receiver)
    new = world.operator.post(f"/v1/admin/webhook-endpoints/{made['id']}/secret").json["secret"]
    assert [secret for secret in (made["secret"], new) if secret[6:] in everything(world.app)] == []


def test_a_repeated_request_hears_the_same_secret_and_changes_nothing(world, receiver):
    asked = {"url": receiver.url}
    made = [world.operator.post("/v1/admin/webhook-endpoints", asked, key="made") for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json == made[1].json
    path = f"/v1/admin/webhook-endpoints/{made[0].json['id']}/secret"
    changed = [world.operator.post(path, key="changed").json["secret"] for _ in range(2)]
    assert changed[0] == changed[1] != made[0].json["secret"]
    assert len(base64.b64decode(changed[0].removeprefix("whsec_"), validate=True)) == 32
    subscribe(world)
    assert all(is_signed(*receiver.got[0], secret) for secret in (made[0].json["secret"], changed[0]))


def test_what_was_rolled_back_is_not_told(world, receiver):
    endpoint(world, receiver)
    ann = world.person()
    ann.post("/v1/invoice-previews", {"price_id": world.plan("p", 1000)})
    world.go_to(world.clock.at)
    assert receiver.got == []
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
        "https://2130706433/x",
        "http://example.com/x",
        "ftp://example.com/x",
        "https:///x",
    ],
)
def test_private_addresses_are_not_called(app, url):
    with app.app_context():
        answer = outside.post_webhook(url, b"{}", {})
    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("192.168.1.1", False), ("100.64.0.1", False), ("2002:7f00:1::", False), ("fe80::1", False)],
)
def test_which_addresses_are_public(address, public):
    assert is_public_address(address) is public


def test_the_tries_follow_the_specification():
    at, spent = datetime(2026, 1, 1, tzinfo=UTC), timedelta()
    for attempts in range(1, len(RETRY_DELAYS_S)):
        later = next_attempt_at(attempts, at)
        spent += later - at
        at = later
    assert spent == timedelta(hours=75, minutes=35, seconds=5)
    assert next_attempt_at(len(RETRY_DELAYS_S), at) is None
