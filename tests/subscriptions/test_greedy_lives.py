"""Greedy customers: whatever a customer does, at any second and with any card, access is paid for and debts are closed.

The invariants are computed from what can be seen from outside: the entitlements at each step and at every midnight, the
invoices, and the money that moved at the provider.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from streamsvc.storage.database import db
from tests.conftest import delete_all_rows
from tests.worlds.billing_world import World

LIVES = int(os.environ.get("STREAMSVC_TEST_GREEDY_LIVES", "1"))
RACE_S = float(os.environ.get("STREAMSVC_TEST_RACE_S", "2"))
RACERS = 8
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Pacific/Auckland")
GRACE_DAYS, DUNNING_DAYS = 7, 21
"""The first day without access and the day of the cancellation, counted from the first failed charge."""
PLANS = {
    # code: (tier, prices)
    "basic": (1, [{"amount_minor": 500}, {"amount_minor": 5000, "interval": "year"}]),
    "standard": (2, [{"amount_minor": 1000}, {"amount_minor": 280, "interval": "week"}]),
    "premium": (3, [{"amount_minor": 2000, "trial_days": 7}, {"amount_minor": 20000, "interval": "year"}]),
}
MAX_GIFT_DAYS = (31, 366, 31, 7, 31, 366)
"""The days of a period of each price, at most."""
TIERS = {code: tier for code, (tier, _) in PLANS.items()}
ADDON = "extra"
BYSTANDER_CREDIT_MINOR = 100_000
ANY_CARD = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_authenticationRequired",
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedStolenCard",
)
COUPONS = {
    "half": {"percent_off": 50, "duration": "repeating", "periods": 2},
    "six": {"amount_off_minor": 600, "currency": "USD", "duration": "once"},
}
STEPS = (
    # (weight, method, choices for each argument)
    (8, "wait_seconds", (1, 60, 3600, 6 * 3600)),
    (8, "go_to_midnight", (-60, -1, 0, 1, 60)),
    (4, "wait_days", (1, 2, 5, 8, 15, 31)),
    (8, "change", range(6), ("auto", "now", "now", "period_end")),
    (2, "cancel_scheduled_change"),
    (4, "pause"),
    (6, "resume"),
    (3, "cancel", ("period_end", "now", "now")),
    (3, "undo_cancellation"),
    (3, "add_addon", (1, 2)),
    (3, "change_addon", (1, 2, 3)),
    (1, "restore_addon"),
    (3, "remove_addon", ("now", "period_end")),
    (2, "move_anchor", range(1, 32)),
    (1, "withdraw_anchor_move"),
    (2, "add_coupon", tuple(COUPONS)),
    (2, "redeem_gift_code", ("USD", "USD", "EUR")),
    (5, "add_card", ANY_CARD),
    (2, "remove_card"),
    (4, "authenticate", (True, True, False)),
    (3, "pay", (None, None, 1, 400)),
    (1, "record_payment", (1, 400)),
    (1, "write_off"),
    (2, "charge_back", (None, 100)),
    (1, "win_dispute"),
    (2, "refund", (True, False), (None, 100)),
    (1, "credit_note", (1, 300, 5000)),
    (1, "decline_next"),
    (1, "plan_outcome", ("timeout", "error", "partial")),
    (8, "subscribe", range(6), (None, 1, 31), (None, "half", "six")),
    (4, "buy_gift", (None, None, *range(6)), (1, 2)),
    (5, "redeem_bought_gift", (True, False)),
    (2, "refund_gift"),
    (2, "charge_back_gift", (None, 100)),
    (3, "pay_out", (None, 100), ("auto", "bank_transfer")),
)


class GreedyLife:
    """One customer, with a method for each step, and what was seen from outside."""

    def __init__(self, app, start, zone):
        with app.app_context():
            delete_all_rows(db.engine)
        app.extensions["clock"].at = start
        self.world, self.zone, self.lock = World(app), ZoneInfo(zone), threading.Lock()
        terms = {"currency": "USD", "tax": "exclusive"}
        self.prices, self.plan_of_price = [], {}
        for code, (_, prices) in PLANS.items():
            self._remember(code, self.world.put_plan(code, [terms | price for price in prices]))
        addons = self.world.put_plan(
            ADDON, [terms | {"amount_minor": 300}, terms | {"amount_minor": 3000, "interval": "year"}]
        )
        self.addons = dict(zip(("month", "year"), addons, strict=True))
        self.plan_of_price |= dict.fromkeys(addons, ADDON)
        for code, coupon in COUPONS.items():
            self.world.operator.put(f"/v1/admin/coupons/{code}", coupon)
        self.viewer, self.bystander = self.world.person(zone=zone), self.world.person(zone=zone)
        body = {
            "amount_minor": BYSTANDER_CREDIT_MINOR,
            "currency": "USD",
            "reason": "no card is charged",
        }
        self.world.operator.post(f"/v1/admin/accounts/{self.bystander.id}/credits", body)
        self.bystander.subscribe(self.prices[0])
        self.tiers_seen = {}
        """The highest tier seen on each civil day."""
        self.gifts_minor = Counter()
        """The gift codes redeemed, by currency."""
        self.recorded_minor = 0
        """The payments that the operator recorded."""
        self.paid_out_minor = self.transferred_minor = 0
        """The payouts, and those of them by bank transfer."""
        self.friend, self.friend_credit_minor = self.world.person(zone=zone, card=None), 0
        self.written_off = set()
        """The invoices that the operator wrote off: their days stay the customer's."""
        self.gift_days = Counter()
        """The days that redeemed gifts of a plan pay for, by tier."""

    def _remember(self, code, price_ids):
        self.prices += price_ids
        self.plan_of_price |= dict.fromkeys(price_ids, code)

    def observe(self):
        """Look at the entitlements now."""
        session = self.viewer.get("/v1/sessions/current").json
        if session["entitlements"]["active"]:
            day = self.world.clock.at.astimezone(self.zone).date()
            tier = TIERS[session["entitlements"]["plan"]]
            self.tiers_seen[day] = max(tier, self.tiers_seen.get(day, 0))

    def go_to(self, moment):
        """Advance to the moment, looking at the entitlements after the start and before the end of every civil day."""
        while self.world.clock.at < moment:
            local = self.world.clock.at.astimezone(self.zone)
            midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), self.zone).astimezone(
                UTC
            )
            stops = (midnight - timedelta(seconds=1), midnight + timedelta(seconds=1), moment)
            self.world.go_to(min(stop for stop in stops if stop > self.world.clock.at))
            self.observe()

    def wait_seconds(self, seconds):
        self.go_to(self.world.clock.at + timedelta(seconds=seconds))

    def wait_days(self, days):
        self.go_to(self.world.clock.at + timedelta(days=days))

    def go_to_midnight(self, seconds):
        """Advance to so many seconds after the next midnight."""
        self.go_to(self.next_midnight() + timedelta(seconds=seconds))

    def next_midnight(self):
        tomorrow = self.world.clock.at.astimezone(self.zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, datetime.min.time(), self.zone).astimezone(UTC)

    def latest(self):
        items = self.viewer.get("/v1/subscriptions").json["items"]
        return items[0] if items else None

    def path(self, step):
        subscription = self.latest()
        return subscription and f"/v1/subscriptions/{subscription['id']}/{step}"

    def send(self, method, step, *body):
        """Send a request about the latest subscription, if there is one."""
        if path := self.path(step):
            return self.expect_no_error(getattr(self.viewer, method)(path, *body))

    @staticmethod
    def expect_no_error(response):
        assert response.status_code < 500 or response.json["code"] == "payment_in_progress", response.json
        return response

    def subscribe(self, price, anchor, coupon):
        body = {"price_id": self.prices[price], "coupons": [coupon] if coupon else []}
        if anchor and price != 3:
            body["anchor_day"] = anchor
        self.expect_no_error(self.viewer.post("/v1/subscriptions", body))

    def change(self, price, when):
        self.send("post", "plan-change", {"price_id": self.prices[price], "when": when})

    def cancel_scheduled_change(self):
        self.send("delete", "plan-change")

    def pause(self):
        self.send("post", "pause", {})

    def resume(self):
        self.send("delete", "pause")

    def cancel(self, when):
        self.send("post", "cancellation", {"when": when})

    def undo_cancellation(self):
        self.send("delete", "cancellation")

    def add_addon(self, quantity):
        subscription = self.latest()
        if subscription and subscription["price"]["interval"] in self.addons:
            price_id = self.addons[subscription["price"]["interval"]]
            self.send("post", "addons", {"price_id": price_id, "quantity": quantity})

    def change_addon(self, quantity):
        self.send("patch", f"addons/{ADDON}", {"quantity": quantity})

    def restore_addon(self):
        self.send("delete", f"addons/{ADDON}/removal")

    def remove_addon(self, when):
        self.send("delete", f"addons/{ADDON}?when={when}")

    def move_anchor(self, day):
        self.send("put", "anchor", {"day": day})

    def withdraw_anchor_move(self):
        self.send("delete", "anchor")

    def add_coupon(self, code):
        self.send("post", "coupons", {"coupon": code})

    def redeem_gift_code(self, currency):
        body = {"amount_minor": 700, "currency": currency}
        code = self.world.operator.post("/v1/admin/gift-codes", body).json["items"][0]["code"]
        if self.expect_no_error(self.viewer.post("/v1/gift-redemptions", {"code": code})).status_code < 300:
            with self.lock:
                self.gifts_minor[currency] += 700

    def list_gifts(self, *states):
        """List the bought gifts in one of these states, oldest first."""
        gifts = self.viewer.get("/v1/gift-purchases").json["items"][::-1]
        return [gift for gift in gifts if gift["state"] in states]

    def buy_gift(self, price, periods):
        what = {"price_id": self.prices[price], "periods": periods} if price is not None else {"currency": "USD"}
        body = what if price is not None else what | {"amount_minor": 2500}
        self.expect_no_error(self.viewer.post("/v1/gift-purchases", body))

    def redeem_bought_gift(self, is_own):
        """Redeem the newest gift that was bought, as its buyer or as a friend who shares nothing with the buyer."""
        for gift in self.list_gifts("scheduled", "delivered")[-1:]:
            person = self.viewer if is_own else self.friend
            response = self.expect_no_error(person.post("/v1/gift-redemptions", {"code": gift["code"]}))
            if response.status_code != 201:
                continue
            with self.lock:
                if response.json["subscription_id"] is None and is_own:
                    self.gifts_minor["USD"] += gift["amount_minor"]
                elif response.json["subscription_id"] is None:
                    self.friend_credit_minor += gift["amount_minor"]
                elif is_own:
                    days = gift["periods"] * MAX_GIFT_DAYS[self.prices.index(gift["price_id"])]
                    self.gift_days[TIERS[self.plan_of_price[gift["price_id"]]]] += days

    def refund_gift(self):
        for gift in self.list_gifts("scheduled", "delivered", "redeemed")[-1:]:
            self.expect_no_error(self.world.operator.post(f"/v1/admin/invoices/{gift['invoice_id']}/refunds", {}))

    def charge_back_gift(self, amount_minor):
        gifts = {gift["invoice_id"] for gift in self.list_gifts("scheduled", "delivered", "redeemed")}
        for payment_id in [payment for invoice, payment in self.payments("succeeded") if invoice in gifts][-1:]:
            body = {"amount_minor": amount_minor} if amount_minor else {}
            self.expect_no_error(self.world.operator.post(f"/v1/sandbox/payments/{payment_id}/dispute", body))

    def pay_out(self, amount_minor, method):
        body = {"currency": "USD", "reason": "asked for it", "method": method, "reference": "RF18"}
        path = f"/v1/admin/accounts/{self.viewer.id}/payouts"
        response = self.expect_no_error(self.world.operator.post(path, body | {"amount_minor": amount_minor}))
        if response.status_code == 201:
            with self.lock:
                self.paid_out_minor += response.json["amount_minor"]
                self.transferred_minor += response.json["bank_transfer_minor"]

    def add_card(self, token):
        response = self.viewer.post("/v1/payment-methods", {"token": token})
        if response.status_code == 201:
            self.viewer.put(f"/v1/payment-methods/{response.json['id']}/default")

    def remove_card(self):
        for card in self.viewer.get("/v1/payment-methods").json["items"][:1]:
            self.expect_no_error(self.viewer.delete(f"/v1/payment-methods/{card['id']}"))

    def payments(self, *statuses):
        """List the payments with one of the statuses as (invoice id, payment id), oldest first."""
        return [
            (invoice["id"], payment["id"])
            for invoice in self.viewer.invoices()
            for payment in invoice["payments"]
            if payment["status"] in statuses
        ]

    def authenticate(self, approve):
        for _, payment_id in self.payments("requires_action")[-1:]:
            body = {"approve": approve}
            self.expect_no_error(self.world.operator.post(f"/v1/sandbox/payments/{payment_id}/authentication", body))

    def pay(self, amount_minor):
        for invoice in self.viewer.invoices()[-2:]:
            body = {"amount_minor": amount_minor} if amount_minor else {}
            self.expect_no_error(self.viewer.post(f"/v1/invoices/{invoice['id']}/payments", body))

    def record_payment(self, amount_minor):
        for invoice in self.viewer.invoices()[-1:]:
            path, body = f"/v1/admin/invoices/{invoice['id']}/payments", {"amount_minor": amount_minor}
            response = self.expect_no_error(self.world.operator.post(path, body))
            if response.status_code < 300:
                with self.lock:
                    self.recorded_minor += amount_minor

    def write_off(self):
        for invoice in self.viewer.invoices()[-1:]:
            path = f"/v1/admin/invoices/{invoice['id']}/write-off"
            if self.expect_no_error(self.world.operator.post(path)).status_code == 200:
                self.written_off.add(invoice["id"])

    def charge_back(self, amount_minor):
        for _, payment_id in self.payments("succeeded")[:1]:
            body = {"amount_minor": amount_minor} if amount_minor else {}
            self.expect_no_error(self.world.operator.post(f"/v1/sandbox/payments/{payment_id}/dispute", body))

    def win_dispute(self):
        for _, payment_id in self.payments("disputed")[:1]:
            self.world.operator.delete(f"/v1/sandbox/payments/{payment_id}/dispute")

    def refund(self, with_note, amount_minor):
        for invoice_id, _ in self.payments("succeeded")[-1:]:
            body = {"credit_note": with_note} | ({"amount_minor": amount_minor} if amount_minor else {})
            self.expect_no_error(self.world.operator.post(f"/v1/admin/invoices/{invoice_id}/refunds", body))

    def credit_note(self, amount_minor):
        for invoice in self.viewer.invoices()[-1:]:
            path = f"/v1/admin/invoices/{invoice['id']}/credit-notes"
            self.expect_no_error(self.world.operator.post(path, {"amount_minor": amount_minor}))

    def decline_next(self):
        self.world.next_charge("decline")

    def plan_outcome(self, how):
        self.world.next_charge(how)

    def check(self):
        """Check every invariant that holds at any moment."""
        assert self.world.differences() == []
        invoices = self.viewer.invoices()
        self.check_access(invoices)
        self.check_money(invoices)
        self.check_gifts(invoices)
        self.check_bystander()
        self.check_debts(invoices)

    def check_access(self, invoices):
        """Check that at every tier, no more days gave access than were paid for, on trial, or in the grace period."""
        paid, granted = self.count_paid_days(invoices), self.count_days_by_policy(invoices)
        for tier in TIERS.values():
            days_seen = sum(1 for seen in self.tiers_seen.values() if seen >= tier)
            days_paid = sum(days for of_tier, days in paid.items() if of_tier >= tier)
            days_granted = sum(days for of_tier, days in granted.items() if of_tier >= tier)
            assert days_seen <= days_paid + days_granted, (tier, days_seen, days_paid, days_granted)

    def count_paid_days(self, invoices):
        """Count the days charged less those credited, by tier. Credits count first against charges never paid."""
        charged, unpaid, credited = Counter(), Counter(), Counter()
        for _, line, is_paid, tier in self.base_lines(invoices):
            if line["kind"] == "credit":
                credited[tier] += line["days"]
            elif line["kind"] == "charge":
                (charged if is_paid else unpaid)[tier] += line["days"]
        return {tier: charged[tier] - max(0, credited[tier] - unpaid[tier]) for tier in TIERS.values()}

    def count_days_by_policy(self, invoices):
        """Count the days of trials and of charges written off, and the grace period of each unpaid charge, by tier."""
        days = Counter()
        for invoice, line, is_paid, tier in self.base_lines(invoices):
            if line["kind"] == "trial":
                days[tier] += line["days"]
            elif line["kind"] == "charge" and not is_paid:
                days[tier] += line["days"] if invoice["id"] in self.written_off else min(line["days"], GRACE_DAYS)
        return days + self.gift_days

    def base_lines(self, invoices):
        """Yield (invoice, line, whether it was paid, tier) for each line of a base plan on an issued invoice."""
        for invoice in invoices:
            if invoice["status"] == "void" or invoice["issued_at"] is None:
                continue
            payments = [payment for payment in invoice["payments"] if payment["status"] in ("succeeded", "disputed")]
            paid_minor = sum(payment["amount_minor"] for payment in payments)
            was_paid = payments and paid_minor >= invoice["amount_due_minor"]
            for line in invoice["lines"]:
                code = self.plan_of_price.get(line.get("price_id"))
                if code in TIERS:
                    yield invoice, line, was_paid or invoice["status"] == "paid", TIERS[code]

    def check_money(self, invoices):
        """Check that no more money came back than went in, and that account credit comes from money or a gift."""
        payments = [payment for invoice in invoices for payment in invoice["payments"]]
        taken_minor = sum(
            payment["amount_minor"] for payment in payments if payment["status"] in ("succeeded", "disputed")
        )
        assert taken_minor == sum(self.world.charges()) + self.recorded_minor
        back_minor = sum(self.world.charges(kind="refund")) + self.disputed_minor()
        assert back_minor <= taken_minor
        credit = {balance["currency"]: balance["amount_minor"] for balance in self.viewer.balances()}
        assert credit.get("EUR", 0) == self.gifts_minor["EUR"]
        owed_minor = sum(invoice["balance_minor"] for invoice in invoices)
        # what was paid out, and charged back as well, is owed again or written off
        lost_minor = min(self.paid_out_minor, self.sum_ledger("written_off"))
        kept_minor = taken_minor - back_minor - self.transferred_minor + owed_minor + lost_minor
        assert kept_minor >= 0
        earned_minor = kept_minor - self.sum_bought_gifts(invoices) + self.gifts_minor["USD"]
        assert 0 <= credit.get("USD", 0) <= earned_minor

    def sum_bought_gifts(self, invoices):
        """Sum up what was paid for gifts that can be redeemed or were, and that went back in no way."""
        states = ("scheduled", "delivered", "redeemed")
        usable = {gift["invoice_id"] for gift in self.list_gifts(*states)}
        kept = 0
        for invoice in [invoice for invoice in invoices if invoice["id"] in usable]:
            noted_minor = sum(note["total_minor"] for note in invoice["credit_notes"])
            # more than the total is credit; credit that pays a gift which is owed again need not come from money
            kept += max(0, min(invoice["amount_paid_minor"], invoice["total_minor"]) - noted_minor)
        return kept

    def check_gifts(self, invoices):
        """Check that who redeemed a gift got what it is worth, and that its buyer paid for it or owes it."""
        credit = {balance["currency"]: balance["amount_minor"] for balance in self.friend.balances()}
        assert credit.get("USD", 0) == self.friend_credit_minor
        assert (self.friend.invoices(), set(credit) <= {"USD"}) == ([], True)
        by_id = {invoice["id"]: invoice for invoice in invoices}
        for gift in self.list_gifts("scheduled", "delivered", "redeemed"):
            invoice = by_id[gift["invoice_id"]]
            noted_minor = sum(note["total_minor"] for note in invoice["credit_notes"])
            paid_minor = invoice["amount_paid_minor"] + invoice["credit_applied_minor"] + noted_minor
            is_owed = gift["state"] == "redeemed" and invoice["status"] in ("open", "uncollectible")
            assert is_owed or paid_minor >= invoice["total_minor"], (gift, invoice)

    def check_bystander(self):
        """Check that the account of the bystander, who does nothing, is untouched."""
        invoices = self.bystander.invoices()
        assert {(invoice["status"], invoice["total_minor"]) for invoice in invoices} == {("paid", 500)}
        left_minor = BYSTANDER_CREDIT_MINOR - 500 * len(invoices)
        assert self.bystander.balances() == [{"currency": "USD", "amount_minor": left_minor}]

    def disputed_minor(self):
        """Return the sum of the disputed amounts, from the operator's view of the ledger."""
        return -self.sum_ledger("cash", "dispute", "dispute_won")

    def sum_ledger(self, book, *kinds):
        """Sum up the entries of a book, of these kinds or of all."""
        lines = self.world.operator.get("/v1/admin/exports/ledger.ndjson").text.splitlines()
        entries = [entry for line in lines if (entry := json.loads(line))["book"] == book]
        return sum(entry["amount_minor"] for entry in entries if not kinds or entry["kind"] in kinds)

    def check_debts(self, invoices):
        """Check that an open invoice owes something, and that whoever owes nothing is not past due."""
        owing = [invoice for invoice in invoices if invoice["status"] == "open" and invoice["balance_minor"] > 0]
        assert len(owing) == sum(invoice["status"] == "open" for invoice in invoices)
        subscription = self.latest()
        assert owing or subscription is None or subscription["status"] != "past_due"

    def check_end(self):
        """Check that every debt comes to an end without anybody's doing."""
        self.add_card("pm_card_chargeDeclined")
        before = {invoice["id"] for invoice in self.viewer.invoices()}
        self.go_to(self.world.clock.at + timedelta(days=2 * DUNNING_DAYS))
        self.check()
        assert not [
            invoice for invoice in self.viewer.invoices() if invoice["id"] in before and invoice["status"] == "open"
        ]


