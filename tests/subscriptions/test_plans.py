import pytest

from tests.worlds.billing_world import FEATURES, World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


def price(amount, currency="USD", **terms):
    return {"currency": currency, "amount_minor": amount, **terms}


def put(world, code, *prices):
    return world.operator.put(f"/v1/admin/plans/{code}", {"name": "P", "features": FEATURES, "prices": list(prices)})


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
