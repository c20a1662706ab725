"""Gifts that viewers buy: the code comes with the money, is mailed on its day, and goes when the money goes."""

import threading

import pytest
import sqlalchemy as sa

from streamsvc.models import Job, SandboxEmail
from streamsvc.models.subscriptions import GiftCode
from streamsvc.operations.accounts.personal_data import erase_personal_data
from streamsvc.operations.billing.gifts import delivery
from streamsvc.schemas.subscriptions.gifts import MailedText
from streamsvc.storage.database import db
from tests.worlds.billing_world import World

FRIEND = "friend@example.org"


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("premium", 1000)


def buy(person, price=None, key=None, **body):
    what = {"price_id": price, "periods": 3} if price else {"currency": "USD", "amount_minor": 2500}
    return person.post("/v1/gift-purchases", what | body, key=key)


def view(person, purchase):
    return person.get(f"/v1/gift-purchases/{purchase['id']}").json


def redeem(person, code):
    return person.post("/v1/gift-redemptions", {"code": code})


def refund(world, purchase, **body):
    return world.operator.post(f"/v1/admin/invoices/{purchase['invoice_id']}/refunds", body)


def payment_id(person):
    return person.invoices()[-1]["payments"][-1]["id"]


def dispute(world, person, **body):
    response = world.operator.post(f"/v1/sandbox/payments/{payment_id(person)}/dispute", body)
    assert response.status_code == 200, response.json


def mails(world, to, *kinds):
    with world.app.app_context():
        sent = db.session.scalars(sa.select(SandboxEmail).where(SandboxEmail.to == to).order_by(SandboxEmail.sent_at))
        return [mail for mail in sent if not kinds or mail.kind in kinds]


def code_of(response):
    return response.status_code, response.json["code"]


def test_a_gift_of_a_plan_is_paid_for_mailed_and_redeemed(world, price, monkeypatch):
    settings = world.app.extensions["settings"].replace(service_name="Example Video")
    monkeypatch.setitem(world.app.extensions, "settings", settings)
    ann, bob, eva = world.person(), world.person(card=None), world.person()
    eva.subscribe(price)
    bought = buy(ann, price, recipient_email=FRIEND, recipient_name="Bob", sender_name="Ann", message="Happy birthday!")
    assert bought.status_code == 201, bought.json
    gift = bought.json
    assert (gift["state"], gift["amount_minor"], gift["deliver_on"]) == ("scheduled", 3000, "2026-01-15")
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["reason"], invoice["total_minor"]) == ("paid", "gift", 3000)
    assert invoice["number"] and invoice["lines"][0]["description"] == "Gift: 3 × Premium"
    world.go_to(world.clock.at)
    [mail] = mails(world, FRIEND)
    assert mail.subject == "Ann has sent you a gift for Example Video"
    assert gift["code"] in mail.text and "“Happy birthday!”" in mail.text and "Premium on Example Video" in mail.text
    assert f"\n\n{settings.public_url}/#/gift?code={gift['code']}\n\n" in mail.text
    assert view(ann, gift)["state"] == "delivered"
    assert redeem(bob, gift["code"]).json["subscription_id"]
    assert bob.subscription()["cancel_at"] == "2026-04-15"
    seen = ann.get("/v1/gift-purchases").json["items"]
    assert [(item["state"], item["redeemed_at"] is not None) for item in seen] == [("redeemed", True)]
    assert bob.id not in str(seen)
    assert code_of(eva.get(f"/v1/gift-purchases/{gift['id']}")) == (404, "not_found")
    assert eva.get("/v1/gift-purchases").json["items"] == [] and len(eva.invoices()) == 1
    assert (world.charges(), world.differences()) == ([1000, 3000], [])


def test_gift_credit_is_not_taxed_before_it_is_spent_but_a_plan_is(world, price):
    world.operator.put("/v1/admin/tax-rates/US", {"percent": 10, "name": "Tax"})
    ann, bob = world.person(), world.person()
    credit, plan = buy(ann).json, buy(ann, price, periods=1).json
    assert [(i["tax_minor"], i["total_minor"]) for i in ann.invoices()] == [(0, 2500), (100, 1100)]
    assert redeem(bob, credit["code"]).json["amount_minor"] == 2500
    bob.subscribe(price)
    assert (bob.invoices()[0]["tax_minor"], bob.balances()) == (100, [{"currency": "USD", "amount_minor": 1400}])
    assert (plan["amount_minor"], world.differences()) == (1000, [])


