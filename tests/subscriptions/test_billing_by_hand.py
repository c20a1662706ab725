"""Scenarios computed by hand from the conventions in docs/billing.md, run over HTTP side by side.

All scenarios share one world, so that the days pass only once: each step is taken at noon of its day. A line is
(kind, start, end, amount).
"""

from datetime import UTC, datetime

import pytest

from tests.worlds.billing_world import World

TRIAL, WEEK, YEAR = {"trial_days": 14}, {"interval": "week"}, {"interval": "year"}
INTRO = {"intro": {"amount_minor": 1000, "periods": 2}}
PLANS = {
    "basic": (3100, {}),  # 100 a day in a month of 31 days
    "best": (6200, {}),
    "tried": (3100, TRIAL),
    "eased": (3100, INTRO),
    "weekly": (700, WEEK),
    "yearly": (36_500, YEAR),
    "grand": (73_000, YEAR),
    "bimonthly": (6100, {"interval_count": 2}),
    "dinar": (12_345, {"currency": "KWD"}),
    "dinars": (20_000, {"currency": "KWD"}),
    "yen": (980, {"currency": "JPY"}),
    "yens": (1980, {"currency": "JPY"}),
    "german": (1190, {"currency": "EUR", "tax": "inclusive"}),
}


def charge(start, end, amount):
    return ("charge", start, end, amount)


def credit(start, end, amount):
    return ("credit", start, end, -amount)


def to(plan, **more):
    return ("plan-change", {"price_id": plan, **more})


NOW, LATER = ("cancellation", {"when": "now"}), ("cancellation", {"when": "period_end"})

