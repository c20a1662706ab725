"""Power fails at every commit of subscribe, renew, change and refund; then life goes on, and nothing is amiss.

A real process is killed with SIGKILL at each point in turn. After that time passes, the worker takes up what was left,
and the client sends the same request again.
"""

import os
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import IdempotencyKey, Job
from streamsvc.models.subscriptions import Payment, Refund
from streamsvc.storage.database import db
from tests.conftest import delete_all_rows
from tests.faults.nursery import CrashRunner
from tests.worlds.billing_world import World

UNIT = os.environ.get("STREAMSVC_TEST_CRASHES", "commit")
MOST_POINTS = 2_000
KEY = "the one key"


@pytest.fixture(scope="module")
def nursery(shared_app):
    running = CrashRunner(shared_app.extensions["settings"].database_url)
    yield running
    running.close()


class Scene:
    """One viewer about to do one thing, in an empty world."""

    def __init__(self, app):
        with app.app_context():
            delete_all_rows(db.engine)
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

    def again(self):
        """The client never heard an answer: it asks again, under the same key."""
        answer = self.caller().post(self.path(), self.body(), key=KEY)
        assert answer.status_code in (200, 201), answer.json

    def check(self):
        """Once, and only once."""
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
        assert [one["amount_minor"] for one in journal if one["kind"] == "refund"] == [300]
        assert self.viewer.invoices()[0]["payments"][0]["refunded_minor"] == 300


class Renewing(Scene):
    """Two whose renewals are booked, sent and settled as one set."""

    paid = (1000, 1000, 1000, 1000)

    def prepare(self):
        self.other = self.world.person()
        assert self.other.subscribe(self.cheap).status_code == 201
        super().prepare()
        self.world.clock.advance(days=31)

    def check(self):
        super().check()
        assert self.other.subscription()["status"] == "active"
        assert [len(one.invoices()) for one in (self.viewer, self.other)] == [2, 2]

    def task(self):
        return self.now() | {"do": "due"}

    def again(self):
        self.world.go_to(self.world.clock.at + timedelta(hours=1))


def recover(scene):
    """A minute passes: leases of the dead run out, and the worker settles what is unknown."""
    with scene.world.app.app_context():
        long_ago = scene.world.clock.at - timedelta(days=3650)
        for table in (IdempotencyKey, Job):
            leased = sa.update(table).where(table.leased_until.is_not(None))
            db.session.execute(leased.values(leased_until=long_ago))
        db.session.commit()
    scene.world.go_to(scene.world.clock.at + timedelta(seconds=60))
    with scene.world.app.app_context():
        for table in (Payment, Refund):
            waiting = sa.select(sa.func.count()).where(table.status.in_(("pending", "unknown")))
            assert db.session.scalar(waiting) == 0


def stands(scene):
    recover(scene)
    scene.again()
    scene.world.go_to(scene.world.clock.at + timedelta(hours=2))
    scene.paid = list(scene.paid)
    scene.check()
    assert scene.world.differences() == []


@pytest.mark.parametrize("kind", [Subscribing, Renewing, Changing, Refunding], ids=lambda kind: kind.__name__)
def test_a_crash_at_any_point_neither_loses_nor_doubles_money(app, nursery, kind):
    nursery.run_to_end(**kind(app).task())
    for n in range(1, MOST_POINTS):
        scene = kind(app)
        died = nursery.crashes(**scene.task(), unit=UNIT, n=n)
        try:
            stands(scene)
        except AssertionError as amiss:
            raise AssertionError(f"after a crash at {UNIT} {n}") from amiss
        if not died:
            break
    assert n > 4, "there was nothing to crash"


def test_the_check_sees_a_charge_that_is_sent_under_another_key(app, nursery, monkeypatch):
    """What keeps a crash harmless is the key: without it the same check fails."""
    scene = Subscribing(app)
    assert nursery.crashes(**scene.task(), unit="commit", n=5)
    charge = SandboxProvider.charge
    monkeypatch.setattr(SandboxProvider, "find", lambda self, key: None if "again" not in key else find(self, key))
    monkeypatch.setattr(SandboxProvider, "charge", lambda self, key, *rest: charge(self, f"again {key}", *rest))
    with pytest.raises(AssertionError):
        stands(scene)


find = SandboxProvider.find