def test_a_code_that_cannot_be_redeemed_says_why(world, price):
    ann, bob = world.person(), world.person(card=None)
    used, revoked = buy(ann, price).json, buy(ann, price).json
    assert (redeem(bob, used["code"]).status_code, refund(world, revoked).status_code) == (201, 201)
    body = {"amount_minor": 500, "currency": "USD", "expires_at": "2026-01-15T13:00:00Z"}
    expired = world.operator.post("/v1/admin/gift-codes", body).json["code"]
    world.go_to("2026-01-15T13:00:00+00:00")
    codes = {"unknown": "BCDF-GHJK-LMNP-QRST", "redeemed": used["code"], "revoked": revoked["code"], "expired": expired}
    for reason, code in codes.items():
        refused = redeem(ann, code)
        assert (*code_of(refused), refused.json["reason"]) == (422, "gift_code_invalid", reason)
    refused = ann.subscribe(price, gift_code=buy(ann, price).json["code"])
    assert (*code_of(refused), refused.json["reason"]) == (422, "gift_code_invalid", "for_a_plan")


def test_without_a_recipient_the_buyer_gets_the_code(world, price):
    ann = world.person()
    gift = buy(ann).json
    world.go_to(world.clock.at)
    email = ann.get("/v1/account").json["email"]
    [mail] = mails(world, email, "gift_bought")
    assert gift["code"] in mail.text and "25.00 USD" in mail.text


def test_the_code_exists_once_the_money_is_there(world, price):
    ann = world.person(card="pm_card_authenticationRequired")
    waiting = buy(ann, recipient_email=FRIEND)
    assert code_of(waiting) == (402, "authentication_required")
    [gift] = ann.get("/v1/gift-purchases").json["items"]
    assert (gift["state"], gift["code"]) == ("awaiting_payment", None)
    assert world.differences() == []
    path = f"/v1/sandbox/payments/{waiting.json['payment_id']}/authentication"
    assert world.operator.post(path, {"approve": True}).status_code == 200
    assert (view(ann, gift)["state"], view(ann, gift)["code"] is not None) == ("scheduled", True)
    again = buy(ann)
    path = f"/v1/sandbox/payments/{again.json['payment_id']}/authentication"
    assert world.operator.post(path, {"approve": False}).status_code == 200
    states = [(item["state"], item["code"] is None) for item in ann.get("/v1/gift-purchases").json["items"]]
    assert states == [("canceled", True), ("scheduled", False)]
    assert ann.get("/v1/invoices").json["items"][0]["status"] == "void"
    abandoned = buy(ann).json
    world.go_to("2026-01-17")
    assert [item["state"] for item in ann.get("/v1/gift-purchases").json["items"]] == [
        *("canceled", "canceled"),
        "delivered",
    ]
    assert abandoned["code"] == "authentication_required"
    assert (world.charges(), world.differences()) == ([2500], [])


def test_a_declined_gift_is_neither_bought_nor_owed(world, price):
    ann, bob = world.person(card="pm_card_chargeDeclined"), world.person(card=None)
    assert code_of(buy(ann, price)) == (402, "payment_failed")
    refused = buy(bob, price)
    assert code_of(refused) == (402, "payment_method_required") and "declined" not in refused.json["detail"]
    assert [item["state"] for item in ann.get("/v1/gift-purchases").json["items"]] == ["canceled"]
    assert [(i["status"], i["number"]) for i in ann.invoices()] == [("void", None)]
    world.go_to("2026-02-20")
    assert (world.charges(), bob.invoices(), world.differences()) == ([], [], [])
    with world.app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(GiftCode)) == 0