def draw_steps(chance, length):
    """Draw a weighted list of random steps."""
    steps = chance.choices(STEPS, [step[0] for step in STEPS], k=length)
    return [(name, *(chance.choice(choices) for choices in details)) for _, name, *details in steps]


@settings(
    max_examples=LIVES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the steps are printed; shrinking them takes minutes
)
@given(
    start_s=st.integers(0, 2 * 365 * 24 * 3600),
    zone=st.sampled_from(ZONES),
    chance=st.randoms(use_true_random=True),
)
def test_a_greedy_life_gets_no_more_than_it_pays_for(app, start_s, zone, chance):
    life = GreedyLife(app, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start_s), zone)
    life.subscribe(chance.randrange(6), None, None)
    steps = draw_steps(chance, 30)
    note("\n".join(map(str, steps)))
    for name, *details in steps:
        getattr(life, name)(*details)
        life.observe()
        life.check()
    life.check_end()


RACED_STEPS = (
    ("change", range(6), ("now", "auto", "period_end")),
    ("cancel", ("now", "period_end")),
    ("undo_cancellation",),
    ("pause",),
    ("resume",),
    ("subscribe", range(6), (None,), (None, "half")),
    ("pay", (None, 400)),
    ("record_payment", (400,)),
    ("write_off",),
    ("refund", (True, False), (None, 100)),
    ("credit_note", (1, 300)),
    ("void",),
    ("add_coupon", tuple(COUPONS)),
    ("redeem_gift_code", ("USD", "EUR")),
    ("add_addon", (1, 2)),
    ("change_addon", (1, 3)),
    ("remove_addon", ("now",)),
    ("move_anchor", range(1, 29)),
    ("charge_back", (100,)),
    ("buy_gift", (None, 0, 4), (1,)),
    ("redeem_bought_gift", (True, False)),
    ("refund_gift",),
    ("charge_back_gift", (100, None)),
    ("pay_out", (None, 100), ("auto", "bank_transfer")),
)


