"""A retried POST acts once, however often and however concurrently it is sent."""

import json
import threading
from datetime import timedelta

import pytest

from streamsvc.http import idempotency
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("standard", 999)


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