@pytest.mark.parametrize("planned", ["timeout", "error", "partial"])
def test_an_unknown_outcome_sells_the_gift_once_or_not_at_all(world, price, planned):
    ann = world.person()
    world.next_charge(planned)
    bought = buy(ann, price, key="one key")
    world.go_to("2026-01-16")
    [gift] = ann.get("/v1/gift-purchases").json["items"]
    if planned == "partial":
        assert (code_of(bought), gift["state"]) == ((402, "payment_failed"), "canceled")
        assert ann.balances() == [{"currency": "USD", "amount_minor": 1500}]
    else:
        assert (bought.status_code, gift["state"], world.charges()) == (201, "delivered", [3000])
        assert buy(ann, price, key="one key").headers["Idempotency-Replayed"] == "true"
    assert len(ann.get("/v1/gift-purchases").json["items"]) == 1
    assert world.differences() == []


def test_account_credit_that_was_given_away_does_not_become_a_gift(world, price):
    ann = world.person()
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 5000, "currency": "USD"})
    assert buy(ann, price).status_code == 201
    assert (world.charges(), ann.balances()) == ([3000], [{"currency": "USD", "amount_minor": 5000}])


def test_what_is_sold_as_a_gift_has_limits(world, price):
    ann = world.person()
    addon = world.plan("sport", 400)
    world.operator.put(
        "/v1/admin/plans/extra",
        {"name": "X", "addon": True, "prices": [{"currency": "USD", "amount_minor": 400, "tax": "exclusive"}]},
    )
    euros = world.plan("euros", 900, currency="EUR", countries=["DE"])

    def errors(**body):
        response = ann.post("/v1/gift-purchases", body)
        return response.status_code, sorted(response.json.get("errors", {}))

    assert errors(currency="USD", amount_minor=499) == (422, ["amount_minor"])
    assert errors(currency="USD", amount_minor=20001) == (422, ["amount_minor"])
    assert errors(currency="GBP", amount_minor=2500) == (422, ["currency"])  # nothing costs pounds
    assert errors(currency="JPY", amount_minor=2500) == (422, ["currency"])
    assert errors(price_id=euros, periods=1) == errors(price_id="pri_x", periods=1) == (422, ["price_id"])
    assert errors(price_id=price) == (422, ["periods"])
    assert errors(price_id=price, periods=1, currency="USD", amount_minor=5) == (422, ["amount_minor", "currency"])
    assert errors(price_id=price, periods=37) == (422, ["periods"])
    for day in ("2026-01-14", "2027-01-16"):
        assert errors(price_id=price, periods=1, deliver_on=day) == (422, ["deliver_on"])
    for words in ("two\nlines", "a\u202eb", "bell\x07", "see https://evil.example", "WWW.evil.example", "x" * 501):
        assert errors(price_id=price, periods=1, message=words) == (422, ["message"]), words
    for link in (
        "see evil.com",
        "evil。com",
        "www．evil．com",
        "bit․ly",
        "ｈｔｔｐ：／／x",
        "a@evil.example",
        "evil｡com",
        "evilꓸcom",
    ):
        assert errors(price_id=price, periods=1, message=link) == (422, ["message"]), link
    words = "For Dr. Lee, e.g. at 3.50 p.m.… Enjoy! 誕生日おめでとう。楽しんでね。 Una col·lecció"
    assert MailedText().deserialize(words) == words
    assert errors(price_id=price, periods=1, recipient_name="http://x") == (422, ["recipient_name"])
    assert errors(price_id=price, periods=1, recipient_email="a@b.example, c@d.example") == (422, ["recipient_email"])
    world.plan("premium", 1500)
    assert errors(price_id=price, periods=1) == (422, ["price_id"])
    assert (world.charges(), ann.invoices(), addon != price) == ([], [], True)