class RacingLife(GreedyLife):
    """A greedy life of which several threads do the steps at once."""

    @staticmethod
    def expect_no_error(response):
        """Accept also that the account was locked for longer than a request may wait: then nothing happened."""
        is_unavailable = response.status_code == 503 and response.json["code"] == "unavailable"
        return response if is_unavailable else GreedyLife.expect_no_error(response)

    def race(self, seconds):
        """Run random steps in all threads for so many seconds; raise the first error of a thread."""
        self.viewer.headers()  # signs in before the threads start
        errors, ends_at = [], time.monotonic() + seconds
        threads = [threading.Thread(target=self._run, args=(n, ends_at, errors)) for n in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 60)
        assert not any(thread.is_alive() for thread in threads), "a thread hangs"
        if errors:
            raise errors[0]

    def _run(self, number, ends_at, errors):
        chance = random.Random(number)
        try:
            while time.monotonic() < ends_at and not errors:
                name, *details = chance.choice(RACED_STEPS)
                getattr(self, name)(*(chance.choice(choices) for choices in details))
        except Exception as error:
            errors.append(error)

    def void(self):
        for invoice in self.viewer.invoices()[-1:]:
            self.expect_no_error(self.world.operator.post(f"/v1/admin/invoices/{invoice['id']}/void"))


@pytest.mark.every_database
def test_eight_threads_on_one_account_break_no_invariant(app):
    life = RacingLife(app, datetime(2026, 3, 10, 12, tzinfo=UTC), "Europe/Berlin")
    life.subscribe(2, None, None)
    life.race(RACE_S)
    life.go_to(life.world.clock.at + timedelta(hours=1))  # outcomes that were lost are looked up
    life.observe()
    life.check()
    life.check_end()


def planted_life(app):
    life = GreedyLife(app, datetime(2026, 3, 10, 12, tzinfo=UTC), "UTC")
    life.subscribe(2, None, None)
    life.check()
    return life


def test_the_check_notices_a_day_that_nobody_paid_for(app):
    life = planted_life(app)
    life.tiers_seen = {date(2026, 3, 10) + timedelta(days=n): TIERS["standard"] for n in range(32)}
    with pytest.raises(AssertionError):
        life.check()


def test_the_check_notices_a_tier_that_nobody_paid_for(app):
    life = planted_life(app)
    life.tiers_seen = {date(2026, 3, 10): TIERS["premium"]}
    with pytest.raises(AssertionError):
        life.check()
