"""Add-ons as items: quantity, own trial, own end, plans that include them, and what they add to the entitlements."""

import pytest

from tests.worlds.billing_world import FEATURES, World


@pytest.fixture
def world(app):
    """A world at noon of 1 April, a month of thirty days, with a plan for 30.00. Every test ends with an audit."""
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    world.base = world.plan("base", 3000)
    yield world
    assert world.differences() == []


def put_plan(world, code, amount, trial_days=0, interval="month", **members):
    """Create a plan with one price and return its id."""
    price = {"currency": "USD", "amount_minor": amount, "tax": "exclusive", "interval": interval}
    body = {"name": code.title(), "features": FEATURES, "prices": [{**price, "trial_days": trial_days}], **members}
    response = world.operator.put(f"/v1/admin/plans/{code}", body)
    assert response.status_code == 200, response.json
    return response.json["prices"][0]["id"]


def put_pack(world, amount=300, **members):
    """Create an add-on that allows one more stream per unit: 3.00, 10 cents a day in April."""
    return put_plan(world, "pack", amount, addon=True, addon_features={"max_streams": 1}, **members)


def subscriber(world, *addons, price=None, **more):
    person = world.person(**more)
    response = person.subscribe(price or world.base, addon_items=list(addons))
    assert response.status_code == 201, response.json
    return person


def path(person, what):
    return f"/v1/subscriptions/{person.subscription()['id']}/{what}"


def patch_addon(person, body, code="pack"):
    return person.client.patch(path(person, f"addons/{code}"), json=body, headers=person.headers())


def preview(person, **body):
    response = person.post("/v1/invoice-previews", {"subscription_id": person.subscription()["id"], **body})
    assert response.status_code == 200, response.json
    return response.json


def item(person, code="pack"):
    return next((item for item in person.subscription()["items"] if item["code"] == code), None)


def lines_of(person, code="Pack"):
    """Return (kind, start, units, amount) of the lines of an add-on."""
    return [
        (line["kind"], line["period"]["start"], line["quantity"], line["amount_minor"])
        for invoice in person.invoices()
        for line in invoice["lines"]
        if code in line["description"] and line["period"]
    ]


def remove_cards(person):
    for method in person.get("/v1/payment-methods").json["items"]:
        person.delete(f"/v1/payment-methods/{method['id']}")


def max_streams(person):
    return person.get("/v1/sessions/current").json["entitlements"]["max_streams"]


def test_an_addon_is_sold_in_units(world):
    """Three units from the 16th: half of 9.00; a fourth on the 21st: a third of 3.00."""
    pack = put_pack(world)
    ann, bob = subscriber(world), subscriber(world, {"price_id": pack})
    world.go_to("2026-04-16T12:00:00")
    assert preview(ann, add_addon=pack, quantity=3)["total_minor"] == 450
    added = ann.post(path(ann, "addons"), {"price_id": pack, "quantity": 3})
    assert (added.status_code, added.json["addons"][0]["quantity"]) == (201, 3)
    assert ann.invoices()[-1]["lines"][0]["description"] == "3 × Pack, 15 of 30 days"
    world.go_to("2026-04-21T12:00:00")
    more = preview(ann, change_addon="pack", quantity=4)
    assert (more["total_minor"], more["next_renewal"]["total_minor"]) == (100, 3000 + 1200)
    assert patch_addon(ann, {"quantity": 4}).json["items"][1]["quantity"] == 4
    world.go_to("2026-05-02T12:00:00")
    assert lines_of(ann) == [
        ("charge", "2026-04-16", 3, 450),
        ("charge", "2026-04-21", 1, 100),
        ("charge", "2026-05-01", 4, 1200),
    ]
    assert lines_of(bob) == [("charge", "2026-04-01", 1, 300), ("charge", "2026-05-01", 1, 300)]


def test_fewer_units_are_credited_from_tomorrow_on(world):
    pack = put_pack(world)
    ann = subscriber(world, {"price_id": pack, "quantity": 3})
    world.go_to("2026-04-20T12:00:00")
    assert preview(ann, change_addon="pack", quantity=1)["total_minor"] == -200
    assert patch_addon(ann, {"quantity": 1}).status_code == 200
    assert ann.balances() == [{"currency": "USD", "amount_minor": 200}]
    assert max_streams(ann) == 5  # today counts as used
    world.go_to("2026-04-21T00:00:00")
    assert max_streams(ann) == 3
    assert patch_addon(ann, {"quantity": 1}).status_code == 200  # as before: nothing to do
    world.go_to("2026-05-02T12:00:00")
    assert ann.invoices()[-1]["amount_due_minor"] == 3000 + 300 - 200
    assert len(ann.invoices()) == 3


