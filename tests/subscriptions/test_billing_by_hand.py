"""Lives worked out with pencil and paper from the conventions in docs/billing.md, lived over HTTP side by side.

Everybody lives in one world, so that a year of days passes once: at noon of each day whoever has a step that day takes
it. A line is (kind, start, end, amount).
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

# name: (who and what it begins with, {day: step}, the lines by the end of May 2024)
LIVES = {
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
    # the year from a leap day ends on 28 February: 365 days, of which one is used
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
    "a currency of three digits": (
        {"on": "2024-01-01", "plan": "dinar", "country": "KW"},
        {"2024-01-20": to("dinars"), "2024-01-21": LATER},
        [
            charge("2024-01-01", "2024-02-01", 12_345),
            credit("2024-01-20", "2024-02-01", 4779),
            charge("2024-01-20", "2024-02-01", 7742),
        ],
    ),
    # 980 × 12/31 = 379.4, 1980 × 12/31 = 766.5
    "a currency of no digits": (
        {"on": "2024-01-01", "plan": "yen", "country": "JP"},
        {"2024-01-20": to("yens"), "2024-01-21": LATER},
        [
            charge("2024-01-01", "2024-02-01", 980),
            credit("2024-01-20", "2024-02-01", 379),
            charge("2024-01-20", "2024-02-01", 766),
        ],
    ),
    # 200 off 1190 leaves 990; unused are the 15 days from 17 January: 990 × 15/31 = 479.03
    "a fixed coupon on a price that holds its tax": (
        {"on": "2024-01-01", "plan": "german", "country": "DE", "coupon": "eur-200"},
        {"2024-01-16": NOW},
        [charge("2024-01-01", "2024-02-01", 1190), credit("2024-01-17", "2024-02-01", 479)],
    ),
    # the new day's plan pays the whole of the period that began today
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
    # unused are 21 days, 2100; but 2500 went back before, so 600 is all that is left of the line
    "an end after a refund": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": ("refund", 2500), "2024-01-10": NOW},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-01-11", "2024-02-01", 600)],
    ),
    # frozen from 20 February to 5 March: 14 days after 29 February
    "a pause across the end of a month": (
        {"on": "2024-01-31", "plan": "basic"},
        {"2024-02-20": ("pause", {}), "2024-03-05": ("resume", None), "2024-03-06": LATER},
        [charge("2024-01-31", "2024-02-29", 3100)],
    ),
    # ten days were used before the pause; none since, not even today
    "an end in a pause": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-11": ("pause", {}), "2024-01-20": NOW},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-01-20", "2024-02-10", 2100)],
    ),
    # the end that was asked for comes in the pause: what was frozen is given back
    "a planned end that comes in a pause": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": LATER, "2024-01-11": ("pause", {})},
        [charge("2024-01-01", "2024-02-01", 3100), credit("2024-02-01", "2024-02-22", 2100)],
    ),
    "a pause of the trial": (
        {"on": "2024-01-01", "plan": "tried"},
        {"2024-01-05": ("pause", {}), "2024-01-10": ("resume", None), "2024-02-01": LATER},
        [("trial", "2024-01-01", "2024-01-15", 0), charge("2024-01-20", "2024-02-20", 3100)],
    ),
    "an anchor there and back": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-10": ("anchor", 15), "2024-01-12": ("anchor", 1), "2024-02-02": LATER},
        [charge("2024-01-01", "2024-02-01", 3100), charge("2024-02-01", "2024-03-01", 3100)],
    ),
    # the bridge is billed on 15 January, 14 of the 31 days from there; the way back on 1 February, 15 of its 29
    "an anchor there and, after its bridge, back": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-10": ("anchor", 15), "2024-01-20": ("anchor", 1), "2024-03-02": LATER},
        [
            charge("2024-01-01", "2024-02-01", 3100),
            charge("2024-02-01", "2024-02-15", 1400),
            charge("2024-02-15", "2024-03-01", 1603),
            charge("2024-03-01", "2024-04-01", 3100),
        ],
    ),
    # two days frozen: paid until 3 February, and from there still to the fifteenth: 12 of the 31 days to it
    "a pause does not forget where the anchor goes": (
        {"on": "2024-01-01", "plan": "basic"},
        {
            "2024-01-10": ("anchor", 15),
            "2024-01-12": ("pause", {}),
            "2024-01-14": ("resume", None),
            "2024-02-03": LATER,
        },
        [charge("2024-01-01", "2024-02-01", 3100), charge("2024-02-03", "2024-02-15", 1200)],
    ),
    # credits are of what was paid, 1000; the second time the introductory price is over
    "an introductory price, left and taken again": (
        {"on": "2024-01-01", "plan": "eased"},
        {"2024-02-15": to("best"), "2024-03-11": to("eased", when="now"), "2024-03-12": LATER},
        [
            charge("2024-01-01", "2024-02-01", 1000),
            charge("2024-02-01", "2024-03-01", 1000),
            credit("2024-02-15", "2024-03-01", 517),
            charge("2024-02-15", "2024-03-01", 3207),
            charge("2024-03-01", "2024-04-01", 6200),
            credit("2024-03-11", "2024-04-01", 4200),
            charge("2024-03-11", "2024-04-01", 2100),
        ],
    ),
    # weeks have no anchor day: the month begins where the week ends
    "weeks become months": (
        {"on": "2024-01-03", "plan": "weekly"},
        {"2024-01-12": to("basic", when="period_end"), "2024-01-20": LATER},
        [
            charge("2024-01-03", "2024-01-10", 700),
            charge("2024-01-10", "2024-01-17", 700),
            charge("2024-01-17", "2024-02-17", 3100),
        ],
    ),
    # who buys a year on the way out has that year
    "a year bought with the end in sight": (
        {"on": "2024-01-01", "plan": "basic"},
        {"2024-01-05": LATER, "2024-01-11": to("yearly", when="now")},
        [
            charge("2024-01-01", "2024-02-01", 3100),
            credit("2024-01-11", "2024-02-01", 2100),
            charge("2024-01-11", "2025-01-11", 36_500),
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
    # an end on a date shortens the last period: 14 of 31 days; taken back, the rest follows
    "an end on a date, taken back after it was billed": (
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


class Someone:
    """A viewer who takes the steps of one life."""

    def __init__(self, world, prices, begins):
        self.prices, self.operator = prices, world.operator
        self.viewer = world.person(country=begins.get("country", "US"))
        told = {"coupon": begins["coupon"]} if "coupon" in begins else {}
        assert self.viewer.subscribe(prices[begins["plan"]], **told).status_code == 201

    def take(self, step, details):
        path = f"/v1/subscriptions/{self.viewer.subscription()['id']}/"
        if step == "anchor":
            done = self.viewer.put(path + step, {"day": details})
        elif step in ("resume", "keep"):
            done = self.viewer.delete(path + {"resume": "pause", "keep": "cancellation"}[step])
        elif step == "refund":
            invoice = self.viewer.invoices()[0]["id"]
            done = self.operator.post(f"/v1/admin/invoices/{invoice}/refunds", {"amount_minor": details})
        elif step == "plan-change":
            done = self.foreseen(path + step, {**details, "price_id": self.prices[details["price_id"]]})
        else:
            done = self.viewer.post(path + step, details)
        assert done.status_code in (200, 201), done.json

    def foreseen(self, path, body):
        """Do it; the invoice that comes of it is the one that was previewed."""
        asked = {**body, "subscription_id": path.split("/")[3]}
        seen = self.viewer.post("/v1/invoice-previews", asked).json
        done = self.viewer.post(path, body)
        if not done.json["pending_change"]:
            came = self.viewer.get(f"/v1/invoices/{done.json['latest_invoice_id']}").json
            for name in ("total_minor", "tax_minor", "amount_due_minor"):
                assert seen[name] == came[name]
        return done


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
    days = {begins["on"] for begins, _, _ in LIVES.values()} | {day for _, steps, _ in LIVES.values() for day in steps}
    for day in sorted(days):
        leap_year.go_to(noon(day))
        for name, (begins, steps, _) in LIVES.items():
            if begins["on"] == day:
                people[name] = Someone(leap_year, prices, begins)
            if day in steps:
                people[name].take(*steps[day])
    leap_year.go_to(noon("2024-05-31"))
    actual_lines = {name: people[name].viewer.lines() for name in LIVES}
    assert {name: lines for name, lines in actual_lines.items() if lines != LIVES[name][2]} == {}
    german, japanese = "a fixed coupon on a price that holds its tax", "a currency of no digits"
    taxes = [[invoice["tax_minor"] for invoice in people[name].viewer.invoices()] for name in (german, japanese)]
    # 990 × 19/119 and 158 × 479/990; 10 % of 980, 98 × 379/980 and 10 % of 766
    assert taxes == [[158, -76], [98, -38 + 77]]
    yearly = people["a year bought with the end in sight"].viewer.subscription()
    assert (yearly["status"], yearly["cancel_at"]) == ("active", "2025-01-11")
    without_trial = people["a trial left for a plan without one"].viewer.subscription()
    assert without_trial["trial_end"] == "2024-01-05"
    paused = people["a planned end that comes in a pause"].viewer
    assert (paused.subscription()["status"], paused.subscription()["cancel_at"]) == ("canceled", "2024-02-01")
    assert paused.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 2100}]


@pytest.mark.parametrize(
    ("zone", "begins", "first", "renewed_at", "period"),
    [
        # 22:00 on 9 March in New York; 9 April begins there in summer time
        ("America/New_York", "2024-03-10T03:00", "2024-03-09", "2024-04-09T04:00:00Z", ("2024-04-09", "2024-05-09")),
        # Samoa had no 30 December 2011: what falls due on it comes as the 29th ends
        ("Pacific/Apia", "2011-11-30T20:00", "2011-11-30", "2011-12-30T10:00:00Z", ("2011-12-30", "2012-01-30")),
        # on 15 October 2017 the day began at 01:00 in São Paulo
        ("America/Sao_Paulo", "2017-09-15T12:00", "2017-09-15", "2017-10-15T03:00:00Z", ("2017-10-15", "2017-11-15")),
        # Kiritimati is fourteen hours ahead: its 1 March begins in our February
        ("Pacific/Kiritimati", "2024-01-31T12:00", "2024-02-01", "2024-02-29T10:00:00Z", ("2024-03-01", "2024-04-01")),
    ],
)
def test_a_renewal_happens_at_local_midnight(app, zone, begins, first, renewed_at, period):
    app.extensions["clock"].at = datetime.fromisoformat(begins).replace(tzinfo=UTC)
    world = World(app)
    ann = world.person(zone=zone)
    ann.subscribe(world.plan("p", 1000))
    world.go_to(datetime.fromisoformat(renewed_at))
    assert [line[1:3] for line in ann.lines()] == [(first, period[0]), period]
    assert ann.invoices()[1]["issued_at"] == renewed_at
    assert world.differences() == []