# name: (how it starts, {day: step}, the lines by the end of May 2024)
SCENARIOS = {
    # 29 February is the last day of its month and stays the anchor: 29 March, 29 April
    "a leap day is an anchor": (
        {"on": "2024-02-29", "plan": "basic"},
        {},
        [
            charge("2024-02-29", "2024-03-29", 3100),
            charge("2024-03-29", "2024-04-29", 3100),
            charge("2024-04-29", "2024-05-29", 3100),
            charge("2024-05-29", "2024-06-29", 3100),
        ],
    ),
    # a year from a leap day ends on 28 February: 365 days, one of them used
    "a year from a leap day": (
        {"on": "2024-02-29", "plan": "yearly"},
        {"2024-03-01": to("grand")},
        [
            charge("2024-02-29", "2025-02-28", 36_500),
            credit("2024-03-01", "2025-02-28", 36_400),
            charge("2024-03-01", "2025-02-28", 72_800),
        ],
    ),
    # 10 to 29 February: 19 of the 29 days from 31 January; 3100 × 19/29 = 2031.03, 6200 × 19/29 = 4062.07
    "an upgrade in a short month": (
        {"on": "2024-01-31", "plan": "basic"},
        {"2024-02-10": to("best"), "2024-03-01": LATER},
        [
            charge("2024-01-31", "2024-02-29", 3100),
            credit("2024-02-10", "2024-02-29", 2031),
            charge("2024-02-10", "2024-02-29", 4062),
            charge("2024-02-29", "2024-03-31", 6200),
        ],
    ),
    # 12 of 31 days: 12345 × 12/31 = 4778.7 fils, 20000 × 12/31 = 7741.9
    "a currency with three decimals": (
        {"on": "2024-01-01", "plan": "dinar", "country": "KW"},
        {"2024-01-20": to("dinars"), "2024-01-21": LATER},
        [
            charge("2024-01-01", "2024-02-01", 12_345),
            credit("2024-01-20", "2024-02-01", 4779),
            charge("2024-01-20", "2024-02-01", 7742),
        ],
    ),
    # 980 × 12/31 = 379.4, 1980 × 12/31 = 766.5
    "a currency without decimals": (
        {"on": "2024-01-01", "plan": "yen", "country": "JP"},
        {"2024-01-20": to("yens"), "2024-01-21": LATER},
        [
            charge("2024-01-01", "2024-02-01", 980),
            credit("2024-01-20", "2024-02-01", 379),
            charge("2024-01-20", "2024-02-01", 766),
        ],
    ),
    # 200 off 1190 leaves 990; the 15 days from 17 January are unused: 990 × 15/31 = 479.03
    "a fixed coupon on a tax-inclusive price": (
        {"on": "2024-01-01", "plan": "german", "country": "DE", "coupon": "eur-200"},
        {"2024-01-16": NOW},
        [charge("2024-01-01", "2024-02-01", 1190), credit("2024-01-17", "2024-02-01", 479)],
    ),
    # the new plan pays for the whole period that starts today
    "a change on the day of renewal": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-02-01": to("best"), "2024-02-02": LATER},
        [
            charge("2024-01-01", "2024-02-01", 3100),
            charge("2024-02-01", "2024-03-01", 3100),
            credit("2024-02-01", "2024-03-01", 3100),
            charge("2024-02-01", "2024-03-01", 6200),
        ],
    ),
    # 21 days are unused, 2100; but 2500 was refunded before, so only 600 is left of the line
    "a cancellation after a refund": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": ("refund", 2500), "2024-01-10": NOW},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-01-11", "2024-02-01", 600)],
    ),
    # frozen from 21 February to 4 March: 13 days are added after 29 February
    "a pause across the end of a month": (
        {"on": "2024-01-31", "plan": "basic"},
        {"2024-02-20": ("pause", {}), "2024-03-05": ("resume", None), "2024-03-06": LATER},
        [charge("2024-01-31", "2024-02-29", 3100)],
    ),
    # eleven days were used, that of the pause among them; none since, not even today
    "a cancellation during a pause": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-11": ("pause", {}), "2024-01-20": NOW},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-01-20", "2024-02-09", 2000)],
    ),
    # the scheduled end comes during the pause: the frozen days are credited
    "a scheduled end during a pause": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": LATER, "2024-01-11": ("pause", {})},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-02-01", "2024-02-21", 2000)],
    ),
    "a pause during the trial": (
        {"on": "2024-01-01", "plan": "tried"},
        {"2024-01-05": ("pause", {}), "2024-01-10": ("resume", None), "2024-02-01": LATER},
        [("trial", "2024-01-01", "2024-01-15", 0), charge("2024-01-19", "2024-02-19", 3100)],
    ),
    "an anchor moved and moved back": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-10": ("anchor", 15), "2024-01-12": ("anchor", 1), "2024-02-02": LATER},
        [charge("2024-01-01", "2024-02-01", 3100), charge("2024-02-01", "2024-03-01", 3100)],
    ),
    # the bridge covers 14 of the 31 days from 15 January; the way back, 15 of the 29 days from 1 February
    "an anchor moved and, after its bridge, moved back": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-10": ("anchor", 15), "2024-02-10": ("anchor", 1), "2024-03-02": LATER},
        [
            charge("2024-01-01", "2024-02-01", 3100),
            charge("2024-02-01", "2024-02-15", 1400),
            charge("2024-02-15", "2024-03-01", 1603),
            charge("2024-03-01", "2024-04-01", 3100),
        ],
    ),
    # two days frozen: paid until 3 February, then up to the fifteenth: 12 of the 31 days before it
    "a pause keeps the new anchor": (
        {"on": "2024-01-01", "plan": "basic"},
        {
            "2024-01-10": ("anchor", 15),
            "2024-01-12": ("pause", {}),
            "2024-01-15": ("resume", None),
            "2024-02-03": LATER,
        },
        [charge("2024-01-01", "2024-02-01", 3100), charge("2024-02-03", "2024-02-15", 1200)],
    ),
    # credits are based on the amount paid, 1000; the second time the introductory price is used up, and the cheaper
    # plan is charged from the next day on
    "an introductory price, left and chosen again": (
        {"on": "2024-01-01", "plan": "eased"},
        {"2024-02-15": to("best"), "2024-03-11": to("eased", when="now"), "2024-03-12": LATER},
        [
            charge("2024-01-01", "2024-02-01", 1000),
            charge("2024-02-01", "2024-03-01", 1000),
            credit("2024-02-15", "2024-03-01", 517),
            charge("2024-02-15", "2024-03-01", 3207),
            charge("2024-03-01", "2024-04-01", 6200),
            credit("2024-03-12", "2024-04-01", 4000),
            charge("2024-03-12", "2024-04-01", 2000),
        ],
    ),
    # weeks have no anchor day: the month starts where the week ends
    "a change from weeks to months": (
        {"on": "2024-01-03", "plan": "weekly"},
        {"2024-01-12": to("basic", when="period_end"), "2024-01-20": LATER},
        [
            charge("2024-01-03", "2024-01-10", 700),
            charge("2024-01-10", "2024-01-17", 700),
            charge("2024-01-17", "2024-02-17", 3100),
        ],
    ),
    # a year bought while a cancellation is pending runs in full; being cheaper, it begins tomorrow and is billed today
    "a year bought with a cancellation pending": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": LATER, "2024-01-11": to("yearly", when="now")},
        [
            charge("2024-01-01", "2024-02-01", 3100),
            credit("2024-01-12", "2024-02-01", 2000),
            charge("2024-01-12", "2025-01-12", 36_500),
        ],
    ),
    "a trial left for a plan without one": (
        {"on": "2024-01-01", "plan": "tried"},
        {"2024-01-05": to("best", anchor_day=15), "2024-01-16": LATER},
        [
            ("trial", "2024-01-01", "2024-01-15", 0),
            charge("2024-01-05", "2024-01-15", 2000),
            charge("2024-01-15", "2024-02-15", 6200),
        ],
    ),
    "every other month from the last day of one": (
        {"on": "2024-01-31", "plan": "bimonthly"},
        {},
        [
            charge("2024-01-31", "2024-03-31", 6100),
            charge("2024-03-31", "2024-05-31", 6100),
            charge("2024-05-31", "2024-07-31", 6100),
        ],
    ),
    # an end on a date shortens the last period to 14 of 31 days; once it is undone, the rest is billed
    "an end on a date, undone after it was billed": (
        {"on": "2024-01-01", "plan": "basic"},
        {
            "2024-02-20": ("cancellation", {"when": "now", "effective_date": "2024-03-15"}),
            "2024-03-02": ("keep", None),
            "2024-03-16": LATER,
        },
        [
            charge("2024-01-01", "2024-02-01", 3100),
            charge("2024-02-01", "2024-03-01", 3100),
            charge("2024-03-01", "2024-03-15", 1400),
            charge("2024-03-15", "2024-04-01", 1700),
        ],
    ),
}