def test_units_that_are_not_paid_for_are_not_added(world):
    ann = subscriber(world, {"price_id": put_pack(world)})
    world.next_charge("decline")
    assert patch_addon(ann, {"quantity": 5}).json["code"] == "payment_failed"
    assert (item(ann)["quantity"], max_streams(ann)) == (1, 3)


def test_a_change_needs_a_quantity_or_an_end_and_an_addon(world):
    ann, bob = subscriber(world, {"price_id": put_pack(world)}), subscriber(world)
    for body in ({}, {"quantity": 0}, {"quantity": 1001}, {"quantity": None}, {"ends_at": "2026-04-01"}):
        assert patch_addon(ann, body).status_code == 422, body
    assert patch_addon(bob, {"quantity": 2}).status_code == 404
    headers = bob.headers()
    assert bob.client.patch(path(ann, "addons/pack"), json={"quantity": 2}, headers=headers).status_code == 404
    assert bob.client.patch(path(bob, "addons/base"), json={"quantity": 2}, headers=headers).status_code == 404
    assert item(ann)["quantity"] == 1


def test_an_addon_has_a_trial_of_its_own(world):
    """Ten days from the 11th, then the rest of April for a third of 3.00."""
    pack = put_pack(world, trial_days=10)
    ann = subscriber(world)
    world.go_to("2026-04-11T12:00:00")
    first = preview(ann, add_addon=pack)
    assert (first["total_minor"], first["next_renewal"]) == (
        0,
        {"date": "2026-04-21", "total_minor": 100, "amount_due_minor": 100},
    )
    assert ann.post(path(ann, "addons"), {"price_id": pack}).status_code == 201
    assert (item(ann)["trial_end"], max_streams(ann), world.charges()) == ("2026-04-21", 3, [3000])
    world.go_to("2026-04-22T12:00:00")
    assert world.charges() == [3000, 100]
    assert ann.get("/v1/subscriptions").json["items"][0]["status"] == "active"
    world.go_to("2026-05-02T12:00:00")
    assert lines_of(ann) == [
        ("trial", "2026-04-11", 1, 0),
        ("charge", "2026-04-21", 1, 100),
        ("charge", "2026-05-01", 1, 300),
    ]


def test_a_household_has_one_trial_of_each_addon(world):
    pack, sports = put_pack(world, trial_days=10), put_plan(world, "sports", 600, trial_days=5)
    ann, cat = (world.person(card="pm_card_visa:family") for _ in range(2))
    for person in (ann, cat):
        assert person.subscribe(world.base, addon_items=[{"price_id": pack}]).status_code == 201
    assert (item(ann)["trial_end"], item(cat)["trial_end"]) == ("2026-04-11", None)
    ann.delete(path(ann, "addons/pack"))
    world.go_to("2026-04-11T12:00:00")
    assert ann.post(path(ann, "addons"), {"price_id": pack}).json["items"][1]["trial_end"] is None
    assert ann.post(path(ann, "addons"), {"price_id": sports}).json["items"][2]["trial_end"] == "2026-04-16"


def test_the_trial_of_an_addon_does_not_use_up_the_trial_of_a_plan(world):
    pack, tried = put_pack(world, trial_days=10), put_plan(world, "tried", 900, trial_days=7)
    ann = subscriber(world, {"price_id": pack})
    ann.post(path(ann, "cancellation"), {"when": "now"})
    world.go_to("2026-04-03T12:00:00")
    assert ann.subscribe(tried).json["status"] == "trialing"


def test_an_addon_without_a_card_ends_with_its_trial_and_the_plan_goes_on(world):
    pack = put_pack(world, trial_days=10)
    ann = subscriber(world, {"price_id": pack})
    remove_cards(ann)
    world.go_to("2026-04-12T12:00:00")
    assert (item(ann)["cancel_at"], max_streams(ann)) == ("2026-04-11", 2)
    assert (ann.subscription()["status"], world.charges()) == ("active", [3000])
    assert lines_of(ann) == [("trial", "2026-04-01", 1, 0)]


