"""The App Store, against a local server with its API: every signature is verified as Apple's are."""

import pytest

from streamsvc.gateways.stores import app_store as gateway
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.app_store import ACTIVE, AppStore, app_store_server, deliver, use_app_store
from tests.worlds.app_store_keys import Chain, expired_chain
from tests.worlds.scenes import set_scene
from tests.worlds.store_lives import DAY, HOUR, StoreLife, iso


class AppStoreLife(StoreLife):
    def claim(self, subscription, who=None, transaction=None):
        body = {"source": "app_store", "signed_transaction": subscription.sign_transaction(transaction)}
        return (who or self.ann).post("/v1/store-purchases", body)

    def subscribe(self, product="basic.monthly", **more):
        """Buy, and claim what was bought."""
        subscription = self.store.buy(product, self.account(), **more)
        response = self.claim(subscription)
        assert response.status_code == 201, response.json
        return subscription

    def deliver(self, *notifications):
        """Deliver notifications, and let the worker ask the store."""
        for notification in notifications:
            response = deliver(self.world, notification)
            assert response.status_code == 204, response.json
        self.tick()


@pytest.fixture
def life(app, monkeypatch, tmp_path):
    life = set_scene(app, AppStoreLife)
    life.store = AppStore(life.clock)
    with app_store_server(life.store) as address:
        use_app_store(app, monkeypatch, address, tmp_path)
        life.use = lambda **settings: use_app_store(app, monkeypatch, address, tmp_path, **settings)
        yield life
    assert life.world.differences() == []


def renewing(subscription):
    """Until when a subscription that renews gives access: an hour longer than it is paid for."""
    return iso(subscription.expires + HOUR)


def test_a_purchase_is_claimed_and_grants_its_plan(life):
    subscription = life.store.buy("premium.monthly", life.account())
    response = life.claim(subscription)
    assert response.status_code == 201
    body = response.json
    assert (body["source"], body["status"], body["plan"]["code"], body["price"]) == (
        "app_store",
        "active",
        "premium",
        None,
    )
    assert body["store"]["management_url"] == "https://apps.apple.com/account/subscriptions"
    assert life.read_access() == ("active", "premium", renewing(subscription))
    session = life.ann.get("/v1/sessions/current").json
    assert session["entitlements"]["max_streams"] == 4
    assert [each["source"] for each in session["sources"]] == ["app_store"]


def test_a_renewal_moves_the_end_and_follows_a_notification(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires - HOUR)
    life.deliver(subscription.renew())
    life.wait(hours=3)
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_renewal_that_was_not_notified_is_found_when_the_period_ends(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires - HOUR)
    subscription.renew()
    life.wait(hours=1)
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_late_renewal_loses_no_minute_within_the_leeway(life):
    subscription = life.subscribe()
    end = subscription.expires
    life.go_to(end + HOUR / 2)
    assert life.read_access()[1] == "basic"
    subscription.renew()
    life.wait(minutes=25)
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_canceled_subscription_lasts_to_the_end_of_its_period(life):
    subscription = life.subscribe()
    life.deliver(subscription.cancel())
    assert life.read_access() == ("active", "basic", iso(subscription.expires))
    assert life.subscription()["cancel_at"] == subscription.expires.date().isoformat()
    life.go_to(subscription.expires)
    life.deliver(subscription.expire())
    assert life.read_access() == (None, None, None)
    assert (life.subscription()["status"], life.subscription()["cancel_reason"]) == ("canceled", "customer_cancelled")


def test_a_cancellation_is_undone(life):
    subscription = life.subscribe()
    life.deliver(subscription.cancel(), subscription.uncancel())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_trial_is_trialing_and_becomes_active(life):
    subscription = life.subscribe(trial=7 * DAY)
    assert life.read_access()[0] == "trialing"
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_canceled_trial_ends_with_its_last_day(life):
    subscription = life.subscribe(trial=7 * DAY)
    life.deliver(subscription.cancel())
    life.go_to(subscription.expires)
    assert life.read_access()[1] is None


def test_a_grace_period_gives_access_to_its_end(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.fail_to_renew(grace=6 * DAY))
    assert life.read_access() == ("past_due", "basic", iso(subscription.grace_until))
    life.go_to(subscription.grace_until)
    life.deliver(subscription.end_grace())
    assert life.read_access() == ("past_due", None, None)


