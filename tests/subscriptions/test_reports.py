"""Reports on a small scripted history whose every figure was computed by hand."""

import csv
import io

import pytest

from tests.conftest import Clock
from tests.worlds.billing_world import FEATURES, World

ALL = "from=2026-01-01&to=2026-07-01"


@pytest.fixture
def world(app):
    return World(app)


def report(world, name, query=ALL):
    response = world.operator.get(f"/v1/admin/reports/{name}?{query}")
    assert response.status_code == 200, response.json
    return response.json


@pytest.fixture(scope="session")
def history(database, new_app):
    """Six viewers from 15 January to June; 20 % French VAT included in the price, none in the US.

    In a database of its own, written once and then only read.
    """
    world = World(new_app(database, "reports", clock=Clock()))
    world.operator.put("/v1/admin/tax-rates/FR", {"percent": 20, "name": "TVA"})
    basic, best, tried = world.plan("basic", 1000), world.plan("best", 2000), world.plan("tried", 500, trial_days=14)
    annual = world.plan("annual", 12_000, currency="EUR", interval="year", tax="inclusive")
    ann, bob, cat, dan = world.person(), world.person(), world.person(), world.person()
    eve, fay = world.person(country="FR"), world.person()
    ann.subscribe(basic)  # new 1000; upgrades on 10 February, cancels as of 15 April, resubscribes in June
    bob.subscribe(best)  # new 2000; downgrades on 15 February, pauses for ten days in May
    cat.subscribe(basic)  # new 1000; the card fails on 15 February, canceled on 8 March
    dan.subscribe(tried)  # a trial of 14 days, then new 500
    eve.subscribe(annual)  # 12 000 a year, of which 2000 is tax: 833 a month
    fay.subscribe(tried)  # a trial, canceled on the third day
    world.go_to("2026-01-18T12:00:00")
    step(fay, "cancellation", when="now")
    cat.post("/v1/payment-methods", {"token": "pm_card_chargeCustomerFail"})
    bad = cat.get("/v1/payment-methods").json["items"]
    cat.put(f"/v1/payment-methods/{next(m['id'] for m in bad if m['last4'] == '0341')}/default")
    world.go_to("2026-02-10T12:00:00")
    step(ann, "plan-change", price_id=best, when="now")
    step(bob, "plan-change", price_id=basic, when="period_end")
    world.go_to("2026-04-09T12:00:00")
    step(ann, "cancellation", when="period_end")
    world.go_to("2026-05-15T12:00:00")
    step(bob, "pause")
    world.go_to("2026-05-25T12:00:00")
    bob.delete(f"/v1/subscriptions/{bob.subscription()['id']}/pause")
    world.go_to("2026-06-20T12:00:00")
    ann.subscribe(basic)
    world.go_to("2026-06-30T12:00:00")
    assert world.differences() == []
    return world


def step(person, what, **body):
    response = person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)
    assert response.status_code == 200, response.json


def test_mrr_movements_add_up(history):
    rows = report(history, "revenue")["mrr"]
    usd = {row["period"]: figures(row) for row in rows if row["currency"] == "USD"}
    assert usd == {
        "2026-01": (0, 4500, 0, 0, 0, 0, 4500),
        "2026-02": (4500, 0, 1000, -1000, 0, 0, 4500),
        "2026-03": (4500, 0, 0, 0, -1000, 0, 3500),
        "2026-04": (3500, 0, 0, 0, -2000, 0, 1500),
        "2026-05": (1500, 0, 1000, -1000, 0, 0, 1500),
        "2026-06": (1500, 0, 0, 0, 0, 1000, 2500),
    }
    eur = {row["period"]: figures(row) for row in rows if row["currency"] == "EUR"}
    assert eur["2026-01"] == (0, 833, 0, 0, 0, 0, 833) and eur["2026-06"] == (833, 0, 0, 0, 0, 0, 833)


def figures(row):
    names = ("opening", "new", "expansion", "contraction", "churn", "reactivation", "closing")
    return tuple(row[f"{name}_minor"] for name in names)


def test_churn_separates_voluntary_from_involuntary(history):
    rows = report(history, "retention")["subscribers"]
    names = ("opening", "new", "reactivated", "churned_voluntary", "churned_involuntary", "closing", "churn_percent")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (0, 5, 0, 0, 0, 5, None),
        (5, 0, 0, 0, 0, 5, 0.0),
        (5, 0, 0, 0, 1, 4, 20.0),
        (4, 0, 0, 1, 0, 3, 25.0),
        (3, 0, 0, 0, 0, 3, 0.0),
        (3, 0, 1, 0, 0, 4, 0.0),
    ]


def test_one_of_two_trials_converts(history):
    january, february, *_ = report(history, "retention")["trials"]
    assert (january["ended"], january["converted"], january["conversion_percent"]) == (2, 1, 50.0)
    assert (february["ended"], february["conversion_percent"]) == (0, None)
    [before] = report(history, "retention", "from=2026-01-01&to=2026-01-29")["trials"]
    assert before["ended"] == 0, "they end on 29 January"