def noon(day):
    return datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)


class Scenario:
    """A viewer who takes the steps of one scenario."""

    def __init__(self, world, prices, start):
        self.prices, self.operator = prices, world.operator
        self.viewer = world.person(country=start.get("country", "US"))
        coupon = {"coupon": start["coupon"]} if "coupon" in start else {}
        assert self.viewer.subscribe(prices[start["plan"]], **coupon).status_code == 201

    def take(self, step, details):
        path = f"/v1/subscriptions/{self.viewer.subscription()['id']}/"
        if step == "anchor":
            response = self.viewer.put(path + step, {"day": details})
        elif step in ("resume", "keep"):
            response = self.viewer.delete(path + {"resume": "pause", "keep": "cancellation"}[step])
        elif step == "refund":
            invoice = self.viewer.invoices()[0]["id"]
            response = self.operator.post(f"/v1/admin/invoices/{invoice}/refunds", {"amount_minor": details})
        elif step == "plan-change":
            response = self.do_as_previewed(path + step, {**details, "price_id": self.prices[details["price_id"]]})
        else:
            response = self.viewer.post(path + step, details)
        assert response.status_code in (200, 201), response.json

    def do_as_previewed(self, path, body):
        """Do it and check that the resulting invoice is the one previewed."""
        preview_body = {**body, "subscription_id": path.split("/")[3]}
        preview = self.viewer.post("/v1/invoice-previews", preview_body).json
        response = self.viewer.post(path, body)
        if not response.json["pending_change"]:
            invoice = self.viewer.get(f"/v1/invoices/{response.json['latest_invoice_id']}").json
            for name in ("total_minor", "tax_minor", "amount_due_minor"):
                assert preview[name] == invoice[name]
        return response


