"""A retried POST acts once, however often and however concurrently it is sent."""

import json
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.http import idempotency
from streamsvc.models import IdempotencyKey
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.rate_limits import SIGN_IN_ACCOUNT
from streamsvc.security import password_hashing
from streamsvc.security.access import public
from streamsvc.storage import leases
from streamsvc.storage.database import db, execute_write
from tests.conftest import close_app
from tests.worlds.billing_world import World
from tests.worlds.sessions_steps import new_person

FREE_ATTEMPTS = SIGN_IN_ACCOUNT.free_attempts


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("standard", 999)


def is_replayed(response):
    return response.headers.get("Idempotency-Replayed") == "true"


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
        response = send(ann, {"price_id": price})
        assert (response.status_code, "Idempotency-Replayed" in response.headers) == (201, replayed)


@pytest.mark.parametrize("key", ["x", "x" * 255])
def test_the_shortest_and_the_longest_key_are_accepted(world, price, key):
    ann = world.person()
    assert send(ann, {"price_id": price}, key).status_code == 201
    assert send(ann, {"price_id": price}, key).headers["Idempotency-Replayed"] == "true"


def test_a_request_rejected_before_anything_began_does_not_use_up_the_key(world, price):
    ann = world.person(card=None)
    for body, status, code in (
        ({"price_id": price, "nonsense": 1}, 422, "invalid"),
        ({"price_id": "pri_none"}, 422, "invalid"),
        ({"price_id": price, "coupon": "none"}, 422, "coupon_invalid"),
        ({"price_id": price}, 402, "payment_failed"),  # no payment method: nothing was charged
        ({"price_id": price}, 402, "payment_failed"),
    ):
        response = send(ann, body)
        assert (response.status_code, response.json["code"], is_replayed(response)) == (status, code, False)
    ann.add_card()
    assert send(ann, {"price_id": price}).status_code == 201
    assert is_replayed(send(ann, {"price_id": price}))
    assert send(ann, {"price_id": "pri_none"}).json["code"] == "idempotency_key_reused"
    assert (send(ann, {"price_id": price}, "other").json["code"], world.charges()) == ("already_subscribed", [999])


def test_a_declined_payment_uses_up_the_key(world, price):
    ann = world.person(card="pm_card_chargeCustomerFail")
    assert send(ann, {"price_id": price}).status_code == 402
    assert send(ann, {"price_id": price, "coupon": "none"}).json["code"] == "idempotency_key_reused"
    assert ann.put(f"/v1/payment-methods/{ann.add_card()}/default").status_code == 200
    assert is_replayed(send(ann, {"price_id": price}))
    assert (send(ann, {"price_id": price}, "new").status_code, world.charges()) == (201, [999])


def test_attempts_count_whatever_their_keys_and_a_rate_limit_does_not_use_up_the_key(app, client, clock):
    ann = new_person(client)

    def sign_in(password, key):
        body = {"email": ann.email, "password": password}
        return client.post("/v1/sessions", json=body, headers={"Idempotency-Key": key})

    assert sign_in("wrong", "k").json["code"] == "invalid_credentials"
    assert is_replayed(sign_in("wrong", "k"))  # not another attempt
    assert sign_in("guess", "k").json["code"] == "idempotency_key_reused"  # not tried
    statuses = [sign_in(f"wrong {n}", f"k{n}").status_code for n in range(FREE_ATTEMPTS + 1)]
    assert statuses == [401] * (FREE_ATTEMPTS - 1) + [429] * 2
    assert [sign_in(ann.password, "right").status_code for _ in range(2)] == [429, 429]
    clock.at += timedelta(hours=1)
    assert sign_in(ann.password, "right").status_code == 201
    assert is_replayed(sign_in(ann.password, "right"))


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
        key = idempotency._read_request_key(required=True)
        assert idempotency._lease_or_replay(key) is None
        return key


def test_a_second_request_is_rejected_while_the_first_is_running(world, price):
    ann = world.person()
    lease_key(world, ann, {"price_id": price})
    response = send(ann, {"price_id": price})
    assert (response.status_code, response.json["code"]) == (409, "idempotency_key_in_use")
    assert response.headers["Retry-After"]


def end_leases(app):
    """Let as much time pass as ends every lease that is not renewed."""
    with app.app_context():
        execute_write(sa.update(IdempotencyKey).values(leased_until=clock.wall_time() - timedelta(seconds=1)))


def test_a_dead_requests_key_is_taken_over_when_its_lease_ends(world, price):
    ann = world.person()
    lease_key(world, ann, {"price_id": price})
    end_leases(world.app)
    assert send(ann, {"price_id": price}).status_code == 201
    assert world.charges() == [999]


