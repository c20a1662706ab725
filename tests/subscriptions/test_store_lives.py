"""Random lives in both stores, with notifications lost, doubled, late and out of order.

After reconciliation the service has the store's state to the second, and every payment and refund. A purchase after the
end of a subscription, or in place of it, and a refund that is taken back, are reported by the app at its next start, if
no notification came: what has ended is not asked for again. In between, access is never shorter than the store grants,
and never longer than the policy says: by an hour after a period that renews, and by a day after a change of which
nobody was notified.

A life is the same whenever it is lived: its number is the seed, and it begins with an empty database, on some day of
four years.
"""

import os
import random
import time
from datetime import timedelta

import pytest

from streamsvc.models.subscriptions import StoreTransaction
from streamsvc.operations.billing.stores import refreshing
from streamsvc.storage.database import db
from tests.conftest import delete_all_rows
from tests.subscriptions.test_app_store import AppStoreLife
from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds import app_store
from tests.worlds.app_store import AppStore, app_store_server, use_app_store
from tests.worlds.play_store import PlayStore, play_store_server, use_play_store
from tests.worlds.scenes import set_scene
from tests.worlds.store_lives import DAY, HOUR, iso

pytestmark = pytest.mark.every_database

LIVES = int(os.environ.get("STREAMSVC_TEST_STORE_LIVES", "4"))
"""On each database, half of them in each store."""
FIRST_LIFE = int(os.environ.get("STREAMSVC_TEST_STORE_FIRST_LIFE", "0"))
REPORT_EVERY = 100
STEPS = 6
MINUTE = timedelta(minutes=1)
WAITS = (MINUTE, 20 * MINUTE, 5 * HOUR, DAY, 6 * DAY, 12 * DAY)
GRACES = (3 * DAY, 6 * DAY, 16 * DAY)
WEB_PLAN = "web"


class RandomLife:
    """One viewer of one store. `is_unnotified`: whether the service may not know of a change yet.

    `is_former_unnotified`: the same of an earlier purchase, which has ended. `is_unreported`: whether the latest
    purchase was made without the app, which reports it at its next start.
    """

    def __init__(self, life, rng):
        self.life, self.rng, self.store = life, rng, life.store
        life.clock.advance(days=rng.randrange(4 * 365 + 1), seconds=rng.randrange(24 * 3600))
        self.who, self.late, self.is_unnotified, self.log = life.world.person(card=None), [], False, []
        self.is_unreported = self.is_former_unnotified = False
        life.ann, self.who.stays_signed_in = self.who, 50 * DAY
        if rng.random() < 0.3:
            self.who.add_card()
            assert self.who.subscribe(life.web_price).status_code == 201

    def act(self, name, *arguments):
        """Let something happen at the store; its notification is lost, late, or delivered, once or twice."""
        self.log.append((self.life.clock.at, name, *arguments))
        before = len(self.store.notifications)
        getattr(self.bought, name)(*arguments)
        for notification in self.store.notifications[before:]:
            fate = self.rng.random()
            if fate < 0.5:
                self.life.deliver(notification, *([notification] if self.rng.random() < 0.3 else []))
            else:
                self.is_unnotified = True
                self.is_unreported |= name in ("resubscribe", "reverse_refund")
                self.late += [notification] if fate < 0.75 else []
        if len(self.store.notifications) == before:
            self.is_unnotified = True

    def deliver_late(self):
        self.rng.shuffle(self.late)
        self.life.deliver(*self.late)
        self.late = []

    def wait(self, duration):
        """Let time pass, and look at the access now and then."""
        for _ in range(2):
            self.life.wait(seconds=duration.total_seconds() / 2)
            self.check_access()

    def start_app(self):
        if self.is_unreported:
            assert self.life.claim(self.bought).status_code == 201, self.log
            self.is_unreported = False

    def reconcile(self):
        """Deliver what is late, start the app, and reconcile: everything must be as the store says."""
        self.deliver_late()
        self.start_app()
        self.life.wait(hours=25)
        with self.life.world.app.app_context():
            refreshing.enqueue_stale({}, self.life.clock.at)  # the job would run every hour from then on
            db.session.commit()
        self.life.tick()
        self.is_unnotified = self.is_former_unnotified = False
        status, product, until = self.expected()
        now, session = self.life.clock.at, self.session()
        sources = [each for each in session["sources"] if each["plan"] != WEB_PLAN]
        has_access = until is not None and now < until
        if status is None or (status in ("active", "trialing") and not has_access and not self.renews()):
            assert sources == [], self.log
        else:
            [source] = sources
            shown = (source["status"], source["plan"], source["until"])
            assert shown == (status, product, until and iso(until)), self.log
        assert (product in session["entitlements"]["plans"]) == has_access, self.log
        assert self.recorded_payments() == self.paid(), self.log

    def check_access(self):
        """Compare the access with what the store grants, unless the service may not know of a change."""
        if self.is_unnotified:
            return
        granted = self.grants()
        given = bool(set(self.session()["entitlements"]["plans"]) - {WEB_PLAN})
        if granted:
            assert given, self.log
        elif given and not self.is_former_unnotified:
            assert self.renews() and self.life.clock.at < self.paid_until() + HOUR, self.log

    def session(self):
        return self.who.get("/v1/sessions/current").json

    def recorded_payments(self):
        with self.life.world.app.app_context():
            columns = (StoreTransaction.id, StoreTransaction.amount_minor, StoreTransaction.refunded_minor)
            rows = db.session.execute(db.select(*columns).where(StoreTransaction.account_id == self.who.id))
            return {row.id: (row.amount_minor, row.refunded_minor) for row in rows}

    def live(self):
        self.buy()
        for _ in range(STEPS):
            self.step()
            if self.late and self.rng.random() < 0.3:
                self.deliver_late()
            if self.rng.random() < 0.3:
                self.reconcile()
        self.reconcile()
        self.end()


