"""Starts on the web of customers who have store subscriptions, of whose end the service may not know yet."""

from datetime import UTC, datetime

import pytest

from tests.subscriptions.both_stores import transfer_a_purchase_by_an_operator, transfer_by_an_operator
from tests.worlds.store_lives import DAY


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
