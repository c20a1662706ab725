"""Random subscription histories over ten years, in any time zone: the books reconcile after every step."""

import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from streamsvc.storage.database import db
from tests.conftest import delete_all_rows
from tests.worlds.billing_world import World

EXAMPLES = int(os.environ.get("STREAMSVC_TEST_LIVES", "2"))
ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
PRICES = (
    {"amount_minor": 999},
    {"amount_minor": 1999, "intro": {"amount_minor": 499, "periods": 3}},
    {"amount_minor": 0},
    {"amount_minor": 9999, "interval": "year"},
    {"amount_minor": 299, "interval": "week", "interval_count": 2},
    {"amount_minor": 1501, "interval": "month", "interval_count": 3, "tax": "inclusive"},
    {"amount_minor": 1299, "trial_days": 10},
)
ADDONS = (
    {"amount_minor": 333},
    {"amount_minor": 3333, "interval": "year"},
    {"amount_minor": 101, "interval": "week", "interval_count": 2},
    {"amount_minor": 777, "interval": "month", "interval_count": 3, "tax": "inclusive"},
)
COUPONS = {
    "third": {"percent_off": 33.3, "duration": "repeating", "periods": 5},
    "fixed": {"amount_off_minor": 1700, "currency": "USD", "duration": "once"},
    "always": {"percent_off": 10, "duration": "forever"},
    "some": {"amount_off_minor": 100, "currency": "USD", "duration": "repeating", "periods": 2, "plans": ["p"]},
}
CODES = tuple(COUPONS)
PRICE = range(len(PRICES))
MONTHLY = (0, 1, 2, 6)
STEPS = (
    # (weight, method, choices for each argument)
    (6, "wait", range(1, 20)),
    (2, "wait", range(20, 45)),
    (1, "wait", range(60, 400)),
    (6, "change", PRICE, ("auto", "now", "now", "period_end")),
    (2, "set_anchor_day", range(1, 32)),
    (1, "cancel_anchor_move"),
    (2, "pause"),
    (3, "resume"),
    (2, "cancel", ("period_end", "now")),
    (1, "end_on", range(-20, 60), ("none", "prorated")),
    (2, "undo_cancellation"),
    (2, "cancel_scheduled_change"),
    (4, "add_addon"),
    (2, "remove_addon", ("now", "period_end")),
    (2, "add_coupon", CODES),
    (1, "remove_coupon", CODES),
    (1, "transfer"),
    (1, "migrate", MONTHLY, MONTHLY, range(0, 40)),
    (1, "withdraw"),
    (2, "decline", range(1, 5)),
    (1, "error", range(1, 3)),
    (2, "card"),
    (4, "credit_note", range(1, 3000)),
    (1, "refund", (True, False)),
    (3, "write_off"),
    (2, "pay"),
    (2, "hold_drafts"),
    (2, "release_drafts"),
    (3, "draft_line", range(1, 3000), ("inclusive", "exclusive")),
    (5, "subscribe", PRICE, (None, 1, 15, 29, 30, 31), CODES, CODES),
)
MONEY = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor", "amount_due_minor")