def test_the_mail_goes_out_on_its_day_in_the_zone_of_the_buyer(world, price):
    ann, bob = world.person(zone="Pacific/Auckland"), world.person()  # 13 hours ahead
    gift = buy(ann, price, recipient_email=FRIEND, deliver_on="2026-02-14").json
    path = f"/v1/gift-purchases/{gift['id']}"
    assert code_of(bob.patch(path, {"message": "mine now"})) == (404, "not_found")
    assert code_of(ann.post(f"{path}/deliveries")) == (409, "gift_not_deliverable")
    changed = ann.patch(path, {"recipient_email": "other@example.org", "deliver_on": "2026-03-01", "message": "Hi"})
    assert (changed.status_code, changed.json["deliver_on"]) == (200, "2026-03-01")
    assert ann.patch(path, {"deliver_on": "2026-01-01"}).status_code == 422
    world.go_to("2026-02-28")
    assert mails(world, FRIEND) == mails(world, "other@example.org") == []
    assert view(ann, gift)["state"] == "scheduled"
    world.go_to(world.clock.at.replace(hour=10, minute=59))
    assert mails(world, "other@example.org") == []
    world.go_to(world.clock.at.replace(hour=11, minute=0))
    assert len(mails(world, "other@example.org")) == 1 and view(ann, gift)["state"] == "delivered"
    assert code_of(ann.patch(path, {"message": "Too late"})) == (409, "gift_already_delivered")
    for _ in range(2):
        assert ann.post(f"{path}/deliveries").status_code == 201
    assert code_of(ann.post(f"{path}/deliveries")) == (409, "gift_not_deliverable")
    world.go_to("2026-03-02")
    assert (len(mails(world, "other@example.org")), view(ann, gift)["deliveries"]) == (3, 3)
    assert mails(world, FRIEND) == []


def test_a_refund_revokes_the_code_and_a_redeemed_gift_is_not_refunded(world, price):
    ann, bob = world.person(), world.person(card=None)
    gift, kept = buy(ann, price, recipient_email=FRIEND, deliver_on="2026-02-01").json, buy(ann, price).json
    assert refund(world, gift, amount_minor=100).status_code == 422
    assert refund(world, gift, credit_note=False).status_code == 422
    assert refund(world, gift, reason="asked for").status_code == 201
    assert view(ann, gift)["state"] == "refunded"
    assert code_of(redeem(bob, gift["code"])) == (422, "gift_code_invalid")
    world.go_to("2026-02-02")
    assert mails(world, FRIEND) == []
    assert redeem(bob, kept["code"]).status_code == 201
    assert code_of(refund(world, kept)) == (409, "gift_already_redeemed")
    note = {"amount_minor": 3000, "refund": True}
    path = f"/v1/admin/invoices/{kept['invoice_id']}/credit-notes"
    assert code_of(world.operator.post(path, note)) == (409, "gift_already_redeemed")
    assert world.operator.post(path, {"amount_minor": 500}).status_code == 201
    assert (ann.balances(), view(ann, kept)["state"]) == ([{"currency": "USD", "amount_minor": 500}], "redeemed")
    assert (world.charges(kind="refund"), world.differences()) == ([3000], [])


def test_a_credit_note_on_an_unused_gift_takes_the_code_back(world, price):
    ann = world.person()
    gift = buy(ann, price).json
    path = f"/v1/admin/invoices/{gift['invoice_id']}/credit-notes"
    assert world.operator.post(path, {"amount_minor": 500}).status_code == 422
    assert world.operator.post(path, {}).status_code == 201
    assert (view(ann, gift)["state"], ann.balances()) == ("refunded", [{"currency": "USD", "amount_minor": 3000}])
    assert world.differences() == []


@pytest.mark.parametrize("amount_minor", [None, 1000])
def test_a_chargeback_revokes_an_unused_code_and_leaves_no_debt(world, price, amount_minor):
    ann, bob = world.person(), world.person(card=None)
    gift = buy(ann, price).json
    dispute(world, ann, **({"amount_minor": amount_minor} if amount_minor else {}))
    rest = [{"currency": "USD", "amount_minor": 3000 - amount_minor}] if amount_minor else []
    assert (view(ann, gift)["state"], ann.balances()) == ("revoked", rest)
    assert code_of(redeem(bob, gift["code"])) == (422, "gift_code_invalid")
    assert (ann.invoices()[0]["status"], world.differences()) == ("paid", [])
    world.operator.delete(f"/v1/sandbox/payments/{payment_id(ann)}/dispute")
    assert ann.balances() == [{"currency": "USD", "amount_minor": 3000}]
    assert (view(ann, gift)["state"], world.differences()) == ("revoked", [])


