"""The billing cases of peer systems, run over HTTP with the clock in each case's own year.

Every case of tests/data/billing_cases.json is either run here, to the cent, or listed below with the test that covers
it or the reason why it does not apply.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.worlds.billing_world import World

FILE = Path(__file__).parent.parent / "data" / "billing_cases.json"
CASES = {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}
UNITS = {"D": "day", "W": "week", "M": "month", "Y": "year"}

# Where the recommended convention differs from the peer's: the same interval keeps the period; an interval changed
# now starts a full one; months have their own lengths; a cheaper plan is charged from tomorrow on, since today was used
# at the dearer price.
OUR_LINES = {
    "KB-006": [
        ("charge", "blowdart-monthly", "2012-05-03", "2012-06-01", 931),
        ("credit", "shotgun-monthly", "2012-05-03", "2012-06-01", -23382),
    ],
    "KB-007": [
        ("charge", "blowdart-monthly", "2012-05-08", "2012-06-01", 770),
        ("credit", "assault-rifle-monthly", "2012-05-08", "2012-06-01", -46448),
    ],
    "KB-017": [("charge", "assault-rifle-annual", "2015-03-15", "2016-01-01", 479996)],
    "LG-019": [("charge", "yearly", "2023-09-28", "2024-09-28", 12000)],
    "LG-020": [("charge", "yearly", "2023-11-19", "2024-11-19", 118800)],
    "KB-061": [("charge", "pistol-monthly-notrial", "2023-06-15", "2023-06-23", 515)],
}
# What the lines above leave as account credit: 1000 + 23382 - 931, and 46448 - 2319 - 2 * 2995.
OUR_ACCOUNT_CREDIT = {"KB-006": 23451, "KB-007": 38139}
# We bill a bridge to a moved anchor when it begins; Kill Bill already on the new anchor day before that.
OUR_DATES = {"KB-019": ["2016-04-01", "2016-05-01", "2016-06-01", "2016-06-15", "2016-07-15"]}
RUN_HERE = [
    "KB-001",
    "KB-006",
    "KB-007",
    "KB-009",
    "KB-017",
    "KB-018",
    "KB-019",
    "KB-027",
    "KB-037",
    "KB-045",
    "KB-046",
    "KB-049",
    "KB-051",
    "KB-053",
    "KB-055",
    "KB-058",
    "KB-061",
    "LG-002",
    "LG-008",
    "LG-012",
    "LG-018",
    "LG-019",
    "LG-020",
    "ST-001",
    "ST-007",
]
COVERED_ELSEWHERE = {
    "KB-035": "below: a new price applies to the first period that starts on or after its day",
    "LG-003": "below: renewals over 15 months from a month's end",
    "LG-006": "below: periods from a late January day",
    "OM-006": "below: an explicit anchor day creates a leading stub",
    "LG-025": "test_billing_extras.py: coupons apply in the order in which they were given",
    "LG-026": "test_billing_extras.py: the same; test_subscriptions_offers.py: one that is used up",
    "LG-027": "below: two lines at 30 %, one of them with a coupon",
    "LG-028": "below: a coupon over four lines; rules/test_billing_invoicing.py: of three rates (a country has one)",
    "LG-031": "below: numbers have no gap (one series per year for all; the peer's schemes are configuration)",
    "LG-034": "test_subscriptions.py: declined, authenticated and free starts",
    "ST-006": "test_subscriptions.py: incomplete, active, past_due, trial without a card; below: 23 hours",
    "ST-008": "below: an unpaid period yields no account credit",
    "ST-009": "test_subscriptions.py: the same key charges once",
    "ST-010": "test_sandbox_clock.py: moves forward only, and responds once all is done; the distance is not limited",
    "ST-011": "below: only soft declines are retried, hard ones and a missing card wait; the days are a setting",
    "WH-001": "test_payments_stripe.py: events in any order",
    "WH-002": "test_payments_stripe.py: an event counts once",
    "WH-003": "test_payments_stripe.py: an event that arrives before the response to our own call",
    "WH-004": "test_payments_stripe.py: a late event changes nothing",
    "RF-001": "below: a second upgrade credits the full price of the current plan",
    "SG-001": "below: an upgrade halfway through September",
    "OM-004": "below: two prorated phases of a month",
    "OM-005": "below: a prorated price is rounded to its currency",
    "FP-005": "below: canceling in March credits the remaining days",
    "FP-006": "below: all but negative amounts, which the API rejects; rules/test_billing_cases.py: those too",
    "UB-001": "below: proration uses exact fractions",
    "SW-002": "test_webhooks_out.py: every attempt at its second, and the effect of each response; the timeout is 15 s",
    "ID-001": "test_subscriptions.py: idempotency keys required, replayed, reused",
}


def test_every_case_is_covered():
    assert set(RUN_HERE).isdisjoint(COVERED_ELSEWHERE)
    assert set(RUN_HERE) | set(COVERED_ELSEWHERE) == set(CASES)


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def starting(app):
    """A function that creates a world whose clock starts at noon of a given day."""
    made = []

    def start(day):
        app.extensions["clock"].at = datetime.fromisoformat(day[:10]).replace(hour=12, tzinfo=UTC)
        made.append(World(app))
        return made[-1]

    yield start
    for world in made:
        assert world.differences() == []


class Life:
    """Runs a case's timeline over HTTP, at noon of each of its days."""

    def __init__(self, world, case):
        self.world, self.case, self.anchor_day, self.person = world, case, None, None
        self.taxed = any(step.get("tax") for step in case["timeline"])
        self.country, self.prices = "FR" if self.taxed else "US", {}
        for plan in case["plans"]:
            self.put_plan(plan["id"], plan, plan.get("amount"))
        for step in case["timeline"]:
            self.go_to(step["date"])
            getattr(self, step["op"], self.do_nothing)(step)
        self.go_to(max(OUR_DATES.get(case["id"]) or [invoice["date"] for invoice in case["expect"]["invoices"]]))

    def put_plan(self, code, plan, amount):
        intro = plan.get("intro")
        self.prices[code] = self.world.plan(
            code,
            amount,
            currency=self.case["currency"],
            interval=UNITS[plan["period"][-1]],
            trial_days=plan.get("trial", {}).get("days", 0),
            intro=intro and {"amount_minor": intro["amount"], "periods": intro["months"]},
        )

    def go_to(self, day):
        at = datetime.fromisoformat(day[:10]).replace(hour=12, tzinfo=UTC)
        if self.case["id"] == "KB-001" and day == "2012-07-31":
            at -= timedelta(days=1)  # the case gives the day on which the cancellation takes effect
        self.world.go_to(max(at, self.world.clock.at))

    def do_nothing(self, step):
        """Do nothing: trials end, payments succeed, and renewals happen by themselves."""

    def create_account(self, step):
        self.anchor_day = step.get("anchor_day")

    def subscribe(self, step):
        card = "pm_card_visa" if step.get("autopay", True) else "pm_card_chargeCustomerFail"
        self.person = self.world.person(country=self.country, card=card)
        if step.get("tax"):
            percent = int(step["tax"].split("%")[0])
            self.world.operator.put(f"/v1/admin/tax-rates/{self.country}", {"percent": percent, "name": "VAT"})
        anchor, addons = step.get("anchor_day", self.anchor_day), step.get("addons", [])
        start = step.get("effective_date")
        response = self.person.subscribe(self.prices[step["plan"]], anchor_day=anchor, start_date=start, addons=addons)
        assert response.status_code == 201, response.json

    def subscribe_cart(self, step):
        base, *addons = step["plans"]
        self.subscribe({**step, "plan": base, "addons": [self.prices[code] for code in addons]})

    def post_step(self, action, body):
        response = self.person.post(f"/v1/subscriptions/{self.person.subscription()['id']}/{action}", body)
        assert response.status_code == 200, response.json

    def change_plan(self, step):
        self.post_step("plan-change", {"price_id": self.prices[step["plan"]], "when": step["when"]})

    def set_anchor_day(self, step):
        path = f"/v1/subscriptions/{self.person.subscription()['id']}/anchor"
        assert self.person.put(path, {"day": step["day"]}).status_code == 200

    def cancel(self, step):
        body = {"when": step["when"], "effective_date": step.get("effective_date")}
        path = f"/v1/admin/subscriptions/{self.person.subscription()['id']}/cancellation"
        assert self.world.operator.post(path, body).status_code == 200

    def correct(self, invoice, action, body):
        response = self.world.operator.post(f"/v1/admin/invoices/{invoice['id']}/{action}", body)
        assert response.status_code == 201, response.json

    def adjust_line(self, step):
        charges = [invoice for invoice in self.person.invoices() if invoice["lines"][0]["kind"] == "charge"]
        invoice = charges[step.get("invoice", len(charges)) - 1]
        lines = [{"line_id": invoice["lines"][0]["id"], "amount_minor": step["amount"]}]
        self.correct(invoice, "credit-notes", {} if step["amount"] == "all" else {"lines": lines})

    def refund(self, step):
        paid = [invoice for invoice in self.person.invoices() if invoice["payments"]][-1]
        adjust = step.get("adjust", "adjust_line" in step)
        self.correct(paid, "refunds", {"amount_minor": step["amount"], "credit_note": adjust})

    def credit_note(self, step):
        invoice = self.person.invoices()[-1]
        lines = [{"line_id": invoice["lines"][0]["id"], "amount_minor": step["net"]}]
        self.correct(invoice, "credit-notes", {"lines": lines})

    def add_credit(self, step):
        body = {"amount_minor": step["amount"], "currency": self.case["currency"]}
        assert self.world.operator.post(f"/v1/admin/accounts/{self.person.id}/credits", body).status_code == 201

    def set_autopay(self, step):
        self.person.put(f"/v1/payment-methods/{self.person.add_card()}/default")

    def edit_price(self, step):
        plan = next(plan for plan in self.case["plans"] if plan["id"] == step["plan"])
        self.put_plan("new-" + step["plan"], plan, step["amount"])

    def lines(self):
        codes = {price: code for code, price in self.prices.items()}
        return [
            (
                line["kind"],
                codes[line["price_id"]],
                line["period"]["start"],
                line["period"]["end"],
                line["amount_minor"],
            )
            for invoice in self.person.invoices()
            for line in invoice["lines"]
        ]

    def balance(self):
        balances = self.person.get("/v1/account/balance").json["balances"]
        return balances[0]["amount_minor"] if balances else 0