class Life:
    """One viewer, with a method for each random step."""

    def __init__(self, app, start, zone):
        with app.app_context():
            delete_all_rows(db.engine)
        app.extensions["clock"].at = datetime.combine(start, datetime.min.time(), UTC) + timedelta(hours=15)
        self.world = World(app)
        self.prices = self.world.put_plan("p", [{"currency": "USD", "tax": "exclusive", **terms} for terms in PRICES])
        self.addons = self.world.put_plan(
            "extra", [{"currency": "USD", "tax": "exclusive", **terms} for terms in ADDONS]
        )
        self.world.operator.put("/v1/admin/tax-rates/US", {"percent": 8.875, "name": "Tax"})
        for code, terms in COUPONS.items():
            self.world.operator.put(f"/v1/admin/coupons/{code}", terms)
        self.viewer, self.other = self.world.person(zone=zone), self.world.person(zone=zone)
        self.paused_ever, self.migrations = False, []

    def path(self, step):
        items = self.viewer.get("/v1/subscriptions").json["items"]
        return f"/v1/subscriptions/{items[0]['id']}/{step}" if items else None

    def wait(self, days):
        self.world.go_to(self.world.clock.at + timedelta(days=days))

    def go_to_renewal(self):
        """Advance to noon of the first day of the next period, when its invoice may be a draft."""
        if self.path("") and (period := self.viewer.subscription()["period"]):
            noon = datetime.combine(date.fromisoformat(period["end"]), datetime.min.time(), UTC) + timedelta(hours=36)
            self.world.go_to(max(self.world.clock.at, noon))

    def subscribe(self, price, anchor, *coupons):
        body = {"price_id": self.prices[price], "coupons": list(dict.fromkeys(coupons))}
        if "week" not in PRICES[price].get("interval", ""):
            body["anchor_day"] = anchor
        self.do_as_previewed("/v1/subscriptions", body, body)

    def change(self, price, when):
        if path := self.path("plan-change"):
            body = {"price_id": self.prices[price], "when": when}
            self.do_as_previewed(path, body, {**body, "subscription_id": path.split("/")[3]})

    def add_addon(self):
        if path := self.path("addons"):
            current_price = self.viewer.subscription()["price"]
            intervals = [(terms.get("interval", "month"), terms.get("interval_count", 1)) for terms in ADDONS]
            price = self.addons[intervals.index((current_price["interval"], current_price["interval_count"]))]
            self.do_as_previewed(path, {"price_id": price}, {"add_addon": price, "subscription_id": path.split("/")[3]})

    def remove_addon(self, when):
        if path := self.path("addons/extra"):
            self.viewer.delete(f"{path}?when={when}")

    def add_coupon(self, code):
        if path := self.path("coupons"):
            self.viewer.post(path, {"coupon": code})

    def remove_coupon(self, code):
        if path := self.path(f"coupons/{code}"):
            self.viewer.delete(path)

    def cancel_scheduled_change(self):
        if path := self.path("plan-change"):
            self.viewer.delete(path)

    def end_on(self, days, credit):
        if path := self.path("cancellation"):
            day = (self.world.clock.at + timedelta(days=days)).date().isoformat()
            body = {"when": "now", "effective_date": day, "credit": credit}
            self.world.operator.post(path.replace("/v1/", "/v1/admin/"), body)

    def transfer(self):
        if path := self.path("transfer"):
            body = {"account_id": self.other.id}
            if self.world.operator.post(path.replace("/v1/", "/v1/admin/"), body).status_code == 200:
                self.viewer, self.other = self.other, self.viewer

    def migrate(self, old, new, days):
        day = (self.world.clock.at + timedelta(days=days)).date().isoformat()
        body = {"from_price_id": self.prices[old], "to_price_id": self.prices[new], "effective": day}
        response = self.world.operator.post("/v1/admin/price-migrations", body)
        self.migrations += [response.json["id"]] if response.status_code == 201 else []

    def withdraw(self):
        if self.migrations:
            self.world.operator.delete(f"/v1/admin/price-migrations/{self.migrations.pop()}")

    def do_as_previewed(self, path, body, preview_body):
        """Do it, and compare the resulting invoices with the preview."""
        preview = self.viewer.post("/v1/invoice-previews", preview_body)
        before = len(self.viewer.invoices())
        response = self.viewer.post(path, body)
        new_invoices = self.viewer.invoices()[before:]
        assert response.status_code in (preview.status_code, 201, 402, 429), (preview.json, response.json)
        if new_invoices and preview.status_code == 200:
            assert [preview.json[name] for name in MONEY] == [new_invoices[0][name] for name in MONEY]

    def set_anchor_day(self, day):
        if path := self.path("anchor"):
            self.viewer.put(path, {"day": day})

    def cancel_anchor_move(self):
        if path := self.path("anchor"):
            self.viewer.delete(path)

    def pause(self):
        if path := self.path("pause"):
            self.paused_ever |= self.viewer.post(path).status_code == 200

    def resume(self):
        if path := self.path("pause"):
            self.viewer.delete(path)

    def cancel(self, when):
        if path := self.path("cancellation"):
            self.viewer.post(path, {"when": when})

    def undo_cancellation(self):
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

    def write_off(self):
        """Write off what is owed on the last two invoices."""
        for invoice in self.viewer.invoices()[-2:]:
            self.world.operator.post(f"/v1/admin/invoices/{invoice['id']}/write-off")

    def pay(self):
        for invoice in self.viewer.invoices()[-3:]:
            self.viewer.post(f"/v1/invoices/{invoice['id']}/payments")

    def drafts(self):
        return self.world.operator.get("/v1/admin/invoices?status=draft").json["items"]

    def on_drafts(self, act):
        self.go_to_renewal()
        for draft in self.drafts():
            act(f"/v1/admin/invoices/{draft['id']}")

    def hold_drafts(self):
        self.on_drafts(lambda path: self.world.operator.put(f"{path}/hold"))

    def release_drafts(self):
        for draft in self.drafts():
            self.world.operator.delete(f"/v1/admin/invoices/{draft['id']}/hold")

    def draft_line(self, amount, tax):
        body = {"amount_minor": amount, "description": "A poster", "tax": tax}
        self.on_drafts(lambda path: self.world.operator.post(f"{path}/lines", body))

    def check(self):
        """Check that the books reconcile, no day is paid for twice, the provider charged what we booked, and nobody has
        received more than was charged."""
        assert self.world.differences() == []
        invoices = self.viewer.invoices() + self.other.invoices()
        booked_amounts = [
            payment["amount_minor"]
            for invoice in invoices
            for payment in invoice["payments"]
            if payment["status"] == "succeeded"
        ]
        assert sorted(booked_amounts) == sorted(self.world.charges())
        credit = sum(balance["amount_minor"] for person in (self.viewer, self.other) for balance in person.balances())
        owed = sum(invoice["balance_minor"] for invoice in invoices)
        assert credit <= sum(booked_amounts) - sum(self.world.charges(kind="refund")) + owed
        if not self.paused_ever:
            for days in paid_days(invoices, self.addons).values():
                assert set(days.values()) <= {0, 1}