class RandomAppStoreLife(RandomLife):
    def buy(self):
        options = self.rng.choice(({}, {"trial": 7 * DAY}, {"offer": "CODE"}, {"period": 90 * DAY}))
        self.bought = self.store.buy(
            self.rng.choice(("basic.monthly", "premium.monthly")), self.life.account(), **options
        )
        if self.rng.random() < 0.7:
            assert self.life.claim(self.bought).status_code == 201
        else:
            self.life.deliver(self.store.notifications[-1])

    def step(self):
        bought, rng, now = self.bought, self.rng, self.life.clock.at
        if bought.status == app_store.ACTIVE:
            if now + 12 * DAY >= bought.expires or rng.random() < 0.4:
                return self.end_period()
            choices = ["cancel" if bought.renews else "uncancel", "upgrade", "downgrade", "refund", "extend"]
            choice = rng.choice([*choices, "raise_price", "decline_refund", "old refund"])
            products = ("basic.monthly", "standard.monthly", "premium.monthly")
            if choice in ("upgrade", "downgrade"):
                self.act(choice, rng.choice(products))
            elif choice == "old refund":
                self.act("refund", rng.randrange(len(bought.transactions)))
            else:
                self.act(choice, *([rng.randint(1, 9)] if choice == "extend" else []))
        elif bought.status in (app_store.GRACE, app_store.BILLING_RETRY):
            self.wait(rng.choice(WAITS))
            self.act(rng.choice(("renew", "renew", "give_up")))
        elif bought.status == app_store.REVOKED and rng.random() < 0.3:
            self.act("reverse_refund")
            bought.renews = now < bought.expires
            self.is_unnotified = True
        else:
            self.wait(rng.choice(WAITS))
            self.act("resubscribe", rng.choice(("basic.monthly", "premium.monthly")))
        self.wait(rng.choice(WAITS[:4]))
        return None

    def end_period(self):
        """The period ends: it is renewed shortly before or after, it fails, or it expires."""
        bought, rng = self.bought, self.rng
        offset = rng.choice((-HOUR, -MINUTE, timedelta(), 20 * MINUTE))
        while self.life.clock.at < bought.expires + offset:
            self.wait(min(bought.expires + offset - self.life.clock.at, 6 * DAY))
        if not bought.renews:
            if self.life.clock.at >= bought.expires:
                self.act("expire")
        elif rng.random() < 0.7:
            self.act("renew")
        elif self.life.clock.at >= bought.expires:
            self.act("fail_to_renew", rng.choice((None, *GRACES)))
        self.wait(rng.choice(WAITS[:4]))

    def end(self):
        if self.bought.status != app_store.EXPIRED:
            self.bought.expire()
        self.reconcile()

    def grants(self):
        now, bought = self.life.clock.at, self.bought
        return bought.status == app_store.GRACE or (bought.status == app_store.ACTIVE and now < bought.expires)

    def renews(self):
        return self.bought.renews

    def paid_until(self):
        return self.bought.expires

    def expected(self):
        bought, product = self.bought, self.bought.product.partition(".")[0]
        if bought.status == app_store.ACTIVE:
            status = "trialing" if bought.last["is_trial"] else "active"
            return status, product, bought.expires + (HOUR if bought.renews else timedelta())
        if bought.status == app_store.GRACE:
            return "past_due", product, max(bought.expires, bought.grace_until)
        return ("past_due" if bought.status == app_store.BILLING_RETRY else None), product, None

    def paid(self):
        amounts = {}
        for each in self.bought.transactions:
            amount = round(each["price"] / 10)
            amounts[each["transactionId"]] = (amount, amount if each.get("revoked_at") else 0)
        return amounts


