"""Google Play, against a local server with its API, its tokens and the pushes of Pub/Sub."""

import base64
import json
import time
from datetime import timedelta

import pytest

from streamsvc.gateways import oidc
from streamsvc.gateways.peers import close_circuits
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.play_store import PlayStore, play_store_server, push, use_play_store
from tests.worlds.scenes import set_scene
from tests.worlds.store_lives import DAY, HOUR, PRODUCTS, StoreLife, iso


class PlayStoreLife(StoreLife):
    def claim(self, purchase, who=None):
        body = {"source": "play_store", "purchase_token": purchase.token}
        return (who or self.ann).post("/v1/store-purchases", body)

    def subscribe(self, product="basic", **more):
        """Buy, and claim what was bought."""
        purchase = self.store.buy(product, self.account(), **more)
        response = self.claim(purchase)
        assert response.status_code == 201, response.json
        self.tick()
        return purchase

    def deliver(self, *notifications):
        """Push notifications, and let the worker ask the store."""
        for notification in notifications:
            response = push(self.world, notification, self.store.push_token())
            assert response.status_code == 204, response.json
        self.tick()


@pytest.fixture
def life(app, monkeypatch):
    life = set_scene(app, PlayStoreLife)
    life.store = PlayStore(life.clock)
    with play_store_server(life.store) as address:
        use_play_store(app, monkeypatch, address)
        life.use = lambda **settings: use_play_store(app, monkeypatch, address, **settings)
        yield life
    assert life.world.differences() == []


def renewing(purchase):
    """Until when a subscription that renews gives access: an hour longer than it is paid for."""
    return iso(purchase.expiry + HOUR)


def test_a_purchase_is_claimed_and_grants_its_plan(life):
    purchase = life.store.buy("premium", life.account())
    body = life.claim(purchase).json
    assert (body["source"], body["status"], body["plan"]["code"], body["price"]) == (
        "play_store",
        "active",
        "premium",
        None,
    )
    assert body["store"]["management_url"] == "https://play.google.com/store/account/subscriptions"
    assert life.read_access() == ("active", "premium", renewing(purchase))


def test_a_purchase_is_acknowledged_at_once(life):
    purchase = life.subscribe()
    assert purchase.acknowledged
    life.wait(days=4)
    purchase.forget_unless_acknowledged()
    assert life.read_access()[1] == "basic"


def test_purchases_of_the_same_moment_are_each_acknowledged(life):
    bob = life.world.person(card=None)
    purchases = [life.store.buy("basic", life.account(person)) for person in (life.ann, bob)]
    for person, purchase in zip((life.ann, bob), purchases, strict=True):
        assert life.claim(purchase, person).status_code == 201
    life.wait(minutes=1)
    assert [purchase.acknowledged for purchase in purchases] == [True, True]


def test_an_acknowledgement_that_fails_is_repeated_for_as_long_as_it_takes(life):
    purchase = life.store.buy("basic", life.account())
    life.claim(purchase)
    life.store.failure = (503, {})
    life.wait(minutes=30)
    assert not purchase.acknowledged
    life.store.failure = None
    close_circuits()
    life.wait(minutes=2)
    assert purchase.acknowledged


def test_a_purchase_that_is_refused_is_never_acknowledged(life):
    life.put_plan("premium", [])
    purchase = life.store.buy("premium", life.account())
    assert life.claim(purchase).json["reason"] == "unknown_product"
    life.wait(days=3)
    purchase.forget_unless_acknowledged()
    assert purchase.state == "EXPIRED"


def test_a_pending_purchase_grants_nothing_until_it_is_paid(life):
    purchase = life.store.buy("basic", life.account(), pending=True)
    assert life.claim(purchase).json["status"] == "incomplete"
    assert life.read_access()[1] is None
    life.wait(hours=5)
    life.deliver(purchase.complete())
    assert life.read_access() == ("active", "basic", renewing(purchase))
    assert purchase.acknowledged


def test_a_pending_purchase_that_is_canceled_ends(life):
    purchase = life.store.buy("basic", life.account(), pending=True)
    life.claim(purchase)
    life.deliver(purchase.decline())
    assert life.read_access() == (None, None, None)