def test_a_renewal_in_the_grace_period_leaves_no_gap(life):
    subscription = life.subscribe()
    end = subscription.expires
    life.go_to(end)
    life.deliver(subscription.fail_to_renew(grace=6 * DAY))
    life.wait(days=2)
    life.deliver(subscription.renew())
    assert subscription.last["starts"] == end
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_billing_retry_without_grace_gives_no_access(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.fail_to_renew())
    assert life.read_access() == ("past_due", None, None)


def test_a_billing_recovery_gives_access_again(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.fail_to_renew())
    life.wait(hours=10)
    life.deliver(subscription.renew())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_billing_retry_without_success_ends_the_subscription(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.fail_to_renew())
    life.wait(days=1)
    life.deliver(subscription.give_up())
    assert (life.read_access()[0], life.subscription()["cancel_reason"]) == (None, "billing_error")


def test_a_refund_ends_access_at_once(life):
    subscription = life.subscribe()
    life.deliver(subscription.refund())
    assert life.read_access() == (None, None, None)
    assert life.subscription()["cancel_reason"] == "refunded"


def test_a_refund_of_an_earlier_period_takes_nothing_away(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.deliver(subscription.refund(index=0))
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_refund_that_is_declined_changes_nothing(life):
    subscription = life.subscribe()
    life.deliver(subscription.decline_refund())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_reversed_refund_gives_access_again(life):
    subscription = life.subscribe()
    refund = subscription.refund()
    life.deliver(refund)
    subscription.renews = True
    life.wait(hours=1)
    life.deliver(subscription.reverse_refund())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_an_upgrade_applies_at_once(life):
    subscription = life.subscribe()
    life.wait(days=3)
    life.deliver(subscription.upgrade("premium.monthly"))
    assert life.read_access() == ("active", "premium", renewing(subscription))
    assert len(life.ann.get("/v1/subscriptions").json["items"]) == 1


def test_a_downgrade_applies_with_the_next_period(life):
    subscription = life.subscribe("premium.monthly")
    life.deliver(subscription.downgrade("basic.monthly"))
    assert life.read_access()[1] == "premium"
    assert life.subscription()["store"]["renewal_product_id"] == "basic.monthly"
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_crossgrade_of_the_same_duration_applies_at_once(life):
    subscription = life.subscribe("basic.monthly")
    life.deliver(subscription.upgrade("standard.monthly"))
    assert life.read_access()[1] == "standard"


def test_a_crossgrade_of_another_duration_applies_with_the_next_period(life):
    subscription = life.subscribe("premium.monthly")
    life.deliver(subscription.downgrade("premium.yearly"))
    assert life.read_access()[1] == "premium"
    assert life.subscription()["store"]["renewal_product_id"] == "premium.yearly"


def test_an_offer_code_starts_a_subscription_that_names_no_account(life):
    subscription = life.store.buy("basic.monthly", None, offer="SUMMER")
    assert life.claim(subscription).status_code == 201
    assert life.subscription()["store"]["offer"] == "offer_code"
    assert life.read_access()[1] == "basic"


def test_an_offer_code_extends_a_subscription(life):
    subscription = life.subscribe()
    life.deliver(subscription.redeem_offer("STAY"))
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_family_sharing_entitles_the_member_and_costs_nothing(life):
    subscription = life.store.buy("basic.monthly", None, shared=True)
    assert life.claim(subscription).json["store"]["family_shared"] is True
    assert life.read_access()[1] == "basic"
    with life.world.app.app_context():
        assert db.session.execute(db.text("SELECT count(*) FROM store_transactions")).scalar() == 0


@pytest.mark.parametrize(("shared", "percentage"), [(False, 50_000), (True, None)])
def test_a_transaction_that_was_revoked_grants_nothing_although_its_status_is_active(life, shared, percentage):
    subscription = life.store.buy("basic.monthly", None, shared=shared)
    life.claim(subscription)
    assert life.read_access()[1] == "basic"
    notification = subscription.refund(percentage=percentage)
    subscription.revoked = False
    assert subscription.status == ACTIVE
    life.deliver(notification)
    assert life.read_access()[1] is None


def read_payments(life):
    with life.world.app.app_context():
        rows = db.session.execute(db.text("SELECT id, amount_minor, refunded_minor FROM store_transactions")).all()
        return {row[0]: (row[1], row[2]) for row in rows}


def test_a_prorated_refund_is_reported_with_its_share(life):
    subscription = life.subscribe()
    life.deliver(subscription.refund(percentage=50_000))
    assert read_payments(life) == {subscription.id: (499, 250)}


def test_a_transaction_that_was_upgraded_grants_nothing(life):
    subscription = life.subscribe()
    subscription.last["upgraded"] = True
    life.deliver(life.store.notify("DID_RENEW", None, subscription))
    assert life.read_access()[1] is None


def test_two_subscriptions_of_one_apple_id_are_kept_apart(life):
    bea = life.world.person(card=None)
    ours = life.subscribe("basic.monthly", customer="family")
    theirs = life.store.buy("premium.monthly", life.account(bea), customer="family")
    assert life.claim(theirs, bea).json["plan"]["code"] == "premium"
    life.store.buy("standard.monthly", None, customer="family")  # which nobody claims
    life.deliver(theirs.refund())
    assert (life.read_access()[1], life.read_access(bea)[1]) == ("basic", None)
    life.deliver(ours.refund())
    with life.world.app.app_context():
        rows = db.session.execute(db.text("SELECT id, account_id, subscription_id FROM store_transactions")).all()
    owned = {(ours.id, life.ann.id), (theirs.id, bea.id)}
    assert ({(row[0], row[1]) for row in rows}, len({row[2] for row in rows})) == (owned, 2)


def test_a_response_about_another_transaction_changes_nothing(life):
    subscription, other = life.subscribe(), life.store.buy("premium.monthly", None)
    renewal = life.store.notify("DID_RENEW", None, subscription)
    subscription.sign_transaction = other.sign_transaction
    assert deliver(life.world, renewal).status_code == 204
    life.wait(minutes=2)
    assert life.read_access()[1] == "basic"


def test_a_long_history_is_read_to_its_last_page(life):
    subscription = life.subscribe()
    for _ in range(21):
        life.clock.at = subscription.expires
        subscription.renew()
    life.deliver(subscription.refund(index=3))
    payments = read_payments(life)
    assert set(payments) == {each["transactionId"] for each in subscription.transactions}
    assert [refunded for _, refunded in payments.values() if refunded] == [499]


def reconcile(life):
    """Ask the store as once a day, for what was not notified; return how often it was asked for the history."""
    before = len(life.store.requests)
    with life.world.app.app_context():
        jobs.enqueue_job("store.reconcile", {}, life.clock.at + 25 * HOUR)
        db.session.commit()
    life.wait(hours=25)
    return len([path for _, path in life.store.requests[before:] if "/history/" in path])


def subscribe_for(life, periods):
    """A subscription that was renewed several times before its history was read for the first time."""
    subscription = life.subscribe()
    for _ in range(periods - 1):
        life.clock.at = subscription.expires
        subscription.renew()
    life.tick()
    return subscription


def refunds(life):
    return {id_: refunded for id_, (_, refunded) in read_payments(life).items() if refunded}


def test_of_a_history_that_is_known_only_changes_are_read(life):
    subscription = subscribe_for(life, periods=22)
    assert ([len(page) for page in life.store.served], len(read_payments(life))) == ([20, 2], 22)
    life.deliver(subscription.cancel(), subscription.uncancel())  # after which the history is not read
    subscription.refund(index=3)
    changed = subscription.transactions[3]["transactionId"]
    assert (reconcile(life), refunds(life)) == (1, {changed: 499})
    subscription.reverse_refund(index=3)
    assert (reconcile(life), refunds(life)) == (1, {})
    assert life.store.served[-2:] == [[changed], [changed]]


def test_a_history_with_more_pages_than_are_read_at_once_is_read_on_the_next_time(life, monkeypatch):
    monkeypatch.setattr(gateway, "MAX_HISTORY_PAGES", 1)
    subscription = subscribe_for(life, periods=22)
    assert len(read_payments(life)) == 21  # the first page, and the latest transaction
    reconcile(life)
    assert set(read_payments(life)) == {each["transactionId"] for each in subscription.transactions}


def test_a_revision_that_the_store_no_longer_accepts_costs_no_refund(life):
    subscription = subscribe_for(life, periods=3)
    life.store.era = "b"
    subscription.refund(index=0)
    assert reconcile(life) == 2
    assert refunds(life) == {subscription.id: 499}
    subscription.refund(index=1)
    assert (reconcile(life), len(refunds(life))) == (1, 2)


def test_a_refund_between_the_requests_of_one_fetch_is_not_lost(life):
    subscription = subscribe_for(life, periods=2)
    life.store.before_reply = subscription.refund
    reconcile(life)
    assert refunds(life) == {subscription.last["transactionId"]: 499}
    assert life.read_access()[1] is None


def test_what_was_paid_and_refunded_before_an_end_is_recorded_although_nobody_was_notified(life):
    subscription = life.subscribe()
    subscription.upgrade("premium.monthly")
    subscription.refund()
    subscription.resubscribe("basic.monthly")
    cancellation = subscription.cancel()
    subscription.refund()
    life.deliver(cancellation)
    _, upgrade, last = (each["transactionId"] for each in subscription.transactions)
    assert refunds(life) == {upgrade: 999, last: 499}


def test_an_older_statement_that_comes_late_changes_no_payment(life):
    subscription = subscribe_for(life, periods=2)
    refund = subscription.refund(index=0)
    life.wait(hours=1)
    life.deliver(subscription.reverse_refund(index=0))
    life.deliver(refund)
    assert refunds(life) == {}


def test_an_operator_reads_the_whole_history_again(life):
    subscription = subscribe_for(life, periods=3)
    with life.world.app.app_context():
        db.session.execute(db.text("DELETE FROM store_transactions"))
        db.session.commit()
    path = f"/v1/admin/subscriptions/{life.subscription()['id']}/refresh"
    assert life.world.operator.post(path).status_code == 200
    assert set(read_payments(life)) == {each["transactionId"] for each in subscription.transactions}


def test_what_is_no_subscription_cannot_be_claimed_and_calls_for_no_fetch(life):
    subscription = life.store.buy("basic.monthly", life.account())
    signed = life.store.chain.sign(subscription.transaction_info() | {"type": "Consumable"})
    response = life.ann.post("/v1/store-purchases", {"source": "app_store", "signed_transaction": signed})
    assert (response.status_code, response.json["reason"]) == (422, "not_a_subscription")
    notification = life.store.notify("REFUND", None, subscription)
    notification["data"]["signedTransactionInfo"] = signed
    life.deliver(notification)
    assert life.store.requests == []


def test_the_end_of_family_sharing_ends_access(life):
    subscription = life.store.buy("basic.monthly", None, shared=True)
    life.claim(subscription)
    life.deliver(subscription.revoke_sharing())
    assert (life.read_access()[1], life.subscription()["cancel_reason"]) == (None, "family_sharing_ended")


def test_a_price_increase_waits_for_consent(life):
    subscription = life.subscribe()
    life.deliver(subscription.raise_price())
    assert life.subscription()["store"]["price_consent"] == "pending"
    life.deliver(subscription.raise_price(consent=1))
    assert life.subscription()["store"]["price_consent"] == "given"


def test_a_price_increase_without_consent_ends_the_subscription(life):
    subscription = life.subscribe()
    life.deliver(subscription.raise_price())
    life.go_to(subscription.expires)
    life.deliver(subscription.expire(intent=3))
    assert life.subscription()["cancel_reason"] == "customer_did_not_consent_to_price_increase"
    assert life.read_access()[1] is None


def test_a_product_that_is_no_longer_sold_ends_the_subscription(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    life.deliver(subscription.expire(intent=4))
    assert life.read_access()[1] is None


def test_an_extended_renewal_date_gives_the_days(life):
    subscription = life.subscribe()
    life.deliver(subscription.extend(10))
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_lapsed_subscriber_comes_back_under_the_same_subscription(life):
    subscription = life.subscribe()
    life.deliver(subscription.cancel())
    life.go_to(subscription.expires)
    life.deliver(subscription.expire())
    life.wait(days=40)
    life.deliver(subscription.resubscribe("premium.monthly"))
    assert life.read_access() == ("active", "premium", renewing(subscription))
    assert len(life.ann.get("/v1/subscriptions").json["items"]) == 1


def test_a_purchase_that_the_app_never_reported_is_found_by_its_notification(life):
    subscription = life.store.buy("basic.monthly", life.account())
    life.deliver(life.store.notifications[-1])
    assert life.read_access() == ("active", "basic", renewing(subscription))


def test_a_notification_of_an_unnamed_purchase_entitles_nobody(life):
    life.store.buy("basic.monthly", None)
    life.deliver(life.store.notifications[-1])
    assert life.read_access()[1] is None


def test_a_test_notification_and_one_of_an_unknown_kind_are_accepted(life):
    life.deliver(life.store.notify("TEST"), life.store.notify("SOMETHING_NEW", None, life.subscribe()))


def test_notifications_in_any_order_twice_and_late_lead_to_the_stores_state(life):
    subscription = life.subscribe()
    notifications = []
    for _ in range(3):
        life.go_to(subscription.expires - HOUR)
        notifications.append(subscription.renew())
    notifications += [subscription.cancel(), subscription.uncancel(), subscription.upgrade("premium.monthly")]
    life.wait(days=1)
    life.deliver(*reversed(notifications), *notifications)
    assert life.read_access() == ("active", "premium", renewing(subscription))


def test_a_replayed_notification_costs_the_store_no_request(life):
    subscription = life.subscribe()
    cancellation = subscription.cancel()
    life.deliver(cancellation)
    count = len(life.store.requests)
    life.deliver(cancellation, cancellation)
    assert len(life.store.requests) == count


def test_a_replayed_renewal_does_not_revive_a_refunded_subscription(life):
    subscription = life.subscribe()
    life.go_to(subscription.expires)
    renewal = subscription.renew()
    old = subscription.sign_transaction()
    life.deliver(subscription.refund())
    life.deliver(renewal)
    life.ann.post("/v1/store-purchases", {"source": "app_store", "signed_transaction": old})
    assert life.read_access() == (None, None, None)


def edited(life):
    signed = life.store.chain.sign(life.store.notify("DID_RENEW", None, life.store.buy("basic.monthly", None)))
    header, _, signature = signed.split(".")
    other = life.store.chain.sign(life.store.notify("DID_RENEW", None, life.store.buy("premium.monthly", None)))
    return ".".join((header, other.split(".")[1], signature))


def unsigned(life):
    signed = life.store.chain.sign(life.store.notify("TEST"), alg="none")
    return signed.rpartition(".")[0] + "."


def of_another_app(life):
    body = life.store.notify("TEST")
    body["data"]["bundleId"] = "com.example.other"
    return life.store.chain.sign(body)


def of_another_app_id(life):
    body = life.store.notify("TEST")
    body["data"]["appAppleId"] = 1
    return life.store.chain.sign(body)


FORGERIES = {
    "another root": lambda life: Chain().sign(life.store.notify("TEST")),
    "an expired leaf": lambda life: expired_chain().sign(life.store.notify("TEST")),
    "a leaf for other uses": lambda life: Chain(leaf_oid="1.2.3.4").sign(life.store.notify("TEST")),
    "an edited payload": edited,
    "no signature": unsigned,
    "HS256": lambda life: life.store.chain.sign(life.store.notify("TEST"), alg="HS256"),
    "no chain": lambda life: life.store.chain.sign(life.store.notify("TEST"), x5c=[]),
    "a chain without its root": lambda life: life.store.chain.sign(
        life.store.notify("TEST"), x5c=life.store.chain.x5c[:2]
    ),
    "another app": of_another_app,
    "another app id": of_another_app_id,
    "not a JWS": lambda life: "a.b.c",
    "not even three parts": lambda life: "nonsense",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_notification_is_refused_and_stored_nowhere(life, forgery):
    response = deliver(life.world, FORGERIES[forgery](life))
    assert (response.status_code, response.json["code"]) == (400, "signature_invalid")
    with life.world.app.app_context():
        assert db.session.execute(db.text("SELECT count(*) FROM provider_events")).scalar() == 0


@pytest.mark.parametrize("chain", [Chain, expired_chain])
def test_a_forged_transaction_grants_nothing(life, chain):
    subscription = life.store.buy("basic.monthly", life.account())
    signed = chain().sign(subscription.transaction_info())
    response = life.ann.post("/v1/store-purchases", {"source": "app_store", "signed_transaction": signed})
    assert (response.status_code, response.json["code"]) == (422, "purchase_invalid")
    assert life.read_access()[1] is None


def test_a_transaction_of_another_app_grants_nothing(life):
    subscription = life.store.buy("basic.monthly", life.account())
    signed = life.store.chain.sign(subscription.transaction_info() | {"bundleId": "com.example.other"})
    response = life.ann.post("/v1/store-purchases", {"source": "app_store", "signed_transaction": signed})
    assert (response.status_code, response.json["reason"]) == (422, "invalid_app_identifier")


def test_a_transaction_that_apple_does_not_know_grants_nothing(life):
    subscription = life.store.buy("basic.monthly", life.account())
    del life.store.subscriptions[subscription.id]
    assert life.claim(subscription).json["reason"] == "unknown_to_the_store"


def test_a_product_that_buys_no_plan_is_refused_by_name(life):
    life.put_plan("premium", [])
    assert life.claim(life.store.buy("premium.monthly", life.account())).json["reason"] == "unknown_product"


def test_a_sandbox_purchase_never_entitles_in_production(life):
    life.store.environment = "Sandbox"
    subscription = life.store.buy("basic.monthly", life.account())
    assert life.claim(subscription).json["reason"] == "test_purchase"
    life.deliver(life.store.notifications[-1])
    assert life.read_access()[1] is None


def test_a_sandbox_purchase_entitles_the_reviewers_account(life):
    life.use(store_test_accounts=(life.ann.id,))
    life.store.environment = "Sandbox"
    subscription = life.store.buy("basic.monthly", life.account())
    assert life.claim(subscription).json["store"]["environment"] == "sandbox"
    assert life.read_access()[1] == "basic"
    assert life.claim(subscription, life.world.person()).json["reason"] == "test_purchase"


def test_a_sandbox_purchase_is_in_no_report(life):
    life.use(store_test_accounts=(life.ann.id,))
    life.store.environment = "Sandbox"
    subscription = life.store.buy("basic.monthly", life.account())
    assert life.claim(subscription).status_code == 201
    life.deliver(subscription.refund())
    assert life.world.operator.get("/v1/admin/reports/store-revenue").json["stores"] == []


def test_while_the_store_does_not_respond_a_claim_waits_and_grants_nothing(life):
    subscription = life.store.buy("basic.monthly", life.account())
    for failure in ((500, b""), (429, b""), (401, b"")):
        life.store.failure = failure
        response = life.claim(subscription)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    life.store.failure = None
    assert life.claim(subscription).status_code == 201


def test_a_notification_during_an_outage_is_worked_off_afterwards(life):
    subscription = life.subscribe()
    life.store.failure = (500, b"")
    deliver(life.world, subscription.upgrade("premium.monthly"))
    for _ in range(3):
        life.wait(minutes=1)
    assert life.read_access()[1] == "basic"
    life.store.failure = None
    life.wait(minutes=2)
    assert life.read_access()[1] == "premium"


def test_a_response_that_is_not_signed_changes_nothing(life):
    subscription = life.subscribe()
    subscription.upgrade("premium.monthly")
    life.store.chain = Chain()
    deliver(life.world, life.store.notify("TEST"))
    life.wait(days=2)
    assert life.read_access()[1] == "basic"


def test_reconciliation_finds_what_was_not_notified(life):
    subscription = life.subscribe()
    subscription.refund()
    reconcile(life)
    assert life.read_access() == (None, None, None)


def test_the_stores_own_business_is_refused_with_its_address(life):
    life.subscribe()
    subscription = life.subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    for response in (
        life.ann.post(f"{path}/cancellation"),
        life.ann.delete(f"{path}/cancellation"),
        life.ann.post(f"{path}/plan-change", {"price_id": "pri_none"}),
        life.ann.post(f"{path}/pause"),
        life.ann.put(f"{path}/anchor", {"day": 3}),
        life.ann.post(f"{path}/coupons", {"coupon": "half"}),
        life.ann.post("/v1/invoice-previews", {"subscription_id": subscription["id"], "price_id": "pri_none"}),
    ):
        assert (response.status_code, response.json.get("code")) == (409, "managed_by_store"), response.json
        assert response.json["source"] == "app_store"
        assert response.json["management_url"] == "https://apps.apple.com/account/subscriptions"
    assert life.ann.get(path).json == subscription
    bea = life.world.person()
    assert bea.get(path).status_code == bea.post(f"{path}/cancellation").status_code == 404