def expected_lines(case):
    for invoice in case["expect"]["invoices"]:
        for line in invoice["lines"]:
            if line["kind"] in ("charge", "credit", "trial") and line["start"]:
                yield line["kind"], line["item"], line["start"], line["end"], line["amount"]


def run_case(starting, name):
    case = CASES[name]
    life = Life(starting(case["timeline"][0]["date"]), case)
    actual = life.lines()
    for line in expected_lines(case):
        expected = next((other for other in OUR_LINES.get(name, []) if other[:2] == line[:2]), line)
        if name == "KB-061" and line[3] == "2023-05-23":
            continue  # 8 of 30 days under a fixed-length month; ours is in OUR_LINES
        assert expected in actual, "\n".join(map(str, actual))
    return life


PARAMETRIZED = [name for name in RUN_HERE if name not in ("KB-027", "KB-037", "KB-046")]


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_a_peers_case_matches_to_the_cent(starting, name):
    life = run_case(starting, name)
    if name in OUR_DATES:
        assert [invoice["due_date"] for invoice in life.person.invoices()] == OUR_DATES[name]
    for state in CASES[name]["expect"].get("state", []):
        if "account_credit" in state and "at" in state and name != "LG-012":
            assert life.balance() == OUR_ACCOUNT_CREDIT.get(name, state["account_credit"])