def test_a_renewal_moves_the_end(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry - HOUR)
    life.deliver(purchase.renew())
    life.wait(hours=3)
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_purchase_that_google_has_forgotten_has_ended(life):
    purchase = life.store.buy("basic", life.account(), period=timedelta(days=90))
    life.claim(purchase)
    purchase.revoke()
    life.clock.advance(days=61)  # without a worker
    assert life.read_access()[1] == "basic", "paid for, as far as anybody here knows"
    with life.world.app.app_context():
        jobs.enqueue_job("store.reconcile", {}, life.clock.at)
        db.session.commit()
    life.tick()
    assert life.read_access() == (None, None, None)
    assert read_refunds(life) == {purchase.latest_order: 499}


def test_a_renewal_that_was_not_notified_is_found_when_the_period_ends(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry - HOUR)
    purchase.renew()
    life.wait(hours=1)
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_canceled_subscription_lasts_to_the_end_of_its_period(life):
    purchase = life.subscribe()
    life.deliver(purchase.cancel())
    assert life.read_access() == ("active", "basic", iso(purchase.expiry))
    assert life.subscription()["cancel_reason"] == "customer_canceled"
    life.go_to(purchase.expiry)
    life.deliver(purchase.expire())
    assert life.read_access() == (None, None, None)


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("systemInitiatedCancellation", "billing_error"),
        ("developerInitiatedCancellation", "developer_canceled"),
    ],
)
def test_a_cancellation_has_its_reason(life, by, reason):
    purchase = life.subscribe()
    life.deliver(purchase.cancel(by))
    assert life.subscription()["cancel_reason"] == reason


def test_a_canceled_subscription_is_restarted(life):
    purchase = life.subscribe()
    life.deliver(purchase.cancel(), purchase.restart())
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_trial_is_trialing_and_becomes_active(life):
    purchase = life.subscribe(trial=7 * DAY)
    assert life.read_access()[0] == "trialing"
    life.go_to(purchase.expiry)
    life.deliver(purchase.renew())
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_grace_period_gives_access_to_its_end(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry)
    life.deliver(purchase.fail_to_renew(7 * DAY))
    assert life.read_access() == ("past_due", "basic", iso(purchase.expiry))
    life.go_to(purchase.expiry)
    assert life.read_access() == ("past_due", None, None)


def test_a_renewal_in_the_grace_period_leaves_no_gap(life):
    purchase = life.subscribe()
    end = purchase.expiry
    life.go_to(end)
    life.deliver(purchase.fail_to_renew(7 * DAY))
    life.wait(days=3)
    life.deliver(purchase.renew())
    assert purchase.expiry == end + purchase.period
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_hold_gives_no_access(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry)
    life.deliver(purchase.hold())
    assert life.read_access() == ("past_due", None, None)


def test_a_recovery_from_a_hold_gives_access_again(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry)
    life.deliver(purchase.hold())
    life.wait(hours=9)
    life.deliver(purchase.renew())
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_hold_that_ends_without_payment_ends_the_subscription(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry)
    life.deliver(purchase.hold())
    life.wait(hours=9)
    life.deliver(purchase.expire())
    assert life.read_access()[0] is None


def test_a_pause_takes_effect_at_the_end_of_the_period(life):
    purchase = life.subscribe()
    life.deliver(purchase.schedule_pause())
    assert life.read_access()[1] == "basic"
    life.go_to(purchase.expiry)
    life.deliver(purchase.pause(days=30))
    assert life.read_access() == ("paused", None, None)
    assert life.subscription()["resumes_at"] == iso(purchase.resumes)


def test_a_pause_that_ends_renews_the_subscription(life):
    purchase = life.subscribe()
    life.go_to(purchase.expiry)
    life.deliver(purchase.pause(days=1))
    life.wait(days=1)
    life.deliver(purchase.renew())
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_revoked_subscription_ends_at_once(life):
    purchase = life.subscribe()
    life.wait(days=2)
    life.deliver(purchase.revoke())
    assert life.read_access() == (None, None, None)


def test_a_voided_purchase_ends_access_although_google_says_active(life):
    purchase = life.subscribe()
    life.wait(days=2)
    life.deliver(purchase.void())
    assert (life.read_access()[1], life.subscription()["cancel_reason"]) == (None, "refunded")


def test_a_voided_trial_ends_access(life):
    purchase = life.subscribe(trial=7 * DAY)
    life.deliver(purchase.void())
    assert (life.read_access()[1], life.subscription()["cancel_reason"]) == (None, "refunded")


