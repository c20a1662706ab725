"""Who may have a purchase: claims, restores, transfers by support, imports."""

import json
import threading
import time

import pytest

from streamsvc.cli.billing import billing
from streamsvc.models.subscriptions import ProviderEvent, StorePurchase, StoreSubscription, StoreTransaction
from streamsvc.storage.database import db
from tests.subscriptions.both_stores import transfer_a_purchase_by_an_operator, transfer_by_an_operator
from tests.worlds.store_lives import iso


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