def test_credit_is_applied_to_one_invoice_after_another(starting):
    """KB-046. Deleting used credit is not supported: it stays used."""
    case = CASES["KB-046"]
    life = Life(starting("2015-05-15"), {**case, "expect": {"invoices": [{"date": "2015-07-14", "lines": []}]}})
    assert [invoice["status"] for invoice in life.person.invoices()] == ["paid"] * 3
    assert life.balance() == 50010


def test_existing_subscriptions_move_to_the_new_price_at_renewal(starting):
    """KB-037."""
    world = starting("2026-07-16")
    old, new = world.plan("electricity", 5000, 15000)
    ann = world.person()
    ann.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-07-18"}
    world.operator.post("/v1/admin/price-migrations", body)
    world.go_to("2026-08-16T12:00:00")
    assert ann.lines() == [("charge", "2026-07-16", "2026-08-16", 5000), ("charge", "2026-08-16", "2026-09-16", 15000)]


def test_dunning_advances_and_ends_as_soon_as_a_card_works(app, starting, monkeypatch):
    """KB-027, with its own dunning schedule: retries every 8 days, 30/40 days, and no cancellation within the case.

    Kill Bill retries each invoice on days of its own; here the account's invoices are retried together, on the days of
    the oldest.
    """
    settings = app.extensions["settings"].replace(dunning="retry=8,16,24,32,40 warn=30 suspend=40 cancel=60")
    monkeypatch.setitem(app.extensions, "settings", settings)
    world = starting("2012-05-01")
    old_price, new_price = world.plan("shotgun-monthly", 24995, 30000, trial_days=30)
    ann = world.person(card="pm_card_chargeCustomerFail")
    ann.subscribe(old_price)

    def change():
        return ann.post(
            f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": new_price, "when": "period_end"}
        )

    world.go_to("2012-06-29T12:00:00")
    assert change().status_code == 200
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change")
    world.go_to("2012-06-30T12:00:00")
    assert change().json["code"] == "payment_overdue"
    assert ann.subscription()["access_until"] == "2012-07-10T00:00:00Z"
    world.go_to("2012-07-20T12:00:00")
    attempts = [[payment["created_at"][:10] for payment in invoice["payments"]] for invoice in ann.invoices()[1:]]
    assert attempts == [
        ["2012-05-31", "2012-06-08", "2012-06-16", "2012-06-24", "2012-07-02", "2012-07-10"],
        ["2012-06-30", "2012-07-02", "2012-07-10"],
    ]
    card = ann.add_card()
    ann.put(f"/v1/payment-methods/{card}/default")
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)
    assert ann.lines()[-1] == ("credit", "2012-07-10", "2012-07-20", -8063)
    world.go_to("2012-07-31T12:00:00")
    assert (ann.invoices()[-1]["amount_due_minor"], ann.invoices()[-1]["status"]) == (16932, "paid")


