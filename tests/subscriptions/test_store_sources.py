"""One entitlement from several sources: the web, two app stores, gifts, and who may have a purchase."""

import json
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from streamsvc.cli.billing import billing
from streamsvc.gateways.peers import close_circuits
from streamsvc.http.metrics import DatabaseCollector
from streamsvc.models import Job
from streamsvc.models.subscriptions import ProviderEvent, StorePurchase, StoreSubscription, StoreTransaction
from streamsvc.operations.accounts import exports
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.subscriptions.test_app_store import AppStoreLife
from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds.app_store import AppStore, app_store_server, deliver, use_app_store
from tests.worlds.operator_steps import new_operator
from tests.worlds.play_store import PlayStore, play_store_server, push, use_play_store
from tests.worlds.scenes import set_scene
from tests.worlds.store_lives import DAY, HOUR, PRODUCTS, iso


class Life(AppStoreLife):
    """Ann, with both stores: `store` is the App Store, `play` Google Play."""

    def subscribe_on_play(self, product="standard", who=None, **more):
        purchase = self.play.buy(product, self.account(who), **more)
        response = PlayStoreLife.claim(self, purchase, who)
        assert response.status_code == 201, response.json
        self.tick()
        return purchase

    def price(self, code):
        """The id of the web's price of a plan."""
        return self.put_plan(code, PRODUCTS[code])

    def trials(self):
        """The id of a price on the web with a trial."""
        price = {"currency": "USD", "amount_minor": 900, "tax": "exclusive", "trial_days": 14}
        return self.world.put_plan("trials", [price])

    def session(self, who=None):
        return (who or self.ann).get("/v1/sessions/current").json

    def sources(self, who=None):
        return [each["source"] for each in self.session(who)["sources"]]


@pytest.fixture
def life(app, monkeypatch, tmp_path):
    life = set_scene(app, Life)
    life.store, life.play = AppStore(life.clock), PlayStore(life.clock)
    with app_store_server(life.store) as address, play_store_server(life.play) as play_address:

        def use(**settings):
            use_app_store(app, monkeypatch, address, tmp_path, **settings)
            use_play_store(app, monkeypatch, play_address)

        use()
        life.use = use
        yield life
    assert life.world.differences() == []