def test_a_cohort_shows_how_long_subscribers_stay(history):
    january, *later = report(history, "retention")["cohorts"]
    assert (january["size"], january["staying"]) == (5, [5, 5, 4, 3, 3, 4])
    assert {row["size"] for row in later} == {0}


def test_subscribers_from_before_the_report_are_in_no_cohort(history):
    cohorts = report(history, "retention", "from=2026-02-01&to=2026-07-01")["cohorts"]
    assert [(row["size"], sum(row["staying"])) for row in cohorts] == [(0, 0)] * 5


def test_revenue_matches_the_ledger_by_plan_country_and_tax(history):
    revenue = report(history, "revenue")
    january = {row["currency"]: row for row in revenue["revenue"] if row["period"] == "2026-01"}
    usd, eur = january["USD"], january["EUR"]
    assert (usd["invoiced_minor"], usd["revenue_minor"], usd["collected_minor"]) == (4500, 4500, 4500)
    assert (eur["invoiced_minor"], eur["revenue_minor"], eur["tax_minor"]) == (12_000, 10_000, 2_000)
    for period in {row["period"] for row in revenue["revenue"]}:
        for currency in ("USD", "EUR"):
            sums = [sum_of(revenue[name], period, currency) for name in ("revenue", "by_plan", "by_country", "taxes")]
            assert len(set(sums)) == 1, (period, currency, sums)
    assert all(
        row["invoiced_minor"] - row["voided_minor"] - row["credited_minor"] == row["revenue_minor"] + row["tax_minor"]
        for row in revenue["revenue"]
    )


def sum_of(rows, period, currency, name="revenue_minor"):
    return sum(row[name] for row in rows if (row["period"], row["currency"]) == (period, currency))


def test_revenue_by_plan_country_and_tax_rate(history):
    revenue = report(history, "revenue", "from=2026-01-01&to=2026-02-01")
    plans = {(row["plan"], row["currency"]): row["revenue_minor"] for row in revenue["by_plan"]}
    assert plans == {
        ("basic", "USD"): 2000,
        ("best", "USD"): 2000,
        ("tried", "USD"): 500,
        ("annual", "EUR"): 10_000,
    }
    assert {row["country"]: row["revenue_minor"] for row in revenue["by_country"]} == {"US": 4500, "FR": 10_000}
    french = next(row for row in revenue["taxes"] if row["country"] == "FR")
    assert (french["tax_name"], french["percent"], french["tax_minor"]) == ("TVA", 20.0, 2000)


def test_refunds_and_credit_notes_reduce_revenue(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    invoice = ann.invoices()[0]["id"]
    world.go_to("2026-01-20")
    world.operator.post(f"/v1/admin/invoices/{invoice}/refunds", {"amount_minor": 300})
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 50, "currency": "USD"})
    revenue = report(world, "revenue", "from=2026-01-01&to=2026-02-01")
    row = revenue["revenue"][0]
    names = ("invoiced", "credited", "revenue", "collected", "refunded", "goodwill", "written_off")
    assert [row[f"{name}_minor"] for name in names] == [1000, 300, 700, 1000, 300, 50, 0]
    assert (revenue["by_plan"][0]["revenue_minor"], revenue["mrr"][0]["closing_minor"]) == (700, 1000)


def test_write_offs_are_reported(history):
    rows = report(history, "revenue")["revenue"]
    assert sum(row["written_off_minor"] for row in rows) > 0


def test_recurring_coupons_and_introductory_prices_lower_mrr(world):
    for code, terms in (("half", {"percent_off": 50, "duration": "repeating", "periods": 2}), ("once", ONCE)):
        assert world.operator.put(f"/v1/admin/coupons/{code}", terms).status_code == 200
    ann, bob, cat = world.person(), world.person(), world.person()
    ann.subscribe(world.plan("p", 1000), coupon="half")
    bob.subscribe(world.plan("q", 2000), coupon="once")
    cat.subscribe(world.plan("r", 3000, intro={"amount_minor": 100, "periods": 1}))
    world.go_to("2026-03-20")
    rows = report(world, "revenue", "from=2026-01-01&to=2026-04-01")["mrr"]
    assert [figures(row) for row in rows] == [
        (0, 2600, 0, 0, 0, 0, 2600),
        (2600, 0, 2900, 0, 0, 0, 5500),
        (5500, 0, 500, 0, 0, 0, 6000),
    ]


def test_an_addon_counts_in_mrr_but_does_not_convert_a_trial(world):
    """An add-on of 600 from January, removed on 20 March and added again in April; and a trial that is never paid."""
    base, extra = world.plan("base", 3000), world.plan("extra", 600)
    tried = world.plan("tried", 500, trial_days=14)
    ann, bob = world.person(), world.person()
    ann.subscribe(base, addons=[extra])
    bob.subscribe(tried, addons=[extra])
    step(bob, "cancellation", when="period_end")
    world.go_to("2026-03-19T12:00:00")
    addon = f"/v1/subscriptions/{ann.subscription()['id']}/addons"
    assert ann.delete(f"{addon}/extra").status_code == 200
    world.go_to("2026-04-20T12:00:00")
    assert ann.post(addon, {"price_id": extra}).status_code == 201
    rows = report(world, "revenue", "from=2026-01-01&to=2026-05-01")["mrr"]
    assert [figures(row)[1:] for row in rows] == [
        (4200, 0, 0, -600, 0, 3600),
        (0, 0, 0, 0, 0, 3600),
        (0, 0, -600, 0, 0, 3000),
        (0, 600, 0, 0, 0, 3600),
    ]
    january = report(world, "retention", "from=2026-01-01&to=2026-02-01")["trials"][0]
    assert (january["ended"], january["converted"]) == (1, 0)


