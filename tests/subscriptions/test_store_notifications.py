"""Notifications of the stores that are repeated, late, or of no interest, and the webhooks that follow."""

import threading
from types import SimpleNamespace

import pytest

from streamsvc.gateways.peers import close_circuits
from streamsvc.models import Job
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds.app_store import deliver
from tests.worlds.play_store import push
from tests.worlds.store_lives import HOUR


def test_a_notification_creates_no_subscription_that_has_ended_or_is_not_sold_or_of_a_disabled_account(life):
    ended = life.store.buy("basic.monthly", life.account())
    life.deliver(ended.refund())
    life.put_plan("premium", [])
    unsold = life.store.buy("premium.monthly", life.account())
    bea = life.world.person(card=None)
    disabled = life.store.buy("basic.monthly", life.account(bea))
    assert life.world.operator.patch(f"/v1/admin/accounts/{bea.id}", {"status": "disabled"}).status_code == 200
    for subscription in (unsold, disabled):
        life.deliver(life.store.notify("SUBSCRIBED", None, subscription))
    assert life.world.operator.get("/v1/admin/subscriptions").json["items"] == []


def test_reconciliation_asks_for_no_state_of_the_last_day(life):
    life.subscribe()
    life.wait(hours=23)
    before = len(life.store.requests)
    with life.world.app.app_context():
        jobs.enqueue_job("store.reconcile", {}, life.clock.at)
        db.session.commit()
    life.tick()
    assert len(life.store.requests) == before


def test_an_older_response_does_not_undo_a_newer_one(life):
    """The first request hangs while a second one is answered: its answer is the older one."""
    subscription = life.subscribe()
    deliver(life.world, subscription.cancel())

    def act_meanwhile():
        life.clock.at += HOUR
        subscription.upgrade("premium.monthly")
        body = {"source": "app_store", "signed_transaction": subscription.sign_transaction()}
        with life.world.app.app_context():
            assert life.ann.post("/v1/store-purchases", body).status_code == 201

    life.store.before_reply = act_meanwhile
    life.tick()
    assert life.read_access()[1] == "premium"


def cancel_at_the_store(life, store):
    """Cancel a subscription; return how to deliver the notification, and the requests that asked for its state."""
    if store == "app_store":
        notification = life.subscribe().cancel()
        return lambda: deliver(life.world, notification), lambda: list_paths(life.store, "/subscriptions/")
    notification, token = life.subscribe_on_play().cancel(), life.play.push_token()
    assert push(life.world, life.play.notify(testNotification={}), token).status_code == 204  # fetches Google's keys
    return (
        lambda: push(life.world, notification, token),
        lambda: list_paths(life.play, "/subscriptionsv2/"),
    )


def list_paths(store, part):
    return [path for _, path in store.requests if part in path]


def list_notified_jobs(life):
    """The open jobs that fetch a state because of a notification."""
    with life.world.app.app_context():
        jobs_due = db.session.scalars(db.select(Job).where(Job.kind == "store.refresh", Job.done_at.is_(None)))
        return [dict(job.payload) for job in jobs_due if "event_id" in job.payload]


@pytest.mark.every_database
@pytest.mark.parametrize("store", ["app_store", "play_store"])
def test_a_notification_delivered_several_times_at_once_is_handled_once(life, store):
    send, list_requests = cancel_at_the_store(life, store)
    statuses, barrier = [], threading.Barrier(4)

    def send_at_once():
        barrier.wait()
        statuses.append(send().status_code)

    threads = [threading.Thread(target=send_at_once) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    before = len(list_requests())
    assert (statuses, len(list_notified_jobs(life))) == ([204] * 4, 1)
    life.tick()
    assert len(list_requests()) == before + 1
    assert not life.session()["sources"][0]["renews"]


@pytest.mark.parametrize("store", ["app_store", "play_store"])
def test_a_notification_delivered_again_after_its_job_was_purged_is_handled_no_more(life, store):
    send, list_requests = cancel_at_the_store(life, store)
    assert send().status_code == 204
    life.tick()
    before = len(list_requests())
    with life.world.app.app_context():
        db.session.execute(db.delete(Job).where(Job.done_at.is_not(None)))
        db.session.commit()
    assert (send().status_code, send().status_code, list_notified_jobs(life)) == (204, 204, [])
    life.tick()
    assert len(list_requests()) == before


@pytest.mark.parametrize("store", ["app_store", "play_store"])
def test_a_notification_delivered_again_while_the_store_does_not_respond_is_handled_once(life, store):
    send, list_requests = cancel_at_the_store(life, store)
    life.store.failure = life.play.failure = (503, b"" if store == "app_store" else {})
    assert send().status_code == 204
    life.wait(seconds=30)
    assert (send().status_code, len(list_notified_jobs(life))) == (204, 1)
    life.store.failure = life.play.failure = None
    close_circuits()
    life.wait(minutes=3)
    assert list_notified_jobs(life) == []
    assert not life.session()["sources"][0]["renews"]
    before = len(list_requests())
    life.wait(minutes=3)
    assert len(list_requests()) == before


@pytest.mark.parametrize("store", ["app_store", "play_store"])
def test_a_job_of_a_notification_that_runs_twice_asks_the_store_once(life, store):
    send, list_requests = cancel_at_the_store(life, store)
    send()
    [payload] = list_notified_jobs(life)
    life.tick()
    before = len(list_requests())
    with life.world.app.app_context():
        jobs.enqueue_job("store.refresh", payload, life.clock.at)  # as after a worker that died before it was done
        db.session.commit()
    life.tick()
    assert (len(list_requests()), list_notified_jobs(life)) == (before, [])


def list_changes(life):
    """The events `subscription.changed`, oldest first."""
    events = life.world.operator.get("/v1/admin/events?kind=subscription.changed").json["items"]
    return [(each["account_id"], each["data"]["source"], each["data"]["cancel_at"]) for each in reversed(events)]


def test_webhooks_report_what_was_bought_and_what_the_store_changed(life):
    subscription = life.subscribe()
    life.claim(subscription)
    bought = (life.ann.id, "app_store", None)
    assert list_changes(life) == [bought]
    life.deliver(subscription.cancel())
    assert list_changes(life) == [bought, (life.ann.id, "app_store", "2026-02-14")]


def test_webhooks_report_what_was_bought_though_its_app_crashed(life):
    life.play.buy("standard", life.account())
    at_play = SimpleNamespace(world=life.world, store=life.play, tick=life.tick)
    PlayStoreLife.deliver(at_play, life.play.notifications[-1])
    assert list_changes(life) == [(life.ann.id, "play_store", None)]


@pytest.mark.parametrize("by", ["its customer", "support"])
def test_webhooks_report_to_whom_a_purchase_has_moved(life, by):
    life.use(store_restore="move")
    subscription, bea = life.subscribe(), life.world.person(card=None)
    if by == "support":
        path = f"/v1/admin/subscriptions/{life.subscription()['id']}/transfer"
        assert life.world.operator.post(path, {"account_id": bea.id}).status_code == 200
    else:
        assert life.claim(subscription, bea).status_code == 201
    assert list_changes(life) == [(life.ann.id, "app_store", None), (bea.id, "app_store", None)]