def test_a_new_price_applies_to_the_first_period_that_starts_on_or_after_its_day(starting):
    """KB-035: the period that starts on 5 May is before 15 May, the next one after."""
    world = starting("2022-03-05")
    old, new = world.plan("p", 1000, 1500)
    ann = world.person()
    ann.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2022-05-15"}
    world.operator.post("/v1/admin/price-migrations", body)
    world.go_to("2022-06-05T12:00:00")
    assert [line[1:] for line in ann.lines()[-2:]] == [
        ("2022-05-05", "2022-06-05", 1000),
        ("2022-06-05", "2022-07-05", 1500),
    ]


def test_a_prorated_price_is_rounded_to_its_currency(starting):
    """OM-005: 15 and 10 of the 31 days that end on 1 February."""
    world = starting("2024-01-17")
    dollars, yen = world.plan("d", 10_000), world.plan("y", 1000, currency="JPY")
    ann, bob, cat = world.person(), world.person(), world.person(country="JP")
    ann.subscribe(dollars, anchor_day=1)
    world.go_to("2024-01-22T12:00:00")
    bob.subscribe(dollars, anchor_day=1)
    cat.subscribe(yen, anchor_day=1)
    assert [person.lines()[0][3] for person in (ann, bob, cat)] == [4839, 3226, 323]


