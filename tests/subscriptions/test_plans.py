import pytest
from marshmallow import ValidationError

from streamsvc.schemas.base import StrictSchema
from streamsvc.schemas.subscriptions.subscriptions import Intro, Money
from tests.worlds.billing_world import FEATURES, World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


def price(amount, currency="USD", **terms):
    return {"currency": currency, "amount_minor": amount, **terms}


def put(world, code, *prices, **values):
    body = {"name": "P", "features": FEATURES, "prices": list(prices)} | values
    return world.operator.put(f"/v1/admin/plans/{code}", body)


def put_addon(world, code, amount, **values):
    """Put a plan that is sold only as an add-on; returns the id of its price."""
    return put(world, code, price(amount, tax="exclusive"), addon=True, **values).json["prices"][0]["id"]


def listed_codes(world, query=""):
    return [plan["code"] for plan in world.operator.client.get(f"/v1/plans{query}").json["items"]]


def test_putting_a_plan_twice_changes_nothing(world):
    first = put(world, "standard", price(999), price(899, "EUR", intro={"amount_minor": 1, "periods": 3}))
    again = put(world, "standard", price(999), price(899, "EUR", intro={"amount_minor": 1, "periods": 3}))
    assert first.status_code == again.status_code == 200
    assert first.json == again.json


def test_a_new_price_supersedes_the_old_one_and_edits_nothing(world):
    old = put(world, "standard", price(999)).json["prices"][0]
    new = put(world, "standard", price(1299)).json["prices"][0]
    assert new["id"] != old["id"]
    assert [p["id"] for p in world.operator.client.get("/v1/plans/standard").json["prices"]] == [new["id"]]


def test_a_subscriber_keeps_the_price_they_bought(world):
    ann = world.person()
    ann.subscribe(put(world, "standard", price(999, tax="exclusive")).json["prices"][0]["id"])
    put(world, "standard", price(1299))
    world.go_to("2026-03-01")
    assert world.charges() == [999, 999]


def test_plans_are_public_and_filtered_by_country_and_currency(world):
    put(world, "standard", price(999), price(899, "EUR", countries=["DE", "FR"]), price(799, "EUR", countries=["IT"]))
    put(world, "basic", price(499))
    client = world.operator.client
    assert [plan["code"] for plan in client.get("/v1/plans").json["items"]] == ["standard", "basic"]
    [plan] = client.get("/v1/plans?country=DE&currency=EUR").json["items"]
    assert [p["amount_minor"] for p in plan["prices"]] == [899]
    assert client.get("/v1/plans?colour=red").status_code == 422
    assert client.get("/v1/plans/none").status_code == 404


@pytest.mark.every_database
def test_a_plan_without_a_price_is_listed_to_operators_alone_and_cannot_be_bought(world):
    ann, bob = world.person(), world.person()
    bought = put(world, "standard", price(999, tax="exclusive")).json["prices"][0]["id"]
    ann.subscribe(bought)
    other = put(world, "premium", price(1999)).json["prices"][0]["id"]
    bob.subscribe(other)
    assert put(world, "never", addon=True).json["prices"] == []
    assert put(world, "standard").json["prices"] == []
    assert listed_codes(world) == ["premium"] and listed_codes(world, "?addons=true") == []
    assert world.operator.client.get("/v1/plans?include_total=true").json["total"] == 1
    assert world.operator.client.get("/v1/plans/standard").json["prices"] == []

    plans = {plan["code"]: plan for plan in world.operator.get("/v1/admin/plans").json["items"]}
    sold = {code: ([p["id"] for p in plan["prices"]], len(plan["retired_prices"])) for code, plan in plans.items()}
    assert sold == {"standard": ([], 1), "premium": ([other], 0), "never": ([], 0)}
    [retired] = plans["standard"]["retired_prices"]
    assert (retired["id"], retired["amount_minor"]) == (bought, 999) and retired["retired_at"]

    carla = world.person()
    for path, body in (("/v1/subscriptions", {}), ("/v1/invoice-previews", {})):
        refused = carla.post(path, {"price_id": bought, **body})
        assert (refused.status_code, list(refused.json["errors"])) == (422, ["price_id"]), refused.json
    change = bob.post(f"/v1/subscriptions/{bob.subscription()['id']}/plan-change", {"price_id": bought, "when": "now"})
    assert (change.status_code, list(change.json["errors"])) == (422, ["price_id"]), change.json
    world.go_to("2026-03-01")
    assert ann.get("/v1/subscriptions").json["items"][0]["plan"]["code"] == "standard"

    pages = [world.operator.get("/v1/admin/plans?limit=2").json]
    pages.append(world.operator.get(f"/v1/admin/plans?limit=2&cursor={pages[0]['next_cursor']}").json)
    assert [plan["code"] for page in pages for plan in page["items"]] == ["standard", "premium", "never"]