def test_an_addon_stays_if_a_card_is_added_before_its_trial_ends(world):
    ann = subscriber(world, {"price_id": put_pack(world, trial_days=10)})
    remove_cards(ann)
    world.go_to("2026-04-10T12:00:00")
    ann.add_card()
    world.go_to("2026-04-12T12:00:00")
    assert (item(ann)["cancel_at"], max_streams(ann), world.charges()) == (None, 3, [3000, 200])


def test_an_addon_whose_first_charge_is_paid_stays_without_a_card(world):
    """Charged to a card that is then removed, or paid with account credit, if that is enough: 2.00 from the 11th."""
    pack = put_pack(world, trial_days=10)
    ann, bob, cat = (subscriber(world, {"price_id": pack}) for _ in range(3))
    for person, credit_minor in ((bob, 200), (cat, 199)):
        remove_cards(person)
        world.operator.post(
            f"/v1/admin/accounts/{person.id}/credits", {"amount_minor": credit_minor, "currency": "USD"}
        )
    world.go_to("2026-04-12T12:00:00")
    remove_cards(ann)
    world.go_to("2026-04-14T12:00:00")
    assert [item(person)["cancel_at"] for person in (ann, bob, cat)] == [None, None, "2026-04-11"]
    world.go_to("2026-05-02T12:00:00")
    assert (ann.subscription()["status"], item(ann)["cancel_at"]) == ("past_due", None)


def test_an_addon_removed_in_its_trial_ends_with_it_free_of_charge(world):
    ann = subscriber(world, {"price_id": put_pack(world, trial_days=10)})
    removed = ann.delete(path(ann, "addons/pack?when=period_end")).json
    assert (removed["addons"][0]["ends"], removed["items"][1]["cancel_at"]) == ("2026-04-11", "2026-04-11")
    world.go_to("2026-04-10T12:00:00")
    assert max_streams(ann) == 3
    world.go_to("2026-05-02T12:00:00")
    assert (item(ann), max_streams(ann), world.charges()) == (None, 2, [3000, 3000])


def test_an_addon_ends_on_its_own_date(world):
    """Paid for April; then ten of the 31 days of May, in the renewal."""
    ann = subscriber(world, {"price_id": put_pack(world), "ends_at": "2026-05-11"})
    assert (item(ann)["ends_at"], item(ann)["cancel_at"]) == ("2026-05-11", None)
    assert preview(ann)["total_minor"] == 3000 + 97
    world.go_to("2026-05-10T12:00:00")
    assert max_streams(ann) == 3
    world.go_to("2026-06-02T12:00:00")
    assert [line[3] for line in lines_of(ann)] == [300, 97]
    assert (item(ann), max_streams(ann), world.charges()) == (None, 2, [3300, 3097, 3000])


def test_an_end_within_the_paid_days_is_credited_when_it_comes_and_can_be_moved(world):
    ann = subscriber(world, {"price_id": put_pack(world)})
    assert patch_addon(ann, {"ends_at": "2026-04-21"}).json["addons"][0]["ends"] == "2026-04-21"
    assert ann.balances() == []
    world.go_to("2026-04-20T12:00:00")
    assert patch_addon(ann, {"ends_at": None}).json["addons"][0]["ends"] is None
    patch_addon(ann, {"ends_at": "2026-04-26"})
    world.go_to("2026-04-27T12:00:00")
    assert ann.balances() == [{"currency": "USD", "amount_minor": 50}]
    assert (item(ann)["cancel_at"], world.charges()) == ("2026-04-26", [3300])


def test_a_later_end_charges_the_days_in_between(world):
    ann = subscriber(world, {"price_id": put_pack(world), "ends_at": "2026-04-11"})
    assert world.charges() == [3100]
    assert preview(ann, change_addon="pack", ends_at="2026-04-21")["total_minor"] == 100
    world.next_charge("decline")
    assert patch_addon(ann, {"ends_at": "2026-04-21"}).json["code"] == "payment_failed"
    assert item(ann)["ends_at"] == "2026-04-11"
    assert patch_addon(ann, {"ends_at": "2026-04-21"}).status_code == 200
    assert world.charges() == [3100, 100]


