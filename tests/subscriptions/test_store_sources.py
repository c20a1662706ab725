"""One entitlement from several sources: the web, two app stores, gifts; and one trial."""

import pytest

from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds.store_lives import DAY


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