def test_addons_are_listed_apart_from_plans(world):
    put(world, "standard", price(999))
    put_addon(world, "sports", 500)
    assert (listed_codes(world), listed_codes(world, "?addons=false")) == (["standard"], ["standard"])
    assert listed_codes(world, "?addons=true") == ["sports"]
    client = world.operator.client
    assert [client.get(f"/v1/plans/{code}").json["addon"] for code in ("standard", "sports")] == [False, True]
    put(world, "sports", price(500))  # does not say: it stays an add-on
    assert listed_codes(world, "?addons=true") == ["sports"]
    put(world, "sports", price(500), addon=False)
    assert (listed_codes(world), listed_codes(world, "?addons=true")) == (["standard", "sports"], [])


def test_an_addon_is_sold_only_together_with_another_plan(world):
    standard, sports = world.plan("standard", 999), put_addon(world, "sports", 500)
    ann, bob = world.person(), world.person()
    sentence = "This price is of an add-on, which is sold only together with another plan."
    admin_body = {"account_id": ann.id, "price_id": sports}
    for response in (
        ann.subscribe(sports),
        ann.post("/v1/invoice-previews", {"price_id": sports}),
        world.operator.post("/v1/admin/subscriptions", admin_body),
    ):
        assert (response.status_code, response.json["errors"]) == (422, {"price_id": [sentence]})
    assert ann.subscribe(standard, addons=[sports]).status_code == 201
    path = f"/v1/subscriptions/{ann.subscription()['id']}"
    change = ann.post(f"{path}/plan-change", {"price_id": sports})
    assert (change.status_code, change.json["errors"]) == (422, {"price_id": [sentence]})
    body = {"from_price_id": standard, "to_price_id": sports, "effective": "2026-06-01"}
    migration = world.operator.post("/v1/admin/price-migrations", body)
    assert (migration.status_code, migration.json["errors"]) == (
        422,
        {"to_price_id": ["This price is of an add-on; only another price of that add-on can move to it."]},
    )
    assert (world.charges(), bob.subscribe(standard).status_code) == ([1499], 201)


def test_a_plan_that_becomes_an_addon_keeps_its_subscribers_and_one_that_is_none_can_be_added(world):
    """Plans from before add-ons were marked: whoever has one as a plan or as an add-on keeps it."""
    standard, sports = world.plan("standard", 999), world.plan("sports", 500)
    ann, bob = world.person(), world.person()
    assert ann.subscribe(sports).status_code == 201
    assert bob.subscribe(standard, addons=[sports]).status_code == 201
    assert put_addon(world, "sports", 500) == sports
    world.go_to("2026-05-02")
    assert sorted(world.charges()[-2:]) == [500, 1499]


def test_only_operators_can_put_plans(world):
    ann = world.person()
    assert ann.put("/v1/admin/plans/x", {"name": "X", "prices": []}).status_code == 401
    assert world.operator.put("/v1/admin/plans/x", {"name": "X", "prices": [], "colour": 1}).status_code == 422


def test_plans_are_cacheable_until_they_change(world):
    put(world, "standard", price(999))
    client = world.operator.client
    for path in ("/v1/plans", "/v1/plans/standard"):
        first = client.get(path)
        assert first.headers["Cache-Control"] == "public, max-age=60"
        headers = {"If-None-Match": first.headers["ETag"]}
        assert (client.get(path, headers=headers).status_code, client.get(path, headers=headers).data) == (304, b"")
        put(world, "standard", price(first.json.get("prices", [{}])[0].get("amount_minor", 0) + 1))
        assert client.get(path, headers=headers).status_code == 200


def test_every_amount_in_a_request_is_limited_by_the_same_field():
    """A larger one is 422: it never reaches the database, whose integers end at 2**63."""
    amounts = {
        (schema.__name__, name): field
        for schema in subclasses(StrictSchema)
        if schema.__name__.endswith(("In", "Query")) or schema in (Intro,)
        for name, field in schema().load_fields.items()
        if name.endswith("_minor")
    }
    assert len(amounts) > 15
    unlimited = {key for key, field in amounts.items() if not isinstance(field, Money)}
    assert unlimited == set()
    for field in amounts.values():
        for amount_minor in (10**12 + 1, 2**63, -(10**12) - 1):
            with pytest.raises(ValidationError, match="Must be"):
                field.deserialize(amount_minor)


def subclasses(schema):
    for subclass in schema.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_pages_of_plans_have_each_plan_once(app):
    world = World(app)
    for code in ("b", "a", "c"):
        world.plan(code, 1000)
    codes, cursor = [], ""
    for _ in range(3):
        page = world.operator.client.get(f"/v1/plans?limit=1{cursor and f'&cursor={cursor}'}").json
        codes += [plan["code"] for plan in page["items"]]
        cursor = page["next_cursor"]
    assert (len(codes), set(codes), cursor) == (3, {"a", "b", "c"}, None)