def test_who_redeems_with_a_second_account_and_charges_back_still_owes(world, price):
    ann, second = world.person(card="pm_card_visa:1"), world.person(card=None)
    gift = buy(ann, price).json
    assert redeem(second, gift["code"]).status_code == 201
    dispute(world, ann)
    [invoice] = ann.invoices()
    assert (invoice["status"], view(ann, gift)["state"]) == ("open", "redeemed")
    world.go_to("2026-01-30")
    assert code_of(buy(ann, price)) == (409, "payment_overdue")
    assert code_of(ann.subscribe(price)) == (409, "payment_overdue")
    assert (second.subscription()["status"], second.invoices()) == ("active", [])
    assert world.differences() == []


@pytest.mark.every_database
@pytest.mark.parametrize("_", range(3))
def test_a_refund_and_a_redemption_at_once_exclude_each_other(world, price, _):
    ann, bob = world.person(), world.person(card=None)
    gift, statuses = buy(ann).json, {}
    bob.headers()
    steps = {"refund": lambda: refund(world, gift), "redeem": lambda: redeem(bob, gift["code"])}
    threads = [
        threading.Thread(target=lambda name=name, step=step: statuses.update({name: step().status_code}))
        for name, step in steps.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses.values()) in ([201, 409], [201, 422]), statuses
    assert (statuses["redeem"] == 201) == (view(ann, gift)["state"] == "redeemed")
    assert world.differences() == []


def test_gifts_expire_only_if_a_setting_says_so(world, price):
    ann, bob = world.person(), world.person(card=None)
    assert buy(ann, price).json["expires_at"] is None
    settings = world.app.extensions["settings"]
    world.app.extensions["settings"] = settings.replace(gift_expiry_months=1)
    try:
        gift = buy(ann, price, deliver_on="2026-01-31").json
        assert gift["expires_at"] == "2026-02-28T00:00:00Z"  # a month from its delivery
        world.go_to("2026-02-28")
        assert code_of(redeem(bob, gift["code"])) == (422, "gift_code_invalid")
        assert view(ann, gift)["state"] == "expired"
        assert refund(world, gift).status_code == 201  # the money can be given back nevertheless
        assert view(ann, gift)["state"] == "refunded"
    finally:
        world.app.extensions["settings"] = settings


def test_mails_to_strangers_and_codes_that_are_tried_are_limited(world, price, monkeypatch):
    ann, bob, eva = world.person(), world.person(), world.person()
    for _ in range(5):
        assert buy(ann, recipient_email=FRIEND).status_code == 201
    assert code_of(buy(ann, recipient_email=FRIEND.upper())) == (429, "too_many_attempts")
    assert code_of(buy(bob, recipient_email=FRIEND)) == (429, "too_many_attempts")
    gift = buy(bob).json
    refused = bob.patch(f"/v1/gift-purchases/{gift['id']}", {"recipient_email": FRIEND})
    assert code_of(refused) == (429, "too_many_attempts")
    assert len(world.charges()) == 6
    for _ in range(20):
        assert code_of(redeem(eva, "BCDF-GHJK-LMNP-QRST")) == (422, "gift_code_invalid")
    assert code_of(redeem(eva, gift["code"])) == (429, "too_many_attempts")
    for path, body in (("subscriptions", {"price_id": price}), ("invoice-previews", {"price_id": price})):
        tried = eva.post(f"/v1/{path}", body | {"gift_code": gift["code"]})
        assert code_of(tried) == (429, "too_many_attempts"), path
    assert redeem(bob, gift["code"]).status_code == 201


@pytest.mark.every_database
def test_before_an_account_is_erased_its_gifts_are_delivered_and_their_recipients_forgotten(world, price):
    ann, bob = world.person(), world.person()
    gift = buy(ann, price, recipient_email=FRIEND, message="From me", deliver_on="2026-06-01").json
    buy(bob, price, recipient_email="kept@example.org", deliver_on="2026-06-01")
    with world.app.app_context():
        delivery.deliver_scheduled_gifts(ann.id, world.clock.at)
        erase_personal_data(ann.id, None, world.clock.at)
        db.session.commit()
    assert view(ann, gift)["recipient_email"] is None
    world.go_to("2026-01-16")
    [mail] = mails(world, FRIEND)
    assert gift["code"] in mail.text and "From me" in mail.text
    assert mails(world, "kept@example.org") == []
    with world.app.app_context():
        done = db.session.scalars(sa.select(Job.payload).where(Job.kind == "gift.mail")).all()
        assert FRIEND not in str(done)
