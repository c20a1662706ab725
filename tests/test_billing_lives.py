"""Random lives of subscriptions over ten years, in random zones: after every step the books agree with themselves."""

import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from streamsvc.database import db
from tests.billing_world import World
from tests.conftest import empty

EXAMPLES = int(os.environ.get("STREAMSVC_TEST_LIVES", "6"))
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu")
PRICES = (
    {"amount_minor": 999},
    {"amount_minor": 1999, "intro": {"amount_minor": 499, "periods": 3}},
    {"amount_minor": 0},
    {"amount_minor": 9999, "interval": "year"},
    {"amount_minor": 299, "interval": "week", "interval_count": 2},
    {"amount_minor": 1501, "interval": "month", "interval_count": 3, "tax": "inclusive"},
)
PRICE = range(len(PRICES))
STEPS = (
    # (how often, what, from what to choose its details)
    (6, "wait", range(1, 20)),
    (2, "wait", range(20, 45)),
    (1, "wait", range(60, 400)),
    (6, "change", PRICE, ("auto", "now", "now", "period_end")),
    (2, "anchor", range(1, 32)),
    (2, "pause"),
    (2, "resume"),
    (3, "cancel", ("period_end", "now")),
    (2, "keep"),
    (2, "decline", range(1, 5)),
    (1, "error", range(1, 3)),
    (2, "card"),
    (4, "credit_note", range(1, 3000)),
    (1, "refund", (True, False)),
    (2, "subscribe", PRICE, (None, 1, 15, 29, 30, 31)),
)
MONEY = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor", "amount_due_minor")


class Life:
    """One viewer, to whom things happen."""

    def __init__(self, app, start, zone):
        with app.app_context():
            empty(db.engine)
        app.extensions["clock"].at = datetime.combine(start, datetime.min.time(), UTC) + timedelta(hours=15)
        self.world = World(app)
        terms = [{"currency": "USD", "tax": "exclusive", **price} for price in PRICES]
        self.prices = self.world.put_plan("p", terms)
        self.world.operator.put("/v1/admin/tax-rates/US", {"percent": 8.875, "name": "Tax"})
        self.world.operator.put("/v1/admin/coupons/c", {"percent_off": 33.3, "duration": "repeating", "periods": 5})
        self.viewer = self.world.person(zone=zone)
        self.paused_ever = False

    def path(self, what):
        items = self.viewer.get("/v1/subscriptions").json["items"]
        return f"/v1/subscriptions/{items[0]['id']}/{what}" if items else None

    def wait(self, days):
        self.world.go_to(self.world.clock.at + timedelta(days=days))

    def subscribe(self, price, anchor):
        body = {"price_id": self.prices[price], "coupon": "c"}
        if "week" not in PRICES[price].get("interval", ""):
            body["anchor_day"] = anchor
        self.foreseen("/v1/subscriptions", body, body)

    def change(self, price, when):
        if path := self.path("plan-change"):
            body = {"price_id": self.prices[price], "when": when}
            self.foreseen(path, body, {**body, "subscription_id": path.split("/")[3]})

    def foreseen(self, path, body, asked):
        """Do it, and hold the invoices that come against the preview."""
        seen = self.viewer.post("/v1/invoice-previews", asked)
        before = len(self.viewer.invoices())
        done = self.viewer.post(path, body)
        came = self.viewer.invoices()[before:]
        assert done.status_code in (seen.status_code, 201, 402), (seen.json, done.json)
        if came and seen.status_code == 200:
            assert [seen.json[name] for name in MONEY] == [came[0][name] for name in MONEY]

    def anchor(self, day):
        if path := self.path("anchor"):
            self.viewer.put(path, {"day": day})

    def pause(self):
        if path := self.path("pause"):
            self.paused_ever |= self.viewer.post(path).status_code == 200

    def resume(self):
        if path := self.path("pause"):
            self.viewer.delete(path)

    def cancel(self, when):
        if path := self.path("cancellation"):
            self.viewer.post(path, {"when": when})

    def keep(self):
        if path := self.path("cancellation"):
            self.viewer.delete(path)

    def decline(self, times):
        for _ in range(times):
            self.world.next_charge("decline")

    def error(self, times):
        for _ in range(times):
            self.world.next_charge("error")

    def card(self):
        self.viewer.add_card()

    def credit_note(self, amount):
        if invoices := self.viewer.invoices():
            path = f"/v1/admin/invoices/{invoices[-1]['id']}/credit-notes"
            self.world.operator.post(path, {"amount_minor": amount})

    def refund(self, with_note):
        if invoices := self.viewer.invoices():
            path = f"/v1/admin/invoices/{invoices[-1]['id']}/refunds"
            self.world.operator.post(path, {"credit_note": with_note})

    def check(self):
        """The books agree; no day is paid for twice; the provider took what we booked."""
        assert self.world.differences() == []
        invoices = self.viewer.invoices()
        booked = [one["amount_minor"] for i in invoices for one in i["payments"] if one["status"] == "succeeded"]
        assert sorted(booked) == sorted(self.world.charges())
        if not self.paused_ever:
            for days in paid_days(invoices).values():
                assert set(days.values()) <= {0, 1}


def paid_days(invoices):
    """How often each civil day is paid for, by subscription: charges less what was credited of them."""
    found = {}
    for invoice in invoices:
        if invoice["status"] == "void":
            continue
        days = found.setdefault(invoice["subscription_id"], Counter())
        for line in invoice["lines"]:
            sign = {"charge": 1, "credit": -1}.get(line["kind"], 0)
            day = line["period"] and date.fromisoformat(line["period"]["start"])
            while sign and day < date.fromisoformat(line["period"]["end"]):
                days[day] += sign
                day += timedelta(days=1)
    return found


def steps_of(chance, most):
    """A life as a list of steps, evenly drawn: what Hypothesis itself draws is mostly short and alike."""
    drawn = chance.choices(STEPS, [step[0] for step in STEPS], k=chance.randint(most // 3, most))
    return [(name, *(chance.choice(choices) for choices in details)) for _, name, *details in drawn]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the steps are noted; making them fewer takes minutes
)
@given(
    start=st.dates(date(2023, 12, 1), date(2028, 3, 1)),
    zone=st.sampled_from(ZONES),
    first=st.sampled_from(PRICE),
    anchor=st.sampled_from([None, 1, 15, 29, 30, 31]),
    chance=st.randoms(use_true_random=True),
)
def test_whatever_happens_the_books_agree(app, start, zone, first, anchor, chance):
    life = Life(app, start, zone)
    life.subscribe(first, anchor)
    steps = steps_of(chance, 30)
    note("\n".join(map(str, steps)))
    for name, *details in steps:
        getattr(life, name)(*details)
        life.check()


def test_the_check_sees_a_day_that_is_paid_twice():
    line = {"kind": "charge", "period": {"start": "2026-01-01", "end": "2026-01-03"}}
    twice = [{"status": "paid", "subscription_id": "s", "lines": [line, line]}]
    assert set(paid_days(twice)["s"].values()) == {2}