def test_a_partial_refund_takes_no_access_away(life):
    purchase = life.subscribe()
    life.deliver(purchase.refund_partly((1, 500_000_000)))
    assert life.read_access() == ("active", "basic", renewing(purchase))
    with life.world.app.app_context():
        assert db.session.execute(db.text("SELECT refunded_minor FROM store_transactions")).scalar() == 150


def test_a_voided_purchase_bridges_no_day_to_a_web_subscription_once_it_has_expired(life):
    purchase, price_id = life.subscribe(), life.put_plan("basic", PRODUCTS["basic"])
    life.ann.add_card()
    life.deliver(purchase.cancel())
    assert life.ann.subscribe(price_id).json["started_on"] == "2026-02-15"
    life.go_to(purchase.expiry - HOUR)
    life.deliver(purchase.void())
    assert life.read_access()[1] is None
    life.go_to(purchase.expiry)
    life.deliver(purchase.expire())
    assert life.subscription()["status"] == "incomplete"
    assert life.read_access()[1] is None


def test_a_voided_purchase_that_is_sent_again_before_its_notification_grants_nothing(life):
    life.use(store_restore="move")
    purchase, bea = life.subscribe(), life.world.person(card=None)
    life.wait(days=2)
    purchase.void()
    assert life.claim(purchase, bea).json["status"] == "canceled"
    assert (life.read_access(bea)[1], life.read_access()[1]) == (None, None)


def test_a_voided_order_of_an_earlier_period_takes_nothing_away(life):
    purchase = life.subscribe()
    first = purchase.latest_order
    life.go_to(purchase.expiry)
    life.deliver(purchase.renew())
    life.deliver(purchase.void(first))
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_refund_of_an_ended_purchase_is_found_in_the_list_of_voided_ones(life):
    purchase = life.subscribe()
    life.deliver(purchase.cancel())
    life.go_to(purchase.expiry)
    life.deliver(purchase.expire())
    purchase.void()
    with life.world.app.app_context():
        jobs.enqueue_job("store.voided", {}, life.clock.at)
        db.session.commit()
    life.tick()
    with life.world.app.app_context():
        assert db.session.execute(db.text("SELECT refunded_minor FROM store_transactions")).scalar() == 499


def test_all_pages_of_the_voided_purchases_are_read_and_strangers_are_not_asked_for(life):
    for _ in range(3):
        life.store.buy("basic", None).void()
    purchase = life.subscribe()
    purchase.void()
    with life.world.app.app_context():
        jobs.enqueue_job("store.voided", {}, life.clock.at)
        db.session.commit()
    before = len(life.store.requests)
    life.tick()
    assert life.read_access()[1] is None
    asked = [path.rpartition("/")[2] for _, path in life.store.requests[before:] if "/tokens/" in path]
    assert asked == [purchase.token]


def renew_three_times(life):
    """A purchase whose renewals were not notified."""
    purchase = life.subscribe()
    for _ in range(3):
        life.clock.at = purchase.expiry
        purchase.renew()
    return purchase


def read_refunds(life):
    with life.world.app.app_context():
        rows = db.session.execute(db.text("SELECT id, refunded_minor FROM store_transactions")).all()
        return {row[0]: row[1] for row in rows}


def test_all_orders_of_a_purchase_are_fetched_at_once(life):
    purchase = renew_three_times(life)
    before = len(life.store.requests)
    life.deliver(purchase.void(f"{purchase.order}..0"))
    order = purchase.order
    assert read_refunds(life) == {order: 0, f"{order}..0": 499, f"{order}..1": 0, f"{order}..2": 0}
    paths = [path.rpartition("/")[2] for _, path in life.store.requests[before:] if "/orders" in path]
    assert set(paths) == {"orders:batchGet"}


def test_an_order_that_google_does_not_know_hides_no_other(life):
    purchase = renew_three_times(life)
    del life.store.orders[f"{purchase.order}..1"]
    life.deliver(purchase.void(f"{purchase.order}..0"))
    order = purchase.order
    assert read_refunds(life) == {order: 0, f"{order}..0": 499, f"{order}..2": 0}


def test_a_voided_purchase_of_another_kind_calls_for_no_fetch(life):
    purchase = life.subscribe()
    before = len(life.store.requests)
    voided = {"purchaseToken": purchase.token, "orderId": purchase.latest_order, "productType": 2, "refundType": 1}
    life.deliver(life.store.notify(voidedPurchaseNotification=voided))
    assert len(life.store.requests) == before