@pytest.fixture
def leap_year(app):
    """A world on the first day of 2024."""
    app.extensions["clock"].at = noon("2024-01-01")
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def prices(leap_year):
    leap_year.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt"})
    leap_year.operator.put("/v1/admin/tax-rates/JP", {"percent": 10, "name": "Tax"})
    terms = {"amount_off_minor": 200, "currency": "EUR", "duration": "once"}
    leap_year.operator.put("/v1/admin/coupons/eur-200", terms)
    return {code: leap_year.plan(code, amount, **terms) for code, (amount, terms) in PLANS.items()}


def test_scenarios_match_the_hand_computed_lines(leap_year, prices):
    people = {}
    days = {start["on"] for start, _, _ in SCENARIOS.values()} | {
        day for _, steps, _ in SCENARIOS.values() for day in steps
    }
    for day in sorted(days):
        leap_year.go_to(noon(day))
        for name, (start, steps, _) in SCENARIOS.items():
            if start["on"] == day:
                people[name] = Scenario(leap_year, prices, start)
            if day in steps:
                people[name].take(*steps[day])
    leap_year.go_to(noon("2024-05-31"))
    actual_lines = {name: people[name].viewer.lines() for name in SCENARIOS}
    assert {name: lines for name, lines in actual_lines.items() if lines != SCENARIOS[name][2]} == {}
    german, japanese = "a fixed coupon on a tax-inclusive price", "a currency without decimals"
    taxes = [[invoice["tax_minor"] for invoice in people[name].viewer.invoices()] for name in (german, japanese)]
    # 990 × 19/119 and 158 × 479/990; 10 % of 980, 98 × 379/980, and 10 % of 766
    assert taxes == [[158, -76], [98, -38 + 77]]
    yearly = people["a year bought with a cancellation pending"].viewer.subscription()
    assert (yearly["status"], yearly["cancel_at"]) == ("active", "2025-01-12")
    without_trial = people["a trial left for a plan without one"].viewer.subscription()
    assert without_trial["trial_end"] == "2024-01-05"
    paused = people["a scheduled end during a pause"].viewer
    assert (paused.subscription()["status"], paused.subscription()["cancel_at"]) == ("canceled", "2024-02-01")
    assert paused.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 2000}]


@pytest.mark.parametrize(
    ("zone", "start", "first", "renewed_at", "period"),
    [
        # 22:00 on 9 March in New York; 9 April starts there in daylight saving time
        ("America/New_York", "2024-03-10T03:00", "2024-03-09", "2024-04-09T04:00:00Z", ("2024-04-09", "2024-05-09")),
        # Samoa had no 30 December 2011: what falls due on it happens as the 29th ends
        ("Pacific/Apia", "2011-11-30T20:00", "2011-11-30", "2011-12-30T10:00:00Z", ("2011-12-30", "2012-01-30")),
        # 15 October 2017 started at 01:00 in São Paulo
        ("America/Sao_Paulo", "2017-09-15T12:00", "2017-09-15", "2017-10-15T03:00:00Z", ("2017-10-15", "2017-11-15")),
        # Kiritimati is fourteen hours ahead of UTC: its 1 March starts in UTC's February
        ("Pacific/Kiritimati", "2024-01-31T12:00", "2024-02-01", "2024-02-29T10:00:00Z", ("2024-03-01", "2024-04-01")),
    ],
)
def test_a_renewal_happens_at_local_midnight(app, zone, start, first, renewed_at, period):
    app.extensions["clock"].at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    world = World(app)
    ann = world.person(zone=zone)
    ann.subscribe(world.plan("p", 1000))
    world.go_to(datetime.fromisoformat(renewed_at))
    assert [line[1:3] for line in ann.lines()] == [(first, period[0]), period]
    assert ann.invoices()[1]["issued_at"] == renewed_at
    assert world.differences() == []
