"""A retried POST acts once, whoever retries, however often and however much at once."""

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


def test_eight_clients_with_one_key_at_once_charge_once_and_hear_one_answer(world, price):
    ann, answers = world.person(), []

    def ask():
        client = world.app.test_client()
        headers = ann.headers(**{"Idempotency-Key": "k"})
        answers.append(client.post("/v1/subscriptions", json={"price_id": price}, headers=headers))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.charges() == [999]
    heard = {answer.status_code for answer in answers}
    assert heard <= {201, 409}
    assert len({json.dumps(a.json) for a in answers if a.status_code == 201}) == 1
    assert {a.json["code"] for a in answers if a.status_code == 409} <= {"idempotency_key_in_use"}
    assert send(ann, {"price_id": price}).headers["Idempotency-Replayed"] == "true"


def test_a_refusal_is_an_answer_too_and_is_heard_again(world, price):
    ann = world.person(card="pm_card_chargeCustomerFail")
    first, again = send(ann, {"price_id": price}), send(ann, {"price_id": price})
    assert (first.status_code, first.json["code"]) == (402, "payment_failed")
    assert (again.status_code, again.json) == (402, first.json)
    assert again.content_type == "application/problem+json"
    assert len(world.charges("declined")) == 1


def test_what_never_began_does_not_use_the_key_up(world, price):
    ann = world.person()
    assert send(ann, {"price_id": price, "nonsense": 1}).status_code == 422
    assert send(ann, {"price_id": price}).status_code == 201


def test_one_viewers_key_is_not_anothers(world, price):
    ann, bob = world.person(), world.person()
    assert send(ann, {"price_id": price}).status_code == 201
    answer = send(bob, {"price_id": price})
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


def test_the_same_key_on_another_path_is_refused(world, price):
    ann = world.person()
    send(ann, {"token": "pm_card_visa"}, path="/v1/payment-methods")
    answer = send(ann, {"price_id": price})
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "ключ".encode().decode("latin-1"), "a\tb"])
def test_a_key_that_is_none_is_refused(world, price, key):
    answer = send(world.person(), {"price_id": price}, key)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["Idempotency-Key"])


def leased(world, ann, body):
    """Leave a key as a process leaves it that died in the middle of its request."""
    headers = ann.headers(**{"Idempotency-Key": "k"})
    with world.app.test_request_context("/v1/subscriptions", method="POST", json=body, headers=headers):
        world.app.preprocess_request()
        assert idempotency._lease_or_replay(idempotency._read_request_key(required=True)) is None


def test_while_the_first_request_runs_the_second_is_told_to_wait(world, price):
    ann = world.person()
    leased(world, ann, {"price_id": price})
    answer = send(ann, {"price_id": price})
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_key_in_use")
    assert answer.headers["Retry-After"]


def test_a_key_whose_request_died_is_taken_over_when_its_lease_ends(world, price, monkeypatch):
    ann = world.person()
    monkeypatch.setattr(idempotency, "LEASE", timedelta(seconds=-1))
    leased(world, ann, {"price_id": price})
    assert send(ann, {"price_id": price}).status_code == 201
    assert world.charges() == [999]