def test_an_order_that_is_not_paid_yet_is_in_no_report(life):
    purchase = life.store.buy("basic", life.account())
    life.store.orders[purchase.latest_order]["state"] = "PENDING"
    assert life.claim(purchase).status_code == 201
    with life.world.app.app_context():
        assert db.session.execute(db.text("SELECT count(*) FROM store_transactions")).scalar() == 0


def test_of_several_items_the_one_that_lasts_longest_counts(life):
    purchase = life.store.buy("premium", life.account())
    earlier = {"productId": "basic", "expiryTime": iso(purchase.expiry - DAY), "autoRenewingPlan": {}}
    later = earlier | {"productId": "standard", "expiryTime": iso(purchase.expiry + DAY)}
    purchase.other_items = [earlier]
    assert life.claim(purchase).json["plan"]["code"] == "premium"
    purchase.other_items = [earlier, later]
    assert life.claim(purchase).json["plan"]["code"] == "standard"


def test_a_purchase_that_google_no_longer_knows_grants_nothing_and_stays_as_it_was(life):
    claimed, purchase = life.subscribe(), life.store.buy("basic", life.account(life.world.person(card=None)))
    for each in (claimed, purchase):
        each.cancel()
    life.go_to(claimed.expiry + 61 * DAY)
    assert life.claim(purchase).json["reason"] == "unknown_to_the_store"
    assert life.claim(claimed).json["reason"] == "unknown_to_the_store"
    assert life.subscription()["status"] == "canceled"


def test_a_purchase_that_ended_before_its_acknowledgement_is_not_acknowledged(life):
    purchase = life.store.buy("basic", life.account())
    assert life.claim(purchase).status_code == 201
    purchase.revoke()
    assert life.claim(purchase).json["status"] == "canceled"
    life.tick()
    assert not purchase.acknowledged


def test_a_deferred_billing_date_gives_the_days(life):
    purchase = life.subscribe()
    life.deliver(purchase.defer(days=10))
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_an_upgrade_is_the_same_subscription_under_another_token(life):
    purchase = life.subscribe()
    subscription_id = life.subscription()["id"]
    life.wait(days=3)
    upgrade = purchase.replace("premium")
    assert life.claim(upgrade).json["id"] == subscription_id
    assert life.read_access() == ("active", "premium", renewing(upgrade))
    life.deliver(*life.store.notifications)
    assert life.read_access() == ("active", "premium", renewing(upgrade))
    assert upgrade.acknowledged


def test_a_late_notification_of_a_replaced_purchase_that_we_missed_changes_nothing(life):
    middle = life.subscribe().replace("standard")
    latest = middle.replace("premium")
    assert life.claim(latest).status_code == 201
    life.deliver(life.store.notify(4, middle))
    assert life.read_access() == ("active", "premium", renewing(latest))


def test_a_purchase_that_another_has_replaced_grants_nothing_although_its_days_are_paid(life):
    purchase = life.subscribe()
    purchase.replace("premium")
    purchase.state, purchase.expiry = "CANCELED", life.clock.at + 20 * DAY
    life.deliver(life.store.notify(3, purchase))
    assert life.read_access()[1] is None
    assert life.subscription()["cancel_reason"] == "replaced"


def test_an_upgrade_known_only_from_a_notification(life):
    purchase = life.subscribe()
    upgrade = purchase.replace("premium")
    life.deliver(life.store.notify(4, upgrade))
    assert life.read_access() == ("active", "premium", renewing(upgrade))
    assert len(life.ann.get("/v1/subscriptions").json["items"]) == 1


def test_a_renewal_that_was_not_notified_before_an_upgrade_is_in_the_report(life):
    purchase = life.subscribe()
    life.clock.at = purchase.expiry
    purchase.renew()
    upgrade = purchase.replace("premium")
    assert life.claim(upgrade).status_code == 201
    with life.world.app.app_context():
        rows = db.session.execute(db.text("SELECT id, amount_minor FROM store_transactions ORDER BY amount_minor, id"))
        assert [tuple(row) for row in rows] == [
            (purchase.order, 499),
            (purchase.latest_order, 499),
            (upgrade.latest_order, 999),
        ]


def test_an_upgrade_is_recognized_across_one_that_we_missed(life):
    purchase = life.subscribe()
    latest = purchase.replace("standard").replace("premium")
    life.deliver(life.store.notify(4, latest))
    assert life.read_access()[1] == "premium"
    assert len(life.ann.get("/v1/subscriptions").json["items"]) == 1