def test_a_credit_never_exceeds_what_is_left_of_the_line(starting):
    """FP-006: half of 20000 is 10000; after credit notes the whole exceeds what is left of it, and so does 25000."""
    world = starting("2024-06-01")
    price, half, whole, none = world.plan("p", 20_000), "2024-06-16", "2024-06-01", "2024-07-01"
    world.operator.put("/v1/admin/coupons/FREE", {"percent_off": 100, "duration": "once"})
    rows = (
        # amount credited before, effective date of the cancellation, amount credited by it
        (5000, half, -10_000),
        (5000, whole, -15_000),
        (18_000, half, -2000),
        (20_000, half, 0),
        (25_000, half, -10_000),
        (0, half, 0),
        (5000, none, 20_000),
    )
    people = [world.person() for _ in rows]
    for person, (credited_before, _, _) in zip(people, rows, strict=True):
        assert person.subscribe(price, coupons=[] if credited_before else ["FREE"]).status_code == 201
        path = f"/v1/admin/invoices/{person.invoices()[0]['id']}/credit-notes"
        status = credited_before and world.operator.post(path, {"amount_minor": credited_before}).status_code
        assert status == {0: 0, 25_000: 422}.get(credited_before, 201)
    world.go_to("2024-06-15T12:00:00")
    for person, (_, day, _) in zip(people, rows, strict=True):
        path = f"/v1/admin/subscriptions/{person.subscription()['id']}/cancellation"
        assert world.operator.post(path, {"when": "now", "effective_date": day}).status_code == 200
    world.go_to("2024-07-01T12:00:00")
    assert [person.lines()[-1][3] for person in people] == [credited for _, _, credited in rows]