def test_two_sources_grant_the_better_of_both_and_are_both_listed(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play("standard")
    session = life.session()
    assert session["entitlements"]["plan"] == "standard"
    assert session["entitlements"]["plans"] == ["standard", "basic"]
    assert session["entitlements"]["max_streams"] == 2
    assert [(each["source"], each["plan"], each["renews"]) for each in session["sources"]] == [
        ("app_store", "basic", True),
        ("play_store", "standard", True),
    ]
    assert session["subscription"]["id"] == session["sources"][0]["subscription_id"]
    life.deliver(subscription.refund())
    assert (life.sources(), life.session()["entitlements"]["plans"]) == (["play_store"], ["standard"])


def test_a_third_source_is_refused_whoever_sells_it(life):
    life.subscribe("basic.monthly")
    life.ann.add_card()
    assert life.ann.subscribe(life.price("premium")).status_code == 201
    assert life.sources() == ["sandbox", "app_store"]
    purchase = life.play.buy("standard", life.account())
    response = PlayStoreLife.claim(life, purchase)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert response.json["sources"] == ["sandbox", "app_store"]
    life.world.go_to(life.clock.at)
    assert not purchase.acknowledged  # so that Google refunds it


def test_a_third_source_is_refused_on_the_web_too(life):
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    response = life.ann.subscribe(life.price("premium"))
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert response.json["sources"] == ["app_store", "play_store"]
    assert life.world.charges() == []


def test_a_transferred_subscription_is_no_third_source(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    bea = life.world.person()
    path = f"/v1/admin/subscriptions/{bea.subscribe(life.price('premium')).json['id']}/transfer"
    response = life.world.operator.post(path, {"account_id": life.ann.id})
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert response.json["sources"] == ["app_store", "play_store"]
    assert (life.sources(), life.sources(bea)) == (["app_store", "play_store"], ["sandbox"])
    life.deliver(subscription.refund())
    assert life.world.operator.post(path, {"account_id": life.ann.id}).status_code == 200
    assert (life.sources(), life.sources(bea)) == (["sandbox", "play_store"], [])


def test_a_gift_is_no_third_source(life):
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    price_id = life.price("premium")
    gift = life.world.operator.post("/v1/admin/gift-codes", {"price_id": price_id, "periods": 1}).json
    response = life.ann.post("/v1/gift-redemptions", {"code": gift["code"]})
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    bea = life.world.person(card=None)
    assert bea.post("/v1/gift-redemptions", {"code": gift["code"]}).status_code == 201


def test_a_purchase_known_only_from_a_notification_is_no_third_source(life):
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.store.buy("premium.monthly", life.account())
    life.deliver(life.store.notifications[-1])
    assert life.sources() == ["app_store", "play_store"]


def test_a_store_subscription_that_ended_without_a_notification_makes_room_for_the_next(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    subscription.refund()
    life.wait(seconds=10)
    assert life.claim(life.store.buy("premium.monthly", life.account())).status_code == 201
    assert [each["plan"] for each in life.session()["sources"]] == ["standard", "premium"]


def start_on_the_web(life):
    return life.ann.subscribe(life.price("premium"))


def redeem_a_gift(life):
    price_id = life.price("premium")
    gift = life.world.operator.post("/v1/admin/gift-codes", {"price_id": price_id, "periods": 1}).json
    return life.ann.post("/v1/gift-redemptions", {"code": gift["code"]})


def start_by_an_operator(life):
    body = {"account_id": life.ann.id, "price_id": life.price("premium"), "paid_through": "2026-06-01"}
    return life.world.operator.post("/v1/admin/subscriptions", body)


def preview(life):
    return life.ann.post("/v1/invoice-previews", {"price_id": life.price("premium")})


def preview_by_an_operator(life):
    body = {"account_id": life.ann.id, "price_id": life.price("premium")}
    return life.world.operator.post("/v1/admin/invoice-previews", body)


def transfer_by_an_operator(life):
    subscription_id = life.world.person().subscribe(life.price("premium")).json["id"]
    return life.world.operator.post(f"/v1/admin/subscriptions/{subscription_id}/transfer", {"account_id": life.ann.id})


def transfer_a_purchase_by_an_operator(life):
    cara = life.world.person(card=None)
    life.subscribe_on_play("premium", cara)
    path = f"/v1/admin/subscriptions/{life.subscription(cara)['id']}/transfer"
    return life.world.operator.post(path, {"account_id": life.ann.id})


STARTS = [
    (start_on_the_web, 201),
    (redeem_a_gift, 201),
    (start_by_an_operator, 201),
    (preview, 200),
    (preview_by_an_operator, 200),
    (transfer_by_an_operator, 200),
    (transfer_a_purchase_by_an_operator, 200),
]


@pytest.mark.parametrize(("start", "status"), STARTS)
def test_a_store_subscription_that_ended_without_a_notification_makes_room_on_the_web(life, start, status):
    bea = life.world.person(card=None)
    life.claim(life.store.buy("premium.monthly", life.account(bea)), bea)
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    subscription.refund()
    life.wait(seconds=10)
    assert life.sources() == ["app_store", "play_store"]
    assert start(life).status_code == status
    assert "app_store" not in life.sources()
    assert life.sources(bea) == ["app_store"]


@pytest.mark.parametrize("start", [start for start, _ in STARTS])
def test_a_third_source_is_refused_on_the_web_while_the_stores_say_that_theirs_are_live(life, start):
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    life.wait(seconds=10)
    before = len(life.store.requests)
    response = start(life)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert "respond" not in response.json["detail"]
    assert len(life.store.requests) == before + 1


@pytest.mark.parametrize("transfer", [transfer_by_an_operator, transfer_a_purchase_by_an_operator])
def test_a_transfer_is_refused_while_a_store_does_not_respond(life, transfer):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    subscription.refund()
    life.wait(seconds=10)
    life.store.failure = (503, b"")
    response = transfer(life)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert "does not respond" in response.json["detail"]
    assert life.sources() == ["app_store", "play_store"]


def test_a_purchase_that_ended_without_a_notification_is_transferred_without_taking_room(life):
    bea = life.world.person(card=None)
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    purchase = life.subscribe_on_play("premium", bea)
    path = f"/v1/admin/subscriptions/{life.subscription(bea)['id']}/transfer"
    life.wait(seconds=10)
    assert life.world.operator.post(path, {"account_id": life.ann.id}).status_code == 409
    purchase.revoke()
    life.wait(seconds=10)
    response = life.world.operator.post(path, {"account_id": life.ann.id})
    assert (response.status_code, response.json["status"]) == (200, "canceled")
    assert (life.sources(), life.sources(bea)) == (["app_store", "play_store"], [])


def test_a_purchase_that_revived_without_a_notification_is_transferred_to_no_account_without_room(life):
    bea = life.world.person(card=None)
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    lapsed = life.store.buy("premium.monthly", life.account(bea))
    life.claim(lapsed, bea)
    life.deliver(lapsed.refund())
    path = f"/v1/admin/subscriptions/{life.subscription(bea)['id']}/transfer"
    lapsed.resubscribe()
    life.wait(seconds=10)
    response = life.world.operator.post(path, {"account_id": life.ann.id})
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert life.sources(bea) == ["app_store"]


def test_a_purchase_is_transferred_in_its_last_known_state_while_the_store_does_not_respond(life):
    bea = life.world.person(card=None)
    life.subscribe("basic.monthly")
    path = f"/v1/admin/subscriptions/{life.subscription()['id']}/transfer"
    life.wait(seconds=10)
    life.store.failure = (503, b"")
    assert life.world.operator.post(path, {"account_id": bea.id}).status_code == 200
    assert (life.sources(), life.sources(bea)) == ([], ["app_store"])


@pytest.mark.every_database
def test_a_transfer_holds_no_lock_while_the_stores_respond(life):
    bea = life.world.person(card=None)
    life.subscribe("basic.monthly")
    life.subscribe_on_play("standard", bea)
    life.claim(life.store.buy("premium.monthly", life.account(bea)), bea)
    path = f"/v1/admin/subscriptions/{life.subscription()['id']}/transfer"
    life.wait(seconds=10)
    before, statuses = len(life.store.requests), []

    def act_meanwhile():
        life.store.before_reply = None if statuses else act_meanwhile
        for who in (life.ann, bea):
            with life.world.app.app_context():
                statuses.append(who.patch("/v1/account", {"time_zone": "Asia/Tokyo"}).status_code)

    life.store.before_reply = act_meanwhile
    assert life.world.operator.post(path, {"account_id": bea.id}).status_code == 409
    assert (statuses, len(life.store.requests)) == ([200] * 4, before + 2)


def import_ann(life, tmp_path, *arguments):
    """Import a subscription of Ann's, and of somebody new; return what the command prints."""
    life.price("premium")
    price = {"plan": "premium", "currency": "USD", "amount_minor": 2000}
    line = {"country": "US", "started_on": "2025-11-20", "paid_through": "2026-02-20", "price": price}
    addresses = (life.ann.get("/v1/account").json["email"], "new@example.com")
    lines = [json.dumps(line | {"external_id": email, "email": email}) for email in addresses]
    file = tmp_path / "subscribers.ndjson"
    file.write_text("\n".join(lines))
    return life.world.app.test_cli_runner().invoke(billing, ["import", str(file), *arguments]).output


def test_an_import_asks_the_stores_before_it_refuses_a_third_source(life, tmp_path):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.wait(seconds=10)
    before = len(life.store.requests)
    assert "already_subscribed: Two subscriptions" in import_ann(life, tmp_path, "--dry-run")
    assert len(life.store.requests) == before + 1
    subscription.refund()
    life.wait(seconds=10)
    assert import_ann(life, tmp_path, "--dry-run").startswith("2 lines: 2 added, 0 unchanged, 0 rejected (dry run")
    assert life.sources() == ["play_store"]
    assert import_ann(life, tmp_path) == "2 lines: 2 added, 0 unchanged, 0 rejected\n"
    assert life.sources() == ["manual", "play_store"]


def test_an_import_refuses_a_third_source_while_a_store_does_not_respond(life, tmp_path):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    subscription.refund()
    life.wait(seconds=10)
    life.store.failure = (503, b"")
    output = import_ann(life, tmp_path)
    assert output.startswith("2 lines: 1 added, 0 unchanged, 1 rejected\n")
    assert "does not respond" in output
    assert life.sources() == ["app_store", "play_store"]
    life.store.failure = None
    assert import_ann(life, tmp_path) == "2 lines: 1 added, 1 unchanged, 0 rejected\n"


def test_a_purchase_that_was_voided_without_a_notification_makes_room(life):
    life.subscribe("basic.monthly")
    purchase = life.subscribe_on_play()
    life.ann.add_card()
    purchase.void()
    life.wait(seconds=10)
    assert start_on_the_web(life).status_code == 201
    assert life.sources() == ["sandbox", "app_store"]


def test_a_state_of_the_last_seconds_is_not_fetched_again_before_a_refusal(life):
    life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    life.wait(seconds=9)
    before = len(life.store.requests), len(life.play.requests)
    assert start_on_the_web(life).status_code == 409
    assert (len(life.store.requests), len(life.play.requests)) == before


def test_a_third_source_is_refused_on_the_web_while_a_store_does_not_respond(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    subscription.refund()
    life.wait(seconds=10)
    life.store.failure = (503, b"")
    response = start_on_the_web(life)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert response.json["sources"] == ["app_store", "play_store"]
    assert "does not respond" in response.json["detail"]
    assert life.sources() == ["app_store", "play_store"]
    life.store.failure = None
    assert start_on_the_web(life).status_code == 201


def test_a_refused_start_may_be_repeated_with_its_key_once_the_store_subscription_has_ended(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.ann.add_card()
    life.wait(seconds=10)
    body = {"price_id": life.price("premium")}
    assert life.ann.post("/v1/subscriptions", body, key="one form").status_code == 409
    subscription.refund()
    life.wait(seconds=10)
    assert life.ann.post("/v1/subscriptions", body, key="one form").status_code == 201


def test_a_store_that_does_not_respond_hinders_no_refresh_of_the_other(life):
    life.subscribe("basic.monthly")
    purchase = life.subscribe_on_play()
    life.ann.add_card()
    purchase.revoke()
    life.wait(seconds=10)
    life.store.failure = (503, b"")
    assert start_on_the_web(life).status_code == 201
    assert life.sources() == ["sandbox", "app_store"]


def test_a_second_subscription_on_the_web_is_refused_without_asking_a_store(life):
    life.subscribe("basic.monthly")
    life.ann.add_card()
    assert life.ann.subscribe(life.price("standard")).status_code == 201
    life.wait(seconds=10)
    before = len(life.store.requests)
    response = start_on_the_web(life)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert ("sources" in response.json, len(life.store.requests)) == (False, before)


def test_an_ended_store_subscription_makes_room(life):
    subscription = life.subscribe("basic.monthly")
    life.subscribe_on_play()
    life.deliver(subscription.refund())
    life.ann.add_card()
    assert life.ann.subscribe(life.price("premium")).status_code == 201


@pytest.mark.parametrize(
    ("zone", "ends", "starts_on"),
    [
        ("UTC", datetime(2026, 2, 14, 12, tzinfo=UTC), "2026-02-15"),
        ("America/Los_Angeles", datetime(2026, 2, 14, 12, tzinfo=UTC), "2026-02-15"),
        ("Pacific/Auckland", datetime(2026, 2, 14, 12, tzinfo=UTC), "2026-02-16"),
    ],
)
def test_a_canceled_store_subscription_moves_to_the_web_without_a_gap_or_a_double_day(life, zone, ends, starts_on):
    life.ann = life.world.person(zone=zone)
    subscription = life.subscribe("premium.monthly")
    life.deliver(subscription.cancel())
    assert subscription.expires == ends
    response = life.ann.subscribe(life.price("premium"))
    assert (response.status_code, response.json["status"]) == (201, "incomplete")
    assert (response.json["started_on"], life.world.charges()) == (starts_on, [])
    seen = []
    while life.clock.at < ends + 3 * DAY:
        seen.append(life.read_access()[1])
        life.wait(hours=4)
    assert set(seen) == {"premium"}
    assert life.world.charges() == [2000]
    assert life.ann.lines()[0][1] == starts_on
    assert life.sources() == ["sandbox"]


def test_a_day_that_ends_with_the_store_costs_nothing_and_gives_nothing_without_a_web_subscription(life):
    life.ann = life.world.person()
    subscription = life.subscribe("premium.monthly")
    life.deliver(subscription.cancel())
    started = life.ann.subscribe(life.price("premium")).json
    life.go_to(subscription.expires)
    assert life.read_access()[1] == "premium"
    assert life.ann.post(f"/v1/subscriptions/{started['id']}/cancellation", {"when": "now"}).status_code == 200
    assert life.read_access()[1] is None


def test_what_follows_a_store_subscription_needs_a_card(life):
    life.deliver(life.subscribe("premium.monthly").cancel())
    response = life.ann.subscribe(life.price("premium"))
    assert (response.status_code, response.json["decline_code"]) == (402, "payment_method_required")


def test_what_follows_may_start_earlier_if_its_customer_says_so(life):
    life.ann.add_card()
    life.deliver(life.subscribe("basic.monthly").cancel())
    response = life.ann.subscribe(life.price("premium"), start_date="2026-01-15")
    assert (response.status_code, response.json["status"]) == (201, "active")


def test_a_trial_at_a_store_is_the_households_trial(life):
    life.ann.add_card()
    subscription = life.subscribe("basic.monthly", trial=7 * DAY)
    life.deliver(subscription.cancel())
    life.go_to(subscription.expires + DAY)
    life.deliver(subscription.expire())
    trials = life.trials()
    assert life.ann.subscribe(trials).json["status"] == "active"
    bea = life.world.person()
    assert bea.subscribe(trials).json["status"] == "trialing"


def test_a_trial_at_a_store_is_that_of_all_accounts_that_share_a_card(life):
    trials = life.trials()
    life.ann.add_card("pm_card_visa:7")
    life.subscribe("basic.monthly", trial=7 * DAY)
    bea, cara = life.world.person(card="pm_card_visa:7"), life.world.person(card="pm_card_visa:8")
    assert bea.subscribe(trials).json["status"] == "active"
    assert cara.subscribe(trials).json["status"] == "trialing"


@pytest.mark.parametrize("store", ["app_store", "play_store"])
def test_a_trial_at_a_store_counts_after_the_purchase_moved_away(life, store):
    trials = life.trials()
    life.use(store_restore="move")
    life.ann.add_card()
    bea = life.world.person()
    if store == "app_store":
        life.claim(life.subscribe("basic.monthly", trial=7 * DAY), bea)
    else:
        PlayStoreLife.claim(life, life.subscribe_on_play("basic", trial=7 * DAY), bea)
    assert (life.sources(), life.sources(bea)) == ([], [store])
    preview = life.ann.post("/v1/invoice-previews", {"price_id": trials}).json
    assert [line["kind"] for line in preview["lines"]] == ["charge"]
    assert life.ann.subscribe(trials).json["status"] == "active"
    assert bea.subscribe(trials).json["status"] == "active"


def test_a_paid_purchase_that_moved_away_leaves_the_trial(life):
    trials = life.trials()
    life.use(store_restore="move")
    life.ann.add_card()
    bea = life.world.person(card=None)
    life.claim(life.subscribe("basic.monthly"), bea)
    assert life.ann.subscribe(trials).json["status"] == "trialing"


def test_a_purchase_of_another_account_is_refused(life):
    subscription = life.subscribe()
    bea = life.world.person(card=None)
    response = life.claim(subscription, bea)
    assert (response.status_code, response.json["code"]) == (409, "owned_by_another_account")
    assert (life.read_access(bea)[1], life.read_access()[1]) == (None, "basic")


def test_a_purchase_that_names_another_account_is_refused_before_its_owner_claims_it(life):
    subscription = life.store.buy("basic.monthly", life.account())
    bea = life.world.person(card=None)
    assert life.claim(subscription, bea).json["code"] == "owned_by_another_account"
    assert life.claim(subscription).status_code == 201


def test_a_purchase_that_names_nobody_belongs_to_who_claims_it_first(life):
    subscription = life.store.buy("basic.monthly", None)
    bea = life.world.person(card=None)
    assert life.claim(subscription, bea).status_code == 201
    assert life.claim(subscription).json["code"] == "owned_by_another_account"


def test_a_purchase_that_names_an_account_of_another_system_can_be_claimed(life):
    subscription = life.store.buy("basic.monthly", "7f3c9a52-11aa-4c0e-9d6b-8a50e4b0f7f1")
    assert life.claim(subscription).status_code == 201


def test_a_purchase_that_names_a_closed_account_can_be_claimed_by_any_other(life):
    subscription, bea = life.store.buy("basic.monthly", life.account()), life.world.person(card=None)
    assert life.ann.delete("/v1/account").status_code in (202, 204)
    assert life.claim(subscription, bea).status_code == 201


def test_the_purchase_of_a_closed_account_that_names_a_third_one_belongs_to_that_one(life):
    life.use(store_restore="move")
    bea, cara = life.world.person(card=None), life.world.person(card=None)
    subscription = life.store.buy("basic.monthly", life.account(bea))
    assert life.claim(subscription).status_code == 201
    life.use(store_restore="refuse")
    assert life.ann.delete("/v1/account").status_code in (202, 204)
    assert life.claim(subscription, cara).json["code"] == "owned_by_another_account"
    assert life.claim(subscription, bea).status_code == 201


def test_a_purchase_that_has_ended_takes_no_room_when_it_is_claimed_or_moves(life):
    life.use(store_restore="move")
    bea, new = life.world.person(card=None), life.store.buy("premium.monthly", None)
    claimed, live = life.subscribe("basic.monthly"), life.store.buy("standard.monthly", life.account())
    assert life.claim(live).status_code == 201
    for subscription in (claimed, new):
        life.deliver(subscription.refund())
    life.subscribe_on_play("standard", bea)
    assert life.claim(life.store.buy("basic.monthly", life.account(bea)), bea).status_code == 201
    assert life.claim(new, bea).json["status"] == "canceled"
    assert life.claim(claimed, bea).json["status"] == "canceled"
    response = life.claim(live, bea)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert (life.sources(), life.sources(bea)) == (["app_store"], ["play_store", "app_store"])


def test_support_transfers_no_purchase_to_an_account_that_is_not_active(life):
    life.subscribe()
    bea, path = life.world.person(card=None), f"/v1/admin/subscriptions/{life.subscription()['id']}/transfer"
    assert life.world.operator.patch(f"/v1/admin/accounts/{bea.id}", {"status": "disabled"}).status_code == 200
    for account_id in (bea.id, life.ann.id, "acc_none"):
        response = life.world.operator.post(path, {"account_id": account_id})
        assert (response.status_code, list(response.json["errors"])) == (422, ["account_id"])
    assert life.sources() == ["app_store"]


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


def test_a_restored_purchase_moves_where_the_setting_allows_it(life):
    life.use(store_restore="move")
    subscription = life.subscribe("premium.monthly")
    bea = life.world.person(card=None)
    before = life.subscription()["id"]
    assert life.claim(subscription, bea).json["id"] == before
    assert (life.read_access(bea)[1], life.read_access()[1]) == ("premium", None)
    assert life.ann.get("/v1/subscriptions").json["items"] == []
    life.deliver(subscription.cancel())
    assert life.read_access(bea) == ("active", "premium", iso(subscription.expires))


def test_a_purchase_that_was_made_for_another_account_moves_to_it(life):
    """Two households share a device: one lets its subscription lapse, the other buys with the same Apple ID."""
    subscription = life.subscribe()
    life.deliver(subscription.cancel())
    life.go_to(subscription.expires)
    life.deliver(subscription.expire())
    bea = life.world.person(card=None)
    subscription.account = life.account(bea)
    subscription.resubscribe("premium.monthly")
    assert life.claim(subscription, bea).status_code == 201
    assert (life.read_access(bea)[1], life.read_access()[1]) == ("premium", None)


def test_what_support_has_transferred_can_be_restored_by_its_new_account(life):
    subscription = life.subscribe()
    bea, path = life.world.person(card=None), f"/v1/admin/subscriptions/{life.subscription()['id']}"
    assert life.world.operator.post(f"{path}/transfer", {"account_id": bea.id}).status_code == 200
    assert life.claim(subscription, bea).status_code == 201


@pytest.mark.every_database
def test_an_app_that_reports_a_purchase_twice_at_once_gets_the_same_response(life):
    subscription = life.store.buy("basic.monthly", life.account())
    life.ann.sign_in()
    answers, barrier = [], threading.Barrier(3)

    def claim():
        barrier.wait()
        answers.append(claim_at_last(life, subscription))

    threads = [threading.Thread(target=claim) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == [201] * 3
    assert len(life.ann.get("/v1/subscriptions").json["items"]) == 1


def test_a_disabled_accounts_purchase_moves_nowhere(life):
    life.use(store_restore="move")
    subscription = life.subscribe()
    bea = life.world.person(card=None)
    assert life.world.operator.patch(f"/v1/admin/accounts/{life.ann.id}", {"status": "disabled"}).status_code == 200
    assert life.claim(subscription, bea).json["code"] == "owned_by_another_account"


def test_support_transfers_a_store_subscription(life):
    subscription = life.subscribe()
    bea, path = life.world.person(card=None), f"/v1/admin/subscriptions/{life.subscription()['id']}"
    assert life.world.operator.post(f"{path}/cancellation").json["code"] == "managed_by_store"
    response = life.world.operator.post(f"{path}/transfer", {"account_id": bea.id})
    assert (response.status_code, response.json["account_id"]) == (200, bea.id)
    assert (life.read_access(bea)[1], life.read_access()[1]) == ("basic", None)
    assert life.world.operator.post(f"{path}/transfer", {"account_id": bea.id}).status_code == 422
    subscription.upgrade("premium.monthly")
    assert life.world.operator.post(f"{path}/refresh").json["plan"]["code"] == "premium"
    [event] = life.world.operator.get("/v1/admin/audit?action=subscription_refreshed").json["items"]
    details = event["details"]
    assert (details["old"]["plan"]["code"], details["new"]["plan"]["code"]) == ("basic", "premium"), details
    listed = life.world.operator.get(f"/v1/admin/subscriptions?account_id={bea.id}&include_total=true").json
    assert ([each["source"] for each in listed["items"]], listed["total"]) == (["app_store"], 1)
    assert life.world.operator.get(path).json["source"] == "app_store"


def test_support_finds_an_account_by_what_a_store_calls_it_its_purchase_or_a_payment(life):
    bea, cara = life.world.person(card=None), life.world.person(card=None)
    apple, google = life.subscribe(), life.subscribe_on_play(who=bea)
    life.go_to(apple.expires)
    life.deliver(apple.renew())

    def found(clue):
        return [each["id"] for each in life.world.operator.get(f"/v1/admin/accounts?q={clue}").json["items"]]

    first, second = (each["transactionId"] for each in apple.transactions)
    clues = [life.account(), life.account().upper(), apple.id, first, second, life.subscription()["id"]]
    assert [found(clue) for clue in clues] == [[life.ann.id]] * len(clues)
    clues = [life.account(bea), google.token, google.latest_order, life.subscription(bea)["id"]]
    assert [found(clue) for clue in clues] == [[bea.id]] * len(clues)
    assert found(google.latest_order[:-1]) == found("00000000-0000-0000-0000-000000000000") == []
    assert found(life.account(cara)) == [cara.id]


def test_an_account_exports_its_own_purchases(life):
    bea = life.world.person(card=None)
    life.claim(life.store.buy("premium.monthly", life.account(bea)), bea)
    subscription, purchase = life.subscribe(), life.subscribe_on_play()
    export = life.ann.get("/v1/account/export").json["tables"]
    keys = {subscription.id, purchase.token}
    assert {each["key"] for each in export["store_subscriptions"]} == keys
    assert {each["key"] for each in export["store_purchases"]} == keys
    payments = {(each["source"], each["amount_minor"]) for each in export["store_transactions"]}
    assert payments == {("app_store", 499), ("play_store", 799)}


def test_an_erased_account_leaves_the_amounts_and_no_purchase(life):
    bea = life.world.person(card=None)
    other = life.store.buy("premium.monthly", life.account(bea))
    life.claim(other, bea)
    subscription = life.subscribe()
    life.deliver(subscription.cancel())
    life.deliver(other.downgrade("basic.monthly"))
    assert life.ann.delete("/v1/account").status_code in (202, 204)
    life.wait(days=31)
    with life.world.app.app_context():
        tables = (StoreSubscription, StoreTransaction)
        owners = [set(db.session.scalars(db.select(table.account_id))) for table in tables]
        keys = db.session.scalars(db.select(StorePurchase.key)).all()
        references = db.session.scalars(db.select(ProviderEvent.reference)).all()
    assert (owners, keys) == ([{bea.id}, {None, bea.id}], [other.id])
    assert set(references) == {None}
    subscription.renew()
    life.deliver(life.store.notifications[-1])
    bea = life.world.person(card=None)
    assert life.claim(subscription, bea).status_code == 201


def claim_at_last(life, subscription, who=None):
    """The status of a claim, repeated while the threads wait for the store."""
    while (status := life.claim(subscription, who).status_code) == 503:
        time.sleep(0.05)
    return status


@pytest.mark.every_database
def test_one_purchase_claimed_by_eight_accounts_at_once_belongs_to_one(life):
    subscription = life.store.buy("premium.monthly", None)
    people = [life.world.person(card=None) for _ in range(8)]
    for person in people:
        person.sign_in()
    statuses, barrier = [], threading.Barrier(len(people))

    def claim(person):
        barrier.wait()
        statuses.append(claim_at_last(life, subscription, person))

    threads = [threading.Thread(target=claim, args=(person,)) for person in people]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(statuses) == [201] + [409] * 7
    assert [life.read_access(person)[1] for person in people].count("premium") == 1


@pytest.mark.every_database
def test_two_purchases_claimed_at_once_leave_no_third_source(life):
    life.ann.add_card()
    life.ann.subscribe(life.price("basic"))
    purchases = [life.store.buy("premium.monthly", life.account()) for _ in range(6)]
    statuses, barrier = [], threading.Barrier(len(purchases))

    def claim(subscription):
        barrier.wait()
        statuses.append(claim_at_last(life, subscription))

    threads = [threading.Thread(target=claim, args=(each,)) for each in purchases]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(statuses) == [201] + [409] * 5
    assert len(life.sources()) == 2


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


def test_the_report_shows_gross_commission_and_net_apart_from_our_books(life):
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.deliver(subscription.refund(index=0))
    life.subscribe_on_play("standard")
    report = life.world.operator.get("/v1/admin/reports/store-revenue").json["stores"]
    rows = {(row["period"], row["source"]): row for row in report}
    names = ("gross_minor", "refunded_minor", "commission_minor", "net_minor")
    assert {key: tuple(row[name] for name in names) for key, row in rows.items()} == {
        ("2026-01", "app_store"): (999, 0, 300, 699),
        ("2026-02", "app_store"): (999, 999, 0, 0),
        ("2026-02", "play_store"): (799, 0, 120, 679),
    }
    table = life.world.operator.get("/v1/admin/reports/store-revenue?format=csv").get_data(as_text=True)
    assert table.startswith("table,period,currency,source,plan,payments")
    assert life.world.operator.get("/v1/admin/reports/revenue").json["revenue"] == []


def test_payments_and_subscriptions_are_exported_without_purchase_tokens(life):
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.deliver(subscription.refund(index=0))
    purchase = life.subscribe_on_play("standard")

    def export(name):
        text = life.world.operator.get(f"/v1/admin/exports/{name}.ndjson").text
        assert purchase.token not in text
        return [json.loads(line) for line in text.splitlines()]

    payments = export("store-payments")
    names = ("source", "amount_minor", "refunded_minor", "commission_minor", "net_minor")
    assert [tuple(row[name] for name in names) for row in payments] == [
        ("app_store", 999, 999, 0, 0),
        ("app_store", 999, 0, 300, 699),
        ("play_store", 799, 0, 120, 679),
    ]
    assert {row["account_id"] for row in payments} == {life.ann.id}
    subscriptions = export("store-subscriptions")
    assert [(row["source"], row["status"]) for row in subscriptions] == [
        ("app_store", "active"),
        ("play_store", "active"),
    ]
    assert "key" not in subscriptions[0]
    assert life.ann.get("/v1/admin/exports/store-payments.ndjson").status_code == 401


def test_a_long_export_has_every_payment_once(life, monkeypatch):
    monkeypatch.setattr(exports, "CHUNK_SIZE", 1)
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.subscribe_on_play("standard")
    text = life.world.operator.get("/v1/admin/exports/store-payments.ndjson").text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["source"], row["purchased_at"][:10]) for row in rows] == [
        ("app_store", "2026-01-15"),
        ("app_store", "2026-02-14"),
        ("play_store", "2026-02-14"),
    ]


def test_the_commission_is_lower_after_a_year(life):
    subscription = life.subscribe("premium.monthly")
    for _ in range(13):
        life.clock.at = subscription.expires
        subscription.renew()
    life.wait(minutes=5)
    query = "?from=2026-01-01&to=2027-03-01"
    report = life.world.operator.get(f"/v1/admin/reports/store-revenue{query}").json["stores"]
    assert sum(row["payments"] for row in report) == 14
    assert (report[0]["commission_minor"], report[-1]["commission_minor"]) == (300, 150)


def populate_stores(life):
    """A web subscription, three of app stores of which one ended, one test purchase, and one that was never paid."""
    life.use(store_test_accounts=(life.ann.id,))
    life.ann.add_card()
    assert life.ann.subscribe(life.price("basic")).status_code == 201
    test_purchase = life.play.buy("basic", life.account(), test=True)
    assert PlayStoreLife.claim(life, test_purchase).status_code == 201
    bea, cara, dora, eve = (life.world.person(card=None) for _ in range(4))
    life.claim(life.store.buy("premium.monthly", life.account(bea)), bea)
    life.subscribe_on_play("standard", cara)
    ended = life.store.buy("basic.monthly", life.account(dora))
    life.claim(ended, dora)
    life.deliver(ended.cancel())
    life.go_to(ended.expires + HOUR)
    life.deliver(ended.expire())
    assert PlayStoreLife.claim(life, life.play.buy("basic", life.account(eve), pending=True), eve).status_code == 201
    return ended


def test_the_overview_and_the_metrics_count_subscriptions_by_source_without_test_purchases(life):
    populate_stores(life)
    counts = count_subscriptions_of(life)
    assert counts == {
        "sandbox": {"active": 1},
        "app_store": {"active": 1, "canceled": 1},
        "play_store": {"active": 1, "incomplete": 1},
    }
    figures = new_operator(life.world.app, "billing").get("/v1/admin/overview").json
    assert figures["subscriptions_by_source"] == counts
    assert figures["subscriptions"] == {"active": 3, "canceled": 1, "incomplete": 1}


def count_subscriptions_of(life):
    """The counts by source of the metrics; those by status are their sums."""
    with life.world.app.app_context():
        metrics = {metric.name: metric for metric in DatabaseCollector().collect()}
    totals, counts = Counter(), defaultdict(dict)
    for sample in metrics["streamsvc_source_subscriptions"].samples:
        counts[sample.labels["source"]][sample.labels["status"]] = sample.value
        totals[sample.labels["status"]] += sample.value
    by_status = {each.labels["status"]: each.value for each in metrics["streamsvc_subscriptions"].samples}
    assert by_status == totals
    return counts


def test_the_retention_report_counts_what_the_stores_bill_apart_from_our_subscribers(life):
    ended = populate_stores(life)
    assert (ended.transactions[0]["starts"].date().isoformat(), ended.expires.date().isoformat()) == (
        "2026-01-15",
        "2026-02-14",
    )

    def count_rows(query):
        report = life.world.operator.get(f"/v1/admin/reports/retention?{query}").json
        names = ("period", "source", "opening", "started", "ended", "closing")
        return [tuple(row[name] for name in names) for row in report["stores"]], report

    rows, report = count_rows("from=2026-01-01&to=2026-03-01")
    assert rows == [
        ("2026-01", "app_store", 0, 2, 0, 2),
        ("2026-01", "play_store", 0, 1, 0, 1),
        ("2026-02", "app_store", 2, 0, 1, 1),
        ("2026-02", "play_store", 1, 0, 0, 1),
    ]
    assert [(row["new"], row["closing"]) for row in report["subscribers"]] == [(1, 1), (0, 1)]
    days, _ = count_rows("from=2026-02-14&to=2026-02-16&interval=day")
    assert [row for row in days if row[1] == "app_store"] == [
        ("2026-02-14", "app_store", 2, 0, 1, 1),
        ("2026-02-15", "app_store", 1, 0, 0, 1),
    ]
    table = life.world.operator.get("/v1/admin/reports/retention?from=2026-01-01&to=2026-03-01&format=csv").text
    assert "stores,2026-02,2,,,,,,1,,1,,,,,app_store,0" in table.splitlines()


def test_what_the_stores_bill_is_in_no_mrr(life):
    life.subscribe("premium.monthly")
    assert life.world.operator.get("/v1/admin/reports/revenue").json["mrr"] == []
    assert {row["new"] for row in life.world.operator.get("/v1/admin/reports/retention").json["subscribers"]} == {0}


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


def read_mails(life, who):
    """The mails about moved purchases to this account, after the worker has sent them."""
    life.tick()
    address = who.get("/v1/account").json["email"]
    items = life.world.operator.get(f"/v1/sandbox/emails?to={address}").json["items"]
    return [mail for mail in items if mail["kind"] == "purchase_moved"]


def test_the_former_holder_of_a_restored_purchase_gets_a_mail(life):
    life.use(store_restore="move")
    subscription, bea = life.subscribe("premium.monthly"), life.world.person(card=None)
    assert life.claim(subscription, bea).status_code == 201
    [mail] = read_mails(life, life.ann)
    assert mail["subject"] == "Your subscription to Premium moved to another account"
    assert "the App Store bills" in mail["text"] and "somebody with access to the purchase" in mail["text"]
    assert life.claim(subscription, bea).status_code == 201
    assert (len(read_mails(life, life.ann)), read_mails(life, bea)) == (1, [])


def test_the_former_holder_of_a_purchase_that_support_transferred_gets_a_mail(life):
    bea = life.world.person(card=None)
    life.subscribe_on_play("premium")
    path = f"/v1/admin/subscriptions/{life.subscription()['id']}/transfer"
    assert life.world.operator.post(path, {"account_id": bea.id}).status_code == 200
    [mail] = read_mails(life, life.ann)
    assert "Google Play bills" in mail["text"] and "our support transferred it" in mail["text"]
    assert "If it renews, Google Play goes on charging" in mail["text"]
    assert read_mails(life, bea) == []


def test_no_mail_is_sent_about_a_purchase_that_is_refused_or_whose_account_is_closed(life):
    subscription, bea = life.subscribe("premium.monthly"), life.world.person(card=None)
    assert life.claim(subscription, bea).status_code == 409
    assert read_mails(life, life.ann) == []
    assert life.ann.delete("/v1/account").status_code in (202, 204)
    assert life.claim(subscription, bea).status_code == 201
    life.tick()
    mails = life.world.operator.get("/v1/sandbox/emails?limit=100").json["items"]
    assert "purchase_moved" not in {mail["kind"] for mail in mails}


def test_a_manual_subscription_says_so(life):
    life.ann.add_card()
    body = {"account_id": life.ann.id, "price_id": life.price("basic"), "paid_through": "2026-06-01"}
    assert life.world.operator.post("/v1/admin/subscriptions", body).json["source"] == "manual"
    assert life.sources() == ["manual"]


def test_the_explanation_knows_the_stores(life):
    life.subscribe("premium.monthly")
    facts = life.world.operator.post("/v1/admin/explain", {"account_id": life.ann.id, "item_id": "ttl_none"}).json
    assert facts["facts"]["plan"] == "premium"


def test_the_list_of_subscriptions_has_both_kinds_in_order(life):
    life.subscribe("basic.monthly")
    life.ann.add_card()
    life.ann.subscribe(life.price("premium"))
    first = life.ann.get("/v1/subscriptions?limit=1&include_total=true").json
    second = life.ann.get(f"/v1/subscriptions?limit=1&cursor={first['next_cursor']}").json
    assert ([each["source"] for each in first["items"] + second["items"]], first["total"], second["next_cursor"]) == (
        ["sandbox", "app_store"],
        2,
        None,
    )