def test_the_token_that_was_replaced_revives_nothing(life):
    purchase = life.subscribe("premium")
    life.claim(purchase.replace("basic"))
    life.deliver(life.store.notify(2, purchase))
    assert life.claim(purchase).json["plan"]["code"] == "basic"
    assert life.read_access()[1] == "basic"


def test_a_downgrade_applies_with_the_next_period(life):
    purchase = life.subscribe("premium")
    life.deliver(purchase.defer_replacement("basic"))
    assert life.read_access()[1] == "premium"
    assert life.subscription()["store"]["renewal_product_id"] == "basic"
    life.go_to(purchase.expiry)
    life.deliver(purchase.renew())
    assert life.read_access()[1] == "basic"


def test_a_price_change_waits_for_consent(life):
    purchase = life.subscribe()
    life.deliver(purchase.change_price("OUTSTANDING"))
    assert life.subscription()["store"]["price_consent"] == "pending"
    life.deliver(purchase.change_price("CONFIRMED"))
    assert life.subscription()["store"]["price_consent"] == "given"


def test_an_offer_is_shown(life):
    life.subscribe(offer="winback")
    assert life.subscription()["store"]["offer"] == "winback"


def test_a_lapsed_subscriber_comes_back_with_a_new_purchase(life):
    purchase = life.subscribe()
    life.deliver(purchase.cancel())
    life.go_to(purchase.expiry)
    life.deliver(purchase.expire())
    life.wait(hours=5)
    again = life.subscribe("premium")
    assert life.read_access() == ("active", "premium", renewing(again))


def test_a_purchase_that_the_app_never_reported_is_found_and_acknowledged(life):
    purchase = life.store.buy("basic", life.account())
    life.deliver(life.store.notifications[-1])
    life.tick()
    assert life.read_access()[1] == "basic"
    assert purchase.acknowledged


def test_a_test_purchase_never_entitles(life):
    purchase = life.store.buy("basic", life.account(), test=True)
    assert life.claim(purchase).json["reason"] == "test_purchase"
    life.deliver(life.store.notifications[-1])
    assert (life.read_access()[1], purchase.acknowledged) == (None, False)


def test_a_test_purchase_entitles_a_test_account(life):
    life.use(store_test_accounts=(life.ann.id,))
    assert life.claim(life.store.buy("basic", life.account(), test=True)).json["store"]["environment"] == "sandbox"
    assert not [path for _, path in life.store.requests if "/orders" in path]


def test_a_base_plan_of_its_own_buys_another_plan(life):
    life.put_plan("basic", [])
    life.put_plan("premium", [("play_store", "basic", "monthly")])
    life.put_plan("standard", [("play_store", "basic", None)])
    life.subscribe()
    assert life.read_access()[1] == "premium"


def test_a_product_cannot_buy_two_plans(life):
    plan = {"name": "P", "prices": [], "store_products": [{"source": "play_store", "product_id": "premium"}]}
    response = life.world.operator.put("/v1/admin/plans/other", plan)
    assert (response.status_code, list(response.json["errors"])) == (422, ["store_products.0"])
    plans = life.ann.get("/v1/plans").json["items"]
    assert [each["product_id"] for each in plans[0]["store_products"]] == ["basic.monthly", "basic"]


def test_notifications_in_any_order_twice_and_late_lead_to_the_stores_state(life):
    purchase = life.subscribe()
    notifications = []
    for _ in range(3):
        life.go_to(purchase.expiry - HOUR)
        notifications.append(purchase.renew())
    notifications += [purchase.cancel(), purchase.restart(), purchase.defer(days=2)]
    life.wait(days=1)
    life.deliver(*reversed(notifications), *notifications)
    assert life.read_access() == ("active", "basic", renewing(purchase))


def test_a_replayed_notification_costs_the_store_no_request(life):
    purchase = life.subscribe()
    cancellation = purchase.cancel()
    life.deliver(cancellation)
    count = len(life.store.requests)
    life.deliver(cancellation, cancellation)
    assert len(life.store.requests) == count