def test_proration_uses_exact_fractions(starting):
    """UB-001: one of three days of 1000.00 is a third of it, not 0.3333."""
    world = starting("2024-06-01")
    ann = world.person()
    ann.subscribe(world.plan("p", 100_000, interval="day", interval_count=3))
    world.go_to("2024-06-02T12:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.lines()[-1] == ("credit", "2024-06-03", "2024-06-04", -33_333)


def test_renewals_over_15_months_from_a_months_end(starting):
    """LG-003."""
    world = starting("2022-12-31")
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    world.go_to("2024-03-31T12:00:00")
    assert [line[1] for line in ann.lines()[1:]] == CASES["LG-003"]["expect"]["state"][0]["renewal_dates"]


@pytest.mark.parametrize("state", CASES["LG-006"]["expect"]["state"], ids=["from-31", "from-30"])
def test_periods_from_a_late_january_day(starting, state):
    """LG-006."""
    start, last = state.get("start", "2024-01-31"), state["periods"][-1][0]
    world = starting(start)
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    world.go_to(last + "T12:00:00")
    assert [[line[1], line[2]] for line in ann.lines()] == state["periods"]


def test_an_explicit_anchor_day_creates_a_leading_stub(starting):
    """OM-006: 21 of the 31 days from 30 June to 31 July."""
    world = starting("2025-07-10")
    ann = world.person()
    ann.subscribe(world.plan("p", 3100), anchor_day=31)
    world.go_to("2025-08-31T12:00:00")
    assert [[line[1], line[2]] for line in ann.lines()] == CASES["OM-006"]["expect"]["state"][0]["periods"]
    assert ann.lines()[0][3] == 2100


def test_tax_after_a_coupon_on_one_of_two_lines(starting):
    """LG-027: the peer adds 10 % and 20 %."""
    world, expected = starting("2024-01-01"), CASES["LG-027"]["expect"]["state"][0]
    one, two = (world.plan(code, amount, currency="EUR") for code, amount in (("one", 151), ("two", 379)))
    world.operator.put("/v1/admin/tax-rates/FR", {"percent": 30, "name": "VAT"})
    terms = {"amount_off_minor": 100, "currency": "EUR", "duration": "once", "plans": ["two"]}
    world.operator.put("/v1/admin/coupons/HUNDRED", terms)
    ann = world.person(country="FR")
    response = ann.subscribe(one, addons=[two], coupon="HUNDRED")
    assert response.status_code == 201, response.json
    [invoice] = ann.invoices()
    assert [line["tax_minor"] for line in invoice["lines"] if line["kind"] == "charge"] == expected["tax_per_line"]
    names = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor")
    assert [invoice[name] for name in names] == [expected[name] for name in ("fees", "discount", "tax", "total")]


def test_a_fixed_coupon_is_allocated_over_four_lines(starting):
    """LG-028, at 10 % for all lines: 19/20 of each line's tax."""
    world, expected = starting("2024-01-01"), CASES["LG-028"]["expect"]["state"][0]
    base, *addons = (world.plan(f"p{n}", n, currency="EUR") for n in (10_000, 5000, 3000, 2000))
    world.operator.put("/v1/admin/tax-rates/FR", {"percent": 10, "name": "VAT"})
    world.operator.put("/v1/admin/coupons/TEN", {"amount_off_minor": 1000, "currency": "EUR", "duration": "once"})
    ann = world.person(country="FR")
    assert ann.subscribe(base, addons=addons, coupon="TEN").status_code == 201
    [invoice] = ann.invoices()
    lines = [line for line in invoice["lines"] if line["kind"] == "charge"]
    assert [line["discount_minor"] for line in lines] == expected["discount_per_line"]
    assert [line["tax_minor"] for line in lines] == [950, 475, 285, 190]
    names = ("subtotal_minor", "tax_minor", "total_minor")
    assert [invoice[name] for name in names] == [20_000, expected["tax"], expected["total"]]


def test_numbers_are_consecutive_across_customers_and_months_and_drafts_have_none(app, starting, monkeypatch):
    """LG-031."""
    settings = app.extensions["settings"].replace(invoice_review_hours=1)
    monkeypatch.setitem(app.extensions, "settings", settings)
    world = starting("2023-07-19")
    price, people, numbers = world.plan("m", 12_900, currency="EUR"), [world.person() for _ in range(3)], []
    for person in people:
        person.subscribe(price)
    for month in ("07", "08", "09", "10"):
        world.go_to(f"2023-{month}-19T00:30:00")
        drafts = world.operator.get("/v1/admin/invoices?status=draft").json["items"]
        assert [draft["number"] for draft in drafts] == ([] if month == "07" else [None] * 3)
        world.go_to(f"2023-{month}-19T12:00:00")
        numbers.append(sorted(person.invoices()[-1]["number"] for person in people))
    assert numbers == [[f"2023-{month * 3 + n:06d}" for n in (1, 2, 3)] for month in range(4)]


def test_numbers_have_no_gap_after_failed_payments(world):
    price = world.plan("p", 1000)
    for n in range(6):
        response = world.person(card="pm_card_chargeDeclined" if n % 2 else "pm_card_visa").subscribe(price)
        assert response.status_code == (402 if n % 2 else 201)
    assert world.person().subscribe(price).status_code == 201


def test_an_unauthenticated_start_is_canceled_after_23_hours(world):
    """ST-006."""
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(world.plan("p", 1000))
    world.go_to(datetime(2026, 1, 16, 10, 59, tzinfo=UTC))
    assert ann.subscription()["status"] == "incomplete"
    world.go_to(datetime(2026, 1, 16, 11, 0, tzinfo=UTC))
    assert (ann.subscription()["status"], ann.invoices()[0]["status"]) == ("canceled", "void")


def test_an_unpaid_period_yields_no_account_credit(world):
    """ST-008: the credit for an unpaid period pays that same period; none of it reaches the account."""
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.get("/v1/account/balance").json["balances"] == []
    unpaid = ann.invoices()[1]
    assert (unpaid["status"], unpaid["credit_applied_minor"], unpaid["balance_minor"]) == ("open", 2989, 111)
    world.go_to("2026-02-16T06:00:00")
    assert (ann.invoices()[1]["status"], world.charges()) == ("paid", [3100, 111])


def test_a_second_upgrade_credits_the_full_price_of_the_current_plan(starting):
    """RF-001: not just the net cost of the first upgrade."""
    world = starting("2026-01-01")
    a, b, c = world.plan("p", 49900, 99800, 149700, interval="year")
    ann = world.person()
    ann.subscribe(a)
    for day, price in (("2026-01-24", b), ("2026-02-20", c)):
        world.go_to(day + "T12:00:00")
        ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": price})
    days_left, days_left_later = 342, (date(2027, 1, 1) - date(2026, 2, 20)).days
    b_line = round(99800 * days_left / 365)
    assert [line[3] for line in ann.lines()] == [
        49900,
        -round(49900 * days_left / 365),
        b_line,
        -round(b_line * days_left_later / days_left),
        round(149700 * days_left_later / 365),
    ]


def test_an_upgrade_halfway_through_september(starting):
    """SG-001: the day of the change belongs to the new plan, so 16 of 30 days; the peer counts it as used."""
    world = starting("2024-09-01")
    standard, premium = world.plan("p", 3000, 6000)
    ann = world.person()
    ann.subscribe(standard)
    world.go_to("2024-09-15T12:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": premium})
    assert [line[3] for line in ann.lines()] == [3000, -1600, 3200]
    assert world.charges() == [3000, 1600]


