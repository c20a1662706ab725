"""A crash at every commit of subscribing, renewing, changing, refunding, paying out and buying a gift does no harm.

A real process is killed with SIGKILL at each point in turn. Time then passes, the worker recovers what was left, and
the client repeats its request.
"""

import os
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import IdempotencyKey, Job
from streamsvc.models.subscriptions import Payment, Refund
from streamsvc.storage.database import db
from tests.conftest import NOON, delete_all_rows
from tests.faults.crash_runner import CrashRunner
from tests.worlds.billing_world import World
from tests.worlds.scenes import set_scene

UNIT = os.environ.get("STREAMSVC_TEST_CRASHES", "commit")
MAX_CRASH_POINTS = 2_000
KEY = "one key"


@pytest.fixture(scope="module")
def crash_runner(shared_app):
    runner = CrashRunner(shared_app.extensions["settings"].database_url)
    yield runner
    runner.close()


class Scene:
    """A viewer who is about to do one thing, on an otherwise empty database."""

    @classmethod
    def begin(cls, app):
        """Return the scene, whatever happened before."""
        with app.app_context():
            delete_all_rows(db.engine)
        app.extensions["clock"].at = NOON
        return set_scene(app, cls)

    def __init__(self, app):
        self.world = World(app)
        self.cheap, self.dear = self.world.plan("p", 1000, 3000)
        self.viewer = self.world.person()
        self.prepare()

    def prepare(self):
        assert self.viewer.subscribe(self.cheap).status_code == 201

    def task(self):
        caller = self.caller()
        return self.now() | {"do": "post", "path": self.path(), "body": self.body(), "headers": headers(caller)}

    def now(self):
        return {"now": self.world.clock.at.isoformat()}

    def caller(self):
        return self.viewer

    def retry(self):
        """The client got no response and repeats the request with the same key."""
        response = self.caller().post(self.path(), self.body(), key=KEY)
        assert response.status_code in (200, 201), response.json

    def check(self):
        """The effects have happened exactly once."""
        assert self.viewer.subscription()["status"] == "active"
        assert self.world.charges() == self.paid


def headers(caller):
    return caller.headers(**{"Idempotency-Key": KEY})


class Subscribing(Scene):
    paid = (1000,)

    def prepare(self):
        pass

    def path(self):
        return "/v1/subscriptions"

    def body(self):
        return {"price_id": self.cheap}


class Changing(Scene):
    paid = (1000, 2000)

    def path(self):
        return f"/v1/subscriptions/{self.viewer.subscription()['id']}/plan-change"

    def body(self):
        return {"price_id": self.dear, "when": "now"}

    def check(self):
        super().check()
        assert self.viewer.subscription()["price"]["id"] == self.dear


class Refunding(Scene):
    paid = (1000,)

    def caller(self):
        return self.world.operator

    def path(self):
        return f"/v1/admin/invoices/{self.viewer.invoices()[0]['id']}/refunds"

    def body(self):
        return {"amount_minor": 300}

    def check(self):
        super().check()
        journal = self.world.operator.get("/v1/sandbox/payments").json["items"]
        assert [entry["amount_minor"] for entry in journal if entry["kind"] == "refund"] == [300]
        assert self.viewer.invoices()[0]["payments"][0]["refunded_minor"] == 300


class PayingOut(Scene):
    """Credit from a payment goes back to it."""

    paid = (1000,)

    def prepare(self):
        super().prepare()
        path = f"/v1/admin/invoices/{self.viewer.invoices()[0]['id']}/credit-notes"
        assert self.world.operator.post(path, {"amount_minor": 400}).status_code == 201

    def caller(self):
        return self.world.operator

    def path(self):
        return f"/v1/admin/accounts/{self.viewer.id}/payouts"

    def body(self):
        return {"currency": "USD", "reason": "asked for"}

    def check(self):
        super().check()
        assert self.world.charges(kind="refund") == [400]
        [payout] = self.world.operator.get("/v1/admin/payouts").json["items"]
        assert (payout["status"], payout["paid_minor"], self.viewer.balances()) == ("paid", 400, [])