@pytest.mark.parametrize(
    "claims",
    [
        {"key": "a stranger"},
        {"aud": "https://other.example/push"},
        {"email": "stranger@example.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"iss": "https://stranger.example"},
        {"exp": int(time.time()) - 1},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200},
        {"alg": "none"},
    ],
)
def test_a_push_with_a_forged_token_is_refused(life, claims):
    purchase = life.subscribe()
    response = push(life.world, purchase.cancel(), life.store.push_token(**claims))
    assert (response.status_code, response.json["code"]) == (400, "signature_invalid")
    life.tick()
    assert life.read_access() == ("active", "basic", renewing(purchase))


@pytest.mark.parametrize("token", [None, "", "a.b.c", "nonsense"])
def test_a_push_without_a_token_is_refused(life, token):
    assert push(life.world, life.store.notify(testNotification={"version": "1.0"}), token).status_code == 400


def test_tokens_of_strangers_have_googles_keys_fetched_once_a_minute(life, monkeypatch):
    purchase, keys, fetched = life.subscribe(), life.store.keys, []
    monkeypatch.setattr(life.store, "keys", lambda: fetched.append(1) or keys())
    oidc._document_cache.clear()
    for number in range(5):
        token = life.store.push_token(key="a stranger", kid=f"g{number}")
        assert push(life.world, purchase.cancel(), token).status_code == 400
    assert len(fetched) == 1
    life.deliver(purchase.cancel())
    assert life.read_access()[2] == iso(purchase.expiry)

    def let_time_pass(duration):
        [(url, (fetched_at, document))] = oidc._document_cache.items()
        oidc._document_cache[url] = (fetched_at - duration, document)

    renamed = life.store.push_token(kid="g2")  # Google's new key, which it has published since
    monkeypatch.setattr(
        life.store, "keys", lambda: fetched.append(1) or {"keys": [each | {"kid": "g2"} for each in keys()["keys"]]}
    )
    assert push(life.world, purchase.restart(), renamed).status_code == 400
    let_time_pass(timedelta(seconds=61))
    assert push(life.world, purchase.restart(), renamed).status_code == 204
    assert len(fetched) == 2


@pytest.mark.parametrize("data", ["", "no base64!", "e30", base64.b64encode(b"[1]").decode()])
def test_a_malformed_message_is_refused(life, data):
    body = {"message": {"messageId": "1", "data": data}}
    assert push(life.world, body, life.store.push_token()).status_code == 400


def test_a_notification_about_another_app_is_ignored(life):
    purchase = life.subscribe()
    purchase.cancel()
    life.deliver(life.store.notify(3, purchase, package="com.example.other"))
    assert life.read_access() == ("active", "basic", renewing(purchase))
    life.deliver(life.store.notify(testNotification={"version": "1.0"}))


def test_a_token_of_another_app_grants_nothing(life):
    response = life.ann.post("/v1/store-purchases", {"source": "play_store", "purchase_token": "stolen/../../x"})
    assert (response.status_code, response.json["reason"]) == (422, "unknown_to_the_store")
    assert life.store.requests[-1][1].endswith("/tokens/stolen%2F..%2F..%2Fx")


def test_an_expired_access_token_is_replaced(life):
    life.subscribe()
    life.store.access_tokens.clear()
    purchase = life.store.buy("premium", life.account())
    assert life.claim(purchase).status_code == 503
    assert life.claim(purchase).status_code == 201


def test_payments_of_periods_that_we_missed_are_recorded(life):
    purchase = life.subscribe()
    for _ in range(3):
        life.clock.at = purchase.expiry
        purchase.renew()
    life.deliver(life.store.notifications[-1])
    with life.world.app.app_context():
        rows = db.session.execute(db.text("SELECT id, amount_minor FROM store_transactions ORDER BY id")).all()
    order = purchase.order
    assert [tuple(row) for row in rows] == [(each, 499) for each in (order, *(f"{order}..{n}" for n in range(3)))]


def test_the_bodies_of_both_sources_must_fit(life):
    for body in (
        {"source": "play_store", "signed_transaction": "x"},
        {"source": "app_store", "purchase_token": "x"},
        {"source": "play_store"},
        {"source": "play_store", "purchase_token": "x", "signed_transaction": "y"},
    ):
        assert life.ann.post("/v1/store-purchases", body).status_code == 422
    other = {"source": "app_store", "signed_transaction": "x"}
    assert life.ann.post("/v1/store-purchases", other).json["reason"] == "not_sold_here"
    assert life.world.operator.client.post("/v1/webhooks/app-store", json={"signedPayload": "x"}).status_code == 404
    assert json.dumps(life.read_access()) == "[null, null, null]"