def test_two_prorated_phases_of_a_month_add_up_to_its_price(starting):
    """OM-004: 2.26 used and 2.74 remaining, at either price."""
    world = starting("2024-01-01")
    world.put_plan("p", [{"currency": "USD", "amount_minor": 500, "tax": tax} for tax in ("inclusive", "exclusive")])
    prices = {p["tax"]: p["id"] for p in world.operator.client.get("/v1/plans/p").json["prices"]}
    inclusive, exclusive = prices["inclusive"], prices["exclusive"]
    ann = world.person()
    ann.subscribe(inclusive)
    world.go_to("2024-01-15T12:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": exclusive, "when": "now"})
    world.go_to("2024-02-01T12:00:00")
    assert [line[3] for line in ann.lines()] == [500, -274, 274, 500]
    assert world.charges() == [500, 500]


def test_canceling_in_march_credits_the_remaining_days(starting):
    """FP-005: 17 of 31 days."""
    world = starting("2024-03-01")
    ann = world.person()
    ann.subscribe(world.plan("p", 4000))
    world.go_to("2024-03-14T12:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.lines()[-1] == ("credit", "2024-03-15", "2024-04-01", -2194)


def test_only_soft_declines_are_retried(starting):
    """ST-011: of accounts past due since 15 February only insufficient funds are retried, six times in two weeks."""
    world = starting("2024-01-15")
    price, people = world.plan("p", 1000), [world.person() for _ in range(3)]
    for person in people:
        person.subscribe(price)
    insufficient, stolen, without_card = people
    for person, card in ((insufficient, "InsufficientFunds"), (stolen, "StolenCard")):
        method = person.add_card("pm_card_chargeDeclined" + card)
        person.put(f"/v1/payment-methods/{method}/default")
    without_card.delete(f"/v1/payment-methods/{without_card.get('/v1/payment-methods').json['items'][0]['id']}")
    world.go_to("2024-03-06T12:00:00")
    attempts = [[payment["created_at"][:10] for payment in person.invoices()[1]["payments"]] for person in people]
    assert attempts == [[f"2024-02-{day}" for day in (15, 16, 18, 20, 22, 25, 29)], ["2024-02-15"], []]
    world.go_to("2024-03-07T12:00:00")
    assert [person.subscription()["status"] for person in people] == ["canceled"] * 3


STUBS = (
    # start, anchor day, months, end, fractions of the price charged; from Kill Bill's in-advance proration tests
    ("2010-12-15", 15, 1, "2011-03-17", [(1, 1), (1, 1), (1, 1), (2, 31)]),
    ("2011-01-01", 15, 12, "2012-01-27", [(14, 365), (1, 1), (12, 366)]),
    ("2011-01-01", 15, 3, "2011-04-27", [(14, 92), (1, 1), (12, 91)]),
    ("2011-01-31", 7, 1, "2011-03-10", [(7, 31), (1, 1), (3, 31)]),
    ("2011-02-01", 13, 1, "2011-04-13", [(12, 31), (1, 1), (1, 1)]),
    # Kill Bill has 14 of 31 days, one month back from 28 February; our period with anchor 31 that ends there has 28
    ("2011-02-14", 31, 1, "2011-03-31", [(14, 28), (1, 1)]),
)


def test_stubs_before_the_first_and_after_the_last_anchor_day(starting):
    world, price, lives = starting("2010-12-15"), 10_000_000, []
    for start, day, months, end, parts in STUBS:
        world.go_to(start + "T12:00:00")
        person = world.person()
        price_id = world.plan(f"p{months}", price, interval_count=months)
        assert person.subscribe(price_id, anchor_day=day).status_code == 201
        path = f"/v1/subscriptions/{person.subscription()['id']}/cancellation"
        assert person.post(path, {"when": "now", "effective_date": end}).json["cancel_at"] == end
        lives.append((person, [(price * days * 2 + of) // (of * 2) for days, of in parts]))
    world.go_to("2012-02-01T12:00:00")
    assert [[line[3] for line in person.lines()] for person, _ in lives] == [amounts for _, amounts in lives]