def test_a_scheduled_removal_can_be_undone(world):
    ann, bob = subscriber(world, {"price_id": put_pack(world)}), subscriber(world)
    assert ann.delete(path(ann, "addons/pack?when=period_end")).json["items"][1]["cancel_at"] == "2026-05-01"
    assert bob.delete(path(bob, "addons/pack/removal")).status_code == 404
    assert bob.delete(path(ann, "addons/pack/removal")).status_code == 404
    assert preview(ann, restore_addon="pack")["total_minor"] == 3300
    assert preview(ann)["total_minor"] == 3000
    assert ann.delete(path(ann, "addons/pack/removal")).json["items"][1]["cancel_at"] is None
    world.go_to("2026-05-02T12:00:00")
    assert [invoice["total_minor"] for invoice in ann.invoices()] == [3300, 3300]
    ann.delete(path(ann, "addons/pack?when=period_end"))
    world.go_to("2026-06-02T12:00:00")
    assert ann.delete(path(ann, "addons/pack/removal")).status_code == 404
    assert ann.invoices()[-1]["total_minor"] == 3000


def test_an_addon_that_ends_in_a_pause_is_credited_its_frozen_days(world):
    """Paused on the 11th, which was used; the end comes on the 16th: the nineteen days that are left come back."""
    ann = subscriber(world, {"price_id": put_pack(world), "ends_at": "2026-04-16"})
    patch_addon(ann, {"ends_at": None})
    patch_addon(ann, {"ends_at": "2026-04-16"})
    world.go_to("2026-04-11T12:00:00")
    ann.post(path(ann, "pause"), {})
    world.go_to("2026-04-17T12:00:00")
    assert ann.balances() == [{"currency": "USD", "amount_minor": 190}]


def test_a_plan_includes_addons(world):
    pack = put_pack(world)
    premium = put_plan(world, "premium", 6000, includes=["pack"])
    ann = world.person()
    refused = ann.subscribe(premium, addons=[pack])
    assert refused.json["errors"] == {"addons": ["The plan already includes: pack."]}
    assert ann.subscribe(premium).status_code == 201
    included = {"code": "pack", "price_id": None, "quantity": 1, "included": True}
    assert item(ann).items() >= included.items()
    assert (ann.subscription()["addons"], max_streams(ann)) == ([], 3)
    refused = ann.post(path(ann, "addons"), {"price_id": pack})
    assert refused.json["errors"] == {"price_id": ["The plan already includes: pack."]}


def test_an_addon_becomes_included_with_an_upgrade_and_does_not_return_with_a_downgrade(world):
    """On the 16th, premium costs 30.00 for the rest, less 15.00 for base and 2.80 for two packs from tomorrow on."""
    pack, premium = put_pack(world), put_plan(world, "premium", 6000, includes=["pack"])
    ann = subscriber(world, {"price_id": pack, "quantity": 2})
    world.go_to("2026-04-16T12:00:00")
    assert preview(ann, price_id=premium)["total_minor"] == 3000 - 1500 - 280
    world.next_charge("decline")
    assert ann.post(path(ann, "plan-change"), {"price_id": premium}).json["code"] == "payment_failed"
    assert (item(ann)["quantity"], item(ann)["included"]) == (2, False)
    assert ann.post(path(ann, "plan-change"), {"price_id": premium}).status_code == 200
    assert [entry for entry in ann.subscription()["items"] if not entry["included"]][1:] == []
    assert max_streams(ann) == 4, "both packs are paid for today"
    world.go_to("2026-04-17T12:00:00")
    assert max_streams(ann) == 3
    ann.post(path(ann, "plan-change"), {"price_id": world.base})
    world.go_to("2026-05-02T12:00:00")
    assert (item(ann), max_streams(ann)) == (None, 2)
    assert world.charges() == [3600, 1220, 3000]


def test_a_scheduled_change_to_a_plan_that_includes_an_addon_ends_it_at_the_renewal(world):
    pack, lite = put_pack(world), put_plan(world, "lite", 2000, includes=["pack"])
    ann = subscriber(world, {"price_id": pack})
    changed = ann.post(path(ann, "plan-change"), {"price_id": lite, "when": "period_end"}).json
    assert changed["items"][1]["cancel_at"] == "2026-05-01"
    ann.delete(path(ann, "plan-change"))
    assert item(ann)["cancel_at"] is None
    ann.post(path(ann, "plan-change"), {"price_id": lite, "when": "period_end"})
    world.go_to("2026-05-02T12:00:00")
    assert (item(ann)["included"], max_streams(ann), world.charges()) == (True, 3, [3300, 2000])