def test_an_error_of_a_request_that_took_over_a_key_is_stored_since_the_first_may_have_begun(world, price):
    ann, body = world.person(), {"price_id": price, "coupon": "none"}
    lease_key(world, ann, body)
    end_leases(world.app)
    assert [is_replayed(send(ann, body)) for _ in range(2)] == [False, True]
    assert send(ann, {"price_id": price}).json["code"] == "idempotency_key_reused"


def test_a_request_whose_key_was_taken_over_does_not_release_it(world, price):
    ann, body = world.person(), {"price_id": price}
    first = lease_key(world, ann, body)
    end_leases(world.app)
    second = lease_key(world, ann, body)
    with world.app.app_context():
        idempotency._release_key(first)
        assert db.session.get(IdempotencyKey, second.id) is not None
        db.session.rollback()
        second.has_begun = False
        idempotency._release_key(second)
        assert db.session.get(IdempotencyKey, second.id) is None


def send_refund(world, invoice):
    headers = world.operator.headers(**{"Idempotency-Key": "refund"})
    path = f"/v1/admin/invoices/{invoice['id']}/refunds"
    return world.app.test_client().post(path, json={"amount_minor": 100}, headers=headers)


@pytest.mark.parametrize("resumes", ["before", "after"], ids=["stopped before its commit", "stopped after its commit"])
def test_a_request_that_was_stopped_for_longer_than_its_lease_has_no_second_effect(world, price, monkeypatch, resumes):
    """The retry takes over the key, while the first request is still to commit its refund, or to send it."""
    ann = world.person()
    send(ann, {"price_id": price})
    [invoice] = ann.invoices()
    retries, stops = [], [1]

    def retry_meanwhile():
        if stops:
            stops.pop()
            end_leases(world.app)
            retry = threading.Thread(target=lambda: retries.append(send_refund(world, invoice)))
            retry.start()
            retry.join()

    with monkeypatch.context() as patch:
        if resumes == "after":
            provider_refund = SandboxProvider.refund

            def stop_and_refund(*args):
                retry_meanwhile()
                return provider_refund(*args)

            patch.setattr(SandboxProvider, "refund", stop_and_refund)
        else:
            run_view = idempotency._run_view

            def stop_and_run(*args):
                retry_meanwhile()
                return run_view(*args)

            patch.setattr(idempotency, "_run_view", stop_and_run)
        first = send_refund(world, invoice)
    assert (retries[0].status_code, is_replayed(retries[0])) == (201, False)
    assert (first.status_code, is_replayed(first), first.json) == (201, True, retries[0].json)
    [invoice] = ann.invoices()
    assert (invoice["amount_paid_minor"], len(invoice["credit_notes"])) == (899, 1)
    assert world.charges("succeeded", "refund") == [100]


def test_the_lease_of_a_long_request_is_renewed(world, price, monkeypatch):
    ann, charge, retries = world.person(), SandboxProvider.charge, []
    monkeypatch.setattr(leases, "LEASE_S", 0.5)
    monkeypatch.setattr(leases, "RENEWAL_INTERVAL_S", 0.1)
    monkeypatch.setattr(leases, "_renewer", None)  # the next one starts with these

    def charge_slowly(*args):
        for _ in range(2):
            time.sleep(0.4)
            retries.append(send(ann, {"price_id": price}).json["code"])
        return charge(*args)

    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "charge", charge_slowly)
        assert send(ann, {"price_id": price}).status_code == 201
    assert (retries, world.charges()) == (["idempotency_key_in_use"] * 2, [999])


@pytest.mark.parametrize("commits, statuses", [(False, (201, 422)), (True, (422, 201))])
def test_a_failure_keeps_the_key_for_the_same_request_only_if_something_was_committed(app, commits, statuses):
    failing, failures = create_app(app.extensions["settings"]), [1]

    def view():
        if commits:
            db.session.execute(sa.text("SELECT 1"))
            db.session.commit()
        if failures:
            raise sa.exc.OperationalError("SELECT 1", {}, Exception(failures.pop()))
        return {}, 201

    failing.add_url_rule("/v1/failing", view_func=public(idempotency.idempotent()(view)), methods=["POST"])

    def post(body):
        return failing.test_client().post("/v1/failing", json=body, headers={"Idempotency-Key": "k"}).status_code

    assert post({"a": 1}) == 503
    assert (post({"a": 2}), post({"a": 1})) == statuses
    close_app(failing)