def test_an_addon_that_a_new_plan_includes_leaves_mrr(world):
    base, extra = world.plan("base", 3000), world.plan("extra", 600)
    whole = {"name": "Whole", "features": FEATURES, "includes": ["extra"]}
    price = {"currency": "USD", "amount_minor": 4000, "tax": "exclusive"}
    prices = world.operator.put("/v1/admin/plans/whole", whole | {"prices": [price]}).json["prices"]
    ann = world.person()
    ann.subscribe(base, addons=[extra])
    world.go_to("2026-02-10T12:00:00")
    step(ann, "plan-change", price_id=prices[0]["id"], when="now")
    rows = report(world, "revenue", "from=2026-01-01&to=2026-03-01")["mrr"]
    assert [(row["opening_minor"], row["closing_minor"]) for row in rows] == [(0, 3600), (3600, 4000)]


ONCE = {"amount_off_minor": 500, "currency": "USD", "duration": "once"}


def test_a_daily_report_has_one_row_per_day(history):
    rows = report(history, "revenue", "from=2026-02-09&to=2026-02-12&interval=day")["mrr"]
    usd = [(row["period"], row["closing_minor"]) for row in rows if row["currency"] == "USD"]
    assert usd == [("2026-02-09", 4500), ("2026-02-10", 5500), ("2026-02-11", 5500)]


@pytest.mark.parametrize("name", ["revenue", "retention"])
def test_csv_has_the_same_figures_as_json(history, name):
    document = report(history, name)
    response = history.operator.get(f"/v1/admin/reports/{name}?{ALL}&format=csv")
    assert response.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    tables = {table: items for table, items in document.items() if isinstance(items, list)}
    assert {row["table"] for row in rows} <= set(tables)
    for table, items in tables.items():
        table_rows = [row for row in rows if row["table"] == table]
        assert len(table_rows) == len(items)
        for row, item in zip(table_rows, items, strict=True):
            for column, value in item.items():
                cell = " ".join(map(str, value)) if isinstance(value, list) else value
                assert row[column] == ("" if cell is None else str(cell))


def test_reports_need_an_operators_key(world):
    ann = world.person()
    for name in ("revenue", "retention"):
        assert ann.get(f"/v1/admin/reports/{name}").status_code == 401
        assert world.app.test_client().get(f"/v1/admin/reports/{name}").status_code == 401


@pytest.mark.parametrize("query", ["from=2026-02-01&to=2026-01-01", "from=soon", "interval=hour", "format=xml", "q=1"])
def test_an_invalid_report_query_is_refused(world, query):
    assert world.operator.get(f"/v1/admin/reports/revenue?{query}").status_code == 422


def test_a_report_defaults_to_the_last_twelve_months(world):
    retention = report(world, "retention", "")
    assert (retention["from"], retention["to"], len(retention["subscribers"])) == ("2025-02-01", "2026-01-16", 12)


def test_every_kind_of_booking_is_summed(world):
    """Three paid months at 10.00, and one-off charges of 4.00 and 5.00 to people without a card."""
    price = world.plan("basic", 1000)
    disputed, refunded, credited = people = [world.person() for _ in range(3)]
    for person in people:
        person.subscribe(price)

    def operate(path, **body):
        response = world.operator.post(f"/v1/{path}", body)
        assert response.status_code in (200, 201), response.json
        return response.json

    operate(f"sandbox/payments/{disputed.invoices()[0]['payments'][0]['id']}/dispute", amount_minor=300)
    operate(f"admin/invoices/{refunded.invoices()[0]['id']}/refunds", amount_minor=200)
    operate(f"admin/accounts/{credited.id}/credits", amount_minor=50, currency="USD")
    for amount_minor, correction in ((400, "void"), (500, "write-off")):
        charge = {"account_id": world.person(card=None).id, "amount_minor": amount_minor, "currency": "USD"}
        invoice = operate("admin/invoices", description="A poster", **charge)
        operate(f"admin/invoices/{invoice['id']}/{correction}")
    [usd] = report(world, "revenue", "from=2026-01-01&to=2026-02-01")["revenue"]
    assert {name: amount for name, amount in usd.items() if name.endswith("_minor")} == {
        "invoiced_minor": 3900,
        "voided_minor": 400,
        "credited_minor": 200,
        "revenue_minor": 3300,
        "tax_minor": 0,
        "collected_minor": 3000,
        "refunded_minor": 200,
        "disputed_minor": 300,
        "written_off_minor": 500,
        "goodwill_minor": 50,
    }