class BuyingAGift(Subscribing):
    def path(self):
        return "/v1/gift-purchases"

    def body(self):
        return {"price_id": self.cheap, "periods": 1, "recipient_email": "friend@example.org"}

    def check(self):
        assert self.world.charges() == [1000]
        [gift] = self.viewer.get("/v1/gift-purchases").json["items"]
        assert (gift["state"], gift["deliveries"]) == ("delivered", 1)
        sent = self.world.operator.get("/v1/sandbox/emails?to=friend@example.org").json["items"]
        assert len(sent) == 1 and gift["code"] in sent[0]["text"]


class Renewing(Scene):
    """Two subscriptions whose renewals are booked, charged and completed as one batch."""

    paid = (1000, 1000, 1000, 1000)

    def prepare(self):
        self.other = self.world.person()
        assert self.other.subscribe(self.cheap).status_code == 201
        super().prepare()
        self.world.clock.advance(days=31)

    def check(self):
        super().check()
        assert self.other.subscription()["status"] == "active"
        assert [len(viewer.invoices()) for viewer in (self.viewer, self.other)] == [2, 2]

    def task(self):
        return self.now() | {"do": "due"}

    def retry(self):
        self.world.go_to(self.world.clock.at + timedelta(hours=1))


def recover(scene):
    """A minute passes: the dead process's leases expire, and the worker resolves unknown outcomes."""
    with scene.world.app.app_context():
        long_ago = scene.world.clock.at - timedelta(days=3650)
        for table in (IdempotencyKey, Job):
            leased = sa.update(table).where(table.leased_until.is_not(None))
            db.session.execute(leased.values(leased_until=long_ago))
        db.session.commit()
    scene.world.go_to(scene.world.clock.at + timedelta(seconds=60))
    with scene.world.app.app_context():
        for table in (Payment, Refund):
            unresolved = sa.select(sa.func.count()).where(table.status.in_(("pending", "unknown")))
            assert db.session.scalar(unresolved) == 0


def assert_consistent(scene):
    """After recovery and a retry, the money has moved once and the books reconcile."""
    recover(scene)
    scene.retry()
    scene.world.go_to(scene.world.clock.at + timedelta(hours=2))
    scene.paid = list(scene.paid)
    scene.check()
    assert scene.world.differences() == []


KINDS = [Subscribing, Renewing, Changing, Refunding, PayingOut, BuyingAGift]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_crash_at_any_point_neither_loses_nor_doubles_money(app, crash_runner, kind):
    crash_runner.run_to_end(**kind.begin(app).task())
    for n in range(1, MAX_CRASH_POINTS):
        scene = kind.begin(app)
        died = crash_runner.crashes(**scene.task(), unit=UNIT, n=n)
        try:
            assert_consistent(scene)
        except AssertionError as error:
            raise AssertionError(f"after a crash at {UNIT} {n}") from error
        if not died:
            break
    assert n > 4, "there were no crash points"


def test_the_check_detects_a_charge_sent_with_another_key(app, crash_runner, monkeypatch):
    """Only the idempotency key makes a crash harmless: without it the same check fails."""
    scene = Subscribing.begin(app)
    assert crash_runner.crashes(**scene.task(), unit="commit", n=5)
    charge = SandboxProvider.charge
    monkeypatch.setattr(
        SandboxProvider, "find_outcome", lambda self, key: None if "again" not in key else find_payment(self, key)
    )
    monkeypatch.setattr(SandboxProvider, "charge", lambda self, key, *rest: charge(self, f"again {key}", *rest))
    with pytest.raises(AssertionError):
        assert_consistent(scene)


find_payment = SandboxProvider.find_outcome