def paid_days(invoices, addons=()):
    """Count how often each civil day is paid for (charges less credits), by subscription and whether by its add-on."""
    paid = {}
    for invoice in invoices:
        if invoice["status"] == "void":
            continue
        for line in invoice["lines"]:
            days = paid.setdefault((invoice["subscription_id"], line.get("price_id") in addons), Counter())
            sign = {"charge": 1, "credit": -1}.get(line["kind"], 0)
            day = line["period"] and date.fromisoformat(line["period"]["start"])
            while sign and day < date.fromisoformat(line["period"]["end"]):
                days[day] += sign
                day += timedelta(days=1)
    return paid


def draw_steps(chance, max_steps):
    """Draw a weighted list of random steps; those drawn by Hypothesis itself are mostly short and alike."""
    steps = chance.choices(STEPS, [step[0] for step in STEPS], k=chance.randint(max_steps // 3, max_steps))
    return [(name, *(chance.choice(choices) for choices in details)) for _, name, *details in steps]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the steps are printed; shrinking them takes minutes
)
@given(
    start=st.dates(date(2023, 12, 1), date(2028, 3, 1)),
    zone=st.sampled_from(ZONES),
    first=st.sampled_from(PRICE),
    anchor=st.sampled_from([None, 1, 15, 29, 30, 31]),
    review_hours=st.sampled_from([0, 100]),
    pauses=st.sampled_from(["min=3 per_year=3 cool_down=30", "min=0 per_year=999 cool_down=0"]),
    chance=st.randoms(use_true_random=True),
)
def test_the_books_reconcile_after_every_random_step(
    app, monkeypatch, start, zone, first, anchor, review_hours, pauses, chance
):
    settings = app.extensions["settings"].replace(invoice_review_hours=review_hours, pauses=pauses)
    monkeypatch.setitem(app.extensions, "settings", settings)
    life = Life(app, start, zone)
    life.subscribe(first, anchor, "third")
    steps = draw_steps(chance, 30)
    note("\n".join(map(str, steps)))
    for name, *details in steps:
        getattr(life, name)(*details)
        life.check()


def test_the_check_detects_a_day_paid_twice():
    line = {"kind": "charge", "price_id": "p", "period": {"start": "2026-01-01", "end": "2026-01-03"}}
    twice = [{"status": "paid", "subscription_id": "s", "lines": [line, line]}]
    assert set(paid_days(twice)["s", False].values()) == {2}
