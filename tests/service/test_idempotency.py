"""A retried POST acts once, however often and however concurrently it is sent."""

import json
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.http import idempotency
from streamsvc.models import IdempotencyKey
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.security import password_hashing
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.sessions_steps import new_person


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("standard", 999)


@pytest.fixture
def dying_provider(app, monkeypatch):
    """Within the block `with dying_provider():`, the provider charges, but the process then dies."""
    charge = SandboxProvider.charge
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)

    def charge_and_die(*args):
        charge(*args)
        raise RuntimeError("the process dies")

    @contextmanager
    def dying():
        with monkeypatch.context() as patch:
            patch.setattr(SandboxProvider, "charge", charge_and_die)
            yield

    return dying


def send(ann, body, key="k", path="/v1/subscriptions"):
    return ann.client.post(path, json=body, headers=ann.headers(**{"Idempotency-Key": key}))


def test_eight_concurrent_requests_with_one_key_charge_once_and_get_one_response(world, price):
    ann, responses = world.person(), []

    def post():
        client = world.app.test_client()
        headers = ann.headers(**{"Idempotency-Key": "k"})
        responses.append(client.post("/v1/subscriptions", json={"price_id": price}, headers=headers))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.charges() == [999]
    statuses = {response.status_code for response in responses}
    assert statuses <= {201, 409}
    assert len({json.dumps(response.json) for response in responses if response.status_code == 201}) == 1
    assert {response.json["code"] for response in responses if response.status_code == 409} <= {
        "idempotency_key_in_use"
    }
    assert send(ann, {"price_id": price}).headers["Idempotency-Replayed"] == "true"


def test_an_error_response_is_replayed_too(world, price):
    ann = world.person(card="pm_card_chargeCustomerFail")
    first, retry = send(ann, {"price_id": price}), send(ann, {"price_id": price})
    assert (first.status_code, first.json["code"]) == (402, "payment_failed")
    assert (retry.status_code, retry.json) == (402, first.json)
    assert retry.content_type == "application/problem+json"
    assert len(world.charges("declined")) == 1


def test_an_error_of_the_service_is_not_stored(app, monkeypatch):
    """The hashing queue is full: 503, and the retry signs in."""
    ann = new_person(app.test_client())
    ann.headers = {"Idempotency-Key": "k"}
    [pool] = [value for value in app.extensions.values() if isinstance(value, password_hashing.HashingPool)]
    with monkeypatch.context() as patch:
        patch.setattr(pool, "unknown_device_permits", threading.BoundedSemaphore(1))
        with pool.unknown_device_permits:
            assert ann.sign_in().status_code == 503
    retry = ann.sign_in()
    assert (retry.status_code, "Idempotency-Replayed" in retry.headers) == (201, False)


def test_a_request_that_dies_after_its_charge_began_is_continued(world, price, dying_provider):
    """The provider charged, but the process died before it could store the outcome."""
    ann = world.person()
    with dying_provider():
        assert send(ann, {"price_id": price}).status_code == 500
    started = send(ann, {"price_id": price})
    assert (started.status_code, started.json["status"], world.charges()) == (201, "incomplete", [999])
    world.go_to("2026-01-15T12:01:00")
    [subscription] = ann.get("/v1/subscriptions").json["items"]
    assert (subscription["id"], subscription["status"]) == (started.json["id"], "active")
    assert world.charges() == [999]


def test_a_manual_payment_that_dies_after_its_charge_began_is_continued(world, price, dying_provider):
    ann = world.person()
    send(ann, {"price_id": price})
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    path = f"/v1/invoices/{ann.invoices()[1]['id']}/payments"
    with dying_provider():
        assert send(ann, {}, "pay", path).status_code == 500
    paid = send(ann, {}, "pay", path)
    assert (paid.status_code, paid.json["status"], world.charges()) == (201, "succeeded", [999, 999])
    assert send(ann, {}, "pay", path).headers["Idempotency-Replayed"] == "true"


def age_keys(app, **age):
    """Let all keys be this old."""
    with app.app_context():
        db.session.execute(sa.update(IdempotencyKey).values(created_at=clock.wall_time() - timedelta(**age)))
        db.session.commit()


def test_a_response_is_kept_for_48_hours(world, price):
    ann = world.person()
    assert send(ann, {"price_id": price}).status_code == 201
    for age, replayed in (({"hours": 47, "minutes": 59}, True), ({"hours": 48}, False)):
        age_keys(world.app, **age)
        with world.app.app_context():
            purge_expired_data({}, world.clock())
            db.session.commit()
        response = send(ann, {"price_id": price})
        assert (response.status_code, "Idempotency-Replayed" in response.headers) == (201, replayed)


@pytest.mark.parametrize("key", ["x", "x" * 255])
def test_the_shortest_and_the_longest_key_are_accepted(world, price, key):
    ann = world.person()
    assert send(ann, {"price_id": price}, key).status_code == 201
    assert send(ann, {"price_id": price}, key).headers["Idempotency-Replayed"] == "true"


def test_an_invalid_request_does_not_use_up_the_key(world, price):
    ann = world.person()
    assert send(ann, {"price_id": price, "nonsense": 1}).status_code == 422
    assert send(ann, {"price_id": price}).status_code == 201


def test_viewers_do_not_share_keys(world, price):
    ann, bob = world.person(), world.person()
    assert send(ann, {"price_id": price}).status_code == 201
    response = send(bob, {"price_id": price})
    assert (response.status_code, "Idempotency-Replayed" in response.headers) == (201, False)


def test_the_same_key_on_another_path_is_rejected(world, price):
    ann = world.person()
    send(ann, {"token": "pm_card_visa"}, path="/v1/payment-methods")
    response = send(ann, {"price_id": price})
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "ключ".encode().decode("latin-1"), "a\tb"])
def test_an_invalid_key_is_rejected(world, price, key):
    response = send(world.person(), {"price_id": price}, key)
    assert (response.status_code, list(response.json["errors"])) == (422, ["Idempotency-Key"])


def lease_key(world, ann, body):
    """Leave the key in the state of a process that died in the middle of its request."""
    headers = ann.headers(**{"Idempotency-Key": "k"})
    edge = {"streamsvc.request_id": "req_first"}
    with world.app.test_request_context(
        "/v1/subscriptions", method="POST", json=body, headers=headers, environ_overrides=edge
    ):
        world.app.preprocess_request()
        assert idempotency._lease_or_replay(idempotency._read_request_key(required=True)) is None


def test_a_second_request_is_rejected_while_the_first_is_running(world, price):
    ann = world.person()
    lease_key(world, ann, {"price_id": price})
    response = send(ann, {"price_id": price})
    assert (response.status_code, response.json["code"]) == (409, "idempotency_key_in_use")
    assert response.headers["Retry-After"]


def test_a_dead_requests_key_is_taken_over_when_its_lease_ends(world, price, monkeypatch):
    ann = world.person()
    monkeypatch.setattr(idempotency, "LEASE", timedelta(seconds=-1))
    lease_key(world, ann, {"price_id": price})
    assert send(ann, {"price_id": price}).status_code == 201
    assert world.charges() == [999]