class RandomPlayStoreLife(RandomLife):
    def buy(self):
        options = self.rng.choice(({}, {"trial": 7 * DAY}, {"offer": "winback"}, {"period": 90 * DAY}))
        self.voided, self.former = set(), []
        self.bought = self.store.buy(self.rng.choice(("basic", "premium")), self.life.account(), **options)
        if self.rng.random() < 0.7:
            assert self.life.claim(self.bought).status_code == 201
        else:
            self.life.deliver(self.store.notifications[-1])
        self.life.tick()

    def step(self):
        bought, rng, now = self.bought, self.rng, self.life.clock.at
        bought.document()
        if bought.state in ("ACTIVE", "CANCELED") and bought.latest_order not in self.voided:
            if now + 12 * DAY >= bought.expiry or rng.random() < 0.4:
                return self.end_period()
            choices = ["cancel" if bought.state == "ACTIVE" else "restart", "replace", "defer", "void"]
            choice = rng.choice([*choices, "revoke", "defer_replacement"])
            if choice == "replace":
                self.upgrade(rng.choice(("basic", "standard", "premium")))
            elif choice == "void":
                self.voided.add(bought.latest_order)
                self.act("void")
            else:
                arguments = {"defer": [rng.randint(1, 9)], "defer_replacement": ["standard"]}
                self.act(choice, *arguments.get(choice, []))
        elif bought.state in ("IN_GRACE_PERIOD", "ON_HOLD", "PAUSED"):
            self.wait(rng.choice(WAITS[:5]))
            is_over = bought.state == "IN_GRACE_PERIOD" and self.life.clock.at >= bought.expiry
            self.act("hold" if is_over else rng.choice(("renew", "renew", "expire")))
        else:
            self.wait(rng.choice(WAITS))
            self.come_back()
        self.wait(rng.choice(WAITS[:4]))
        return None

    def upgrade(self, product):
        self.former.append(self.bought)
        self.log.append((self.life.clock.at, "replace", product))
        self.bought, self.is_unnotified = self.bought.replace(product), True
        if self.rng.random() < 0.5:
            self.life.deliver(self.store.notifications[-1])
            self.is_unnotified = False
        else:
            self.is_unreported = True

    def come_back(self):
        if self.bought.state == "ACTIVE":
            self.bought.expire()
            self.reconcile()
        self.start_app()
        self.former.append(self.bought)
        self.log.append((self.life.clock.at, "buy again"))
        self.bought = self.store.buy(self.rng.choice(("basic", "premium")), self.life.account())
        assert self.life.claim(self.bought).status_code == 201
        self.life.tick()
        self.is_former_unnotified |= self.is_unnotified
        self.is_unnotified = False

    def end_period(self):
        bought, rng = self.bought, self.rng
        offset = rng.choice((-HOUR, -MINUTE, timedelta(), 20 * MINUTE))
        while self.life.clock.at < bought.expiry + offset:
            self.wait(min(bought.expiry + offset - self.life.clock.at, 6 * DAY))
        if bought.state == "CANCELED" or not bought.renews:
            if self.life.clock.at >= bought.expiry:
                self.act("expire")
        elif rng.random() < 0.6:
            self.act("renew")
        elif self.life.clock.at >= bought.expiry:
            name = rng.choice(("fail_to_renew", "hold", "pause"))
            arguments = {"fail_to_renew": [7 * DAY], "pause": [30]}
            self.act(name, *arguments.get(name, []))
        self.wait(rng.choice(WAITS[:4]))

    def end(self):
        if self.bought.state != "EXPIRED":
            self.bought.expire()
        self.reconcile()

    def grants(self):
        bought, now = self.bought, self.life.clock.at
        is_open = bought.state in ("ACTIVE", "CANCELED", "IN_GRACE_PERIOD") and bought.latest_order not in self.voided
        return is_open and now < bought.expiry

    def renews(self):
        return self.bought.renews and self.bought.latest_order not in self.voided

    def paid_until(self):
        return self.bought.expiry

    def expected(self):
        bought = self.bought
        bought.document()
        if bought.latest_order in self.voided or bought.state == "EXPIRED":
            return None, bought.product, None
        if bought.state == "ACTIVE":
            status = "trialing" if bought.trial else "active"
            return status, bought.product, bought.expiry + (HOUR if bought.renews else timedelta())
        if bought.state == "CANCELED":
            return ("trialing" if bought.trial else "active"), bought.product, bought.expiry
        if bought.state == "IN_GRACE_PERIOD":
            return "past_due", bought.product, bought.expiry
        return {"ON_HOLD": "past_due", "PAUSED": "paused"}[bought.state], bought.product, None

    def paid(self):
        tokens = {each.token for each in (self.bought, *self.former)}
        amounts = {}
        for order_id, order in self.store.orders.items():
            if order["purchaseToken"] in tokens:
                total = order["total"]
                amount = int(total["units"]) * 100 + total["nanos"] // 10_000_000
                amounts[order_id] = (amount, amount if order["state"] == "REFUNDED" else 0)
        return amounts