def test_an_addon_is_sold_only_with_the_plans_it_names(world):
    pack, large = put_pack(world, sold_with=["base"]), world.plan("large", 9000)
    ann, bob = world.person(), subscriber(world, {"price_id": pack})
    refused = ann.subscribe(large, addons=[pack])
    assert refused.json["errors"] == {"addons": ["Not sold with this plan: pack."]}
    assert ann.subscribe(large).status_code == 201
    assert ann.post(path(ann, "addons"), {"price_id": pack}).status_code == 422
    refused = bob.post(path(bob, "plan-change"), {"price_id": large})
    assert refused.json["errors"] == {"price_id": ["Remove the add-ons first: pack."]}
    unknown = world.operator.put("/v1/admin/plans/odd", {"name": "Odd", "prices": [], "includes": ["nowhere"]})
    assert unknown.status_code == 422
    itself = world.operator.put("/v1/admin/plans/base", {"name": "Base", "prices": [], "sold_with": ["base"]})
    assert itself.status_code == 422


def test_an_addon_fits_the_plan_to_which_a_change_is_scheduled(world):
    """A monthly add-on does not fit a yearly plan, be it bought or restored after the change was scheduled."""
    pack, yearly = put_pack(world), put_plan(world, "yearly", 30000, interval="year")
    ann, bob = subscriber(world), subscriber(world, {"price_id": pack})
    ann.post(path(ann, "plan-change"), {"price_id": yearly, "when": "period_end"})
    assert ann.post(path(ann, "addons"), {"price_id": pack}).json["code"] == "wrong_state"
    assert bob.post(path(bob, "plan-change"), {"price_id": yearly, "when": "period_end"}).status_code == 422
    bob.delete(path(bob, "addons/pack?when=period_end"))
    assert bob.post(path(bob, "plan-change"), {"price_id": yearly, "when": "period_end"}).status_code == 200
    assert bob.delete(path(bob, "addons/pack/removal")).json["code"] == "wrong_state"
    ann.delete(path(ann, "plan-change"))
    assert ann.post(path(ann, "addons"), {"price_id": pack}).status_code == 201


def test_what_an_addon_adds_and_a_plan_includes_stays_if_a_replacement_leaves_it_out(world):
    put_pack(world, sold_with=["base"], tax_category="reduced")
    put_plan(world, "premium", 6000, includes=["pack"])
    for code, expected in (("pack", (["base"], [], "reduced")), ("premium", ([], ["pack"], "standard"))):
        put_plan(world, code, 700)
        plan = world.operator.get(f"/v1/plans/{code}").json
        assert (plan["sold_with"], plan["includes"], plan["tax_category"]) == expected
    assert world.operator.get("/v1/plans/pack").json["addon_features"] == {"max_streams": 1}
    put_plan(world, "pack", 700, sold_with=[], addon_features={})
    assert world.operator.get("/v1/plans/pack").json["addon_features"] == {}


def test_units_count_in_the_recurring_revenue(world):
    pack = put_pack(world, trial_days=10)
    ann = subscriber(world, {"price_id": pack, "quantity": 2})
    world.go_to("2026-04-12T12:00:00")
    patch_addon(ann, {"quantity": 3})
    world.next_charge("decline")
    patch_addon(ann, {"quantity": 9})
    mrr = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-06-01").json["mrr"]
    assert mrr[0]["closing_minor"] == 3000 + 900
    patch_addon(ann, {"quantity": 1})
    ann.delete(path(ann, "addons/pack?when=period_end"))
    world.go_to("2026-05-20T12:00:00")
    mrr = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-06-01").json["mrr"]
    assert [row["closing_minor"] for row in mrr] == [3300, 3000]


def test_a_price_migration_to_a_plan_that_includes_an_addon_ends_it_at_the_renewal(world):
    """Two subscribers with the pack: one moves to a price whose plan includes it, the other has another base price."""
    pack, other = put_pack(world), world.plan("other", 1000)
    lite = put_plan(world, "lite", 2000, includes=["pack"])
    ann, bob = subscriber(world, {"price_id": pack}), subscriber(world, {"price_id": pack}, price=other)
    migration = {"from_price_id": world.base, "to_price_id": lite, "effective": "2026-05-01", "notice_days": 0}
    assert world.operator.post("/v1/admin/price-migrations", migration).status_code == 201
    assert item(ann)["cancel_at"] == "2026-05-01"
    world.go_to("2026-05-02T12:00:00")
    assert (item(ann)["included"], max_streams(ann), item(bob)["included"]) == (True, 3, False)
    assert sorted(world.charges()) == [1300, 1300, 2000, 3300]
    world.go_to("2026-06-02T12:00:00")
    assert sorted(world.charges()) == [1300, 1300, 1300, 2000, 2000, 3300]