KINDS = {
    "app_store": (AppStoreLife, AppStore, app_store_server, RandomAppStoreLife),
    "play_store": (PlayStoreLife, PlayStore, play_store_server, RandomPlayStoreLife),
}


def sell_on_the_web_too(app, life_class):
    life = life_class(app)
    life.web_price = life.world.plan(WEB_PLAN, 700)
    return life


def begin_life(app, life_class, store):
    """A life in an empty database and an empty store."""
    store.clear()
    with app.app_context():
        delete_all_rows(db.engine)
    life = set_scene(app, sell_on_the_web_too, life_class)
    life.store = store
    return life


def live(number, random_class, life):
    random_life = random_class(life, random.Random(number))
    try:
        random_life.live()
        assert life.world.differences() == []
    except BaseException:
        print(f"life {number}", *random_life.log, sep="\n")
        raise


@pytest.mark.parametrize("kind", KINDS)
def test_random_lives_end_as_the_store_says(app, database, monkeypatch, tmp_path, capsys, kind):
    life_class, store_class, server, random_class = KINDS[kind]
    set_scene(app, sell_on_the_web_too, life_class)  # for the first time, with the app's usual settings
    store, numbers = store_class(app.extensions["clock"]), range(FIRST_LIFE, FIRST_LIFE + (LIVES + 1) // 2)
    began_s, used_s = time.monotonic(), time.process_time()
    with server(store) as address:
        if kind == "app_store":
            use_app_store(app, monkeypatch, address, tmp_path)
        else:
            use_play_store(app, monkeypatch, address)
        for count, number in enumerate(numbers, 1):
            live(number, random_class, begin_life(app, life_class, store))
            if len(numbers) >= REPORT_EVERY and (count % REPORT_EVERY == 0 or count == len(numbers)):
                took = f"{time.monotonic() - began_s:.0f} s, {time.process_time() - used_s:.0f} s of processor time"
                with capsys.disabled():
                    print(f"\n{kind} on {database}: lives {numbers[0]} to {number} in {took}", end="", flush=True)
