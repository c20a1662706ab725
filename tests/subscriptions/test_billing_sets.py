"""What is done as a set comes out as if each had been done alone: every row is compared, on the same random people."""

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account, Event, Job, SandboxEmail
from streamsvc.models.subscriptions import (
    Discount,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    LedgerEntry,
    Payment,
    PaymentMethod,
    SandboxCharge,
    Subscription,
    SubscriptionEvent,
)
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs
from tests.conftest import empty
from tests.worlds.billing_world import World

DAYS = 55
ZONES = ("UTC", "UTC", "America/Sao_Paulo")
COMPARED = (
    Subscription,
    SubscriptionEvent,
    Discount,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    LedgerEntry,
    Payment,
    SandboxCharge,
    Event,
    Job,
    SandboxEmail,
)
ID = re.compile(r"\b[a-z]{2,3}_[0-9a-v]{26}\b")
BY_CHANCE = {"lease", "leased_until", "request_key", "journal_id"}
REFERRED_TO = (Subscription, Invoice, InvoiceLine, Payment)
"""Whose ids say something. Those of the others, and the invoices' numbers, only tell whose turn came first."""


class People:
    """Somebody of each kind, in an order and in zones that chance gives."""

    def __init__(self, app, seed):
        with app.app_context():
            empty(db.engine)
        app.extensions["clock"].at = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.world, self.chance = World(app), random.Random(seed)
        self.cheap, self.dear, self.free = self.world.plan("p", 1000, 3000, 0)
        self.tried = self.world.plan("t", 1500, trial_days=20, tax="inclusive")
        self.long = self.world.plan("l", 9000, interval="month", interval_count=2)
        put = self.world.operator.put
        put("/v1/admin/tax-rates/US", {"percent": 8.875, "name": "Tax"})
        put("/v1/admin/coupons/half", {"percent_off": 50, "duration": "repeating", "periods": 2})
        put("/v1/admin/coupons/ten", {"amount_off_minor": 1000, "currency": "USD", "duration": "once"})
        kinds = [name for name in dir(self) if name.startswith("who")]
        for name in self.chance.sample(kinds, len(kinds)):
            getattr(self, name)(self.world.person(zone=self.chance.choice(ZONES), card=None))
        self.world.next_charge("timeout")
        self.world.next_charge("error")

    def subscribe(self, viewer, price, card="pm_card_visa", **more):
        if card:
            viewer.add_card(card)
        assert viewer.subscribe(price, **more).status_code == 201

    def path(self, viewer, what):
        return f"/v1/subscriptions/{viewer.subscription()['id']}/{what}"

    def reference(self, viewer, reference):
        with self.world.app.app_context():
            mine = sa.update(PaymentMethod).where(PaymentMethod.account_id == viewer.id)
            db.session.execute(mine.values(reference=reference))
            db.session.commit()

    def who_pays(self, viewer):
        self.subscribe(viewer, self.cheap)

    def who_pays_too(self, viewer):
        self.subscribe(viewer, self.dear)

    def who_has_a_coupon_for_some_periods(self, viewer):
        self.subscribe(viewer, self.cheap, coupon="half")

    def who_has_a_coupon_for_more_than_one_invoice_is(self, viewer):
        self.subscribe(viewer, self.cheap, coupon="ten")

    def who_has_credit(self, viewer):
        self.subscribe(viewer, self.cheap)
        body = {"amount_minor": 1500, "currency": "USD", "reason": "sorry"}
        assert self.world.operator.post(f"/v1/admin/accounts/{viewer.id}/credits", body).status_code == 201

    def who_cannot_pay_any_more(self, viewer):
        self.subscribe(viewer, self.cheap)
        self.reference(viewer, "pm_card_chargeCustomerFail/x")

    def whose_card_is_stolen(self, viewer):
        self.subscribe(viewer, self.cheap)
        self.reference(viewer, "pm_card_chargeDeclinedStolenCard/x")

    def who_has_no_card_any_more(self, viewer):
        self.subscribe(viewer, self.cheap)
        viewer.delete(f"/v1/payment-methods/{viewer.get('/v1/payment-methods').json['items'][0]['id']}")

    def who_will_pay_less(self, viewer):
        self.subscribe(viewer, self.dear)
        assert viewer.post(self.path(viewer, "plan-change"), {"price_id": self.cheap}).status_code == 200

    def who_leaves(self, viewer):
        self.subscribe(viewer, self.cheap)
        assert viewer.post(self.path(viewer, "cancellation"), {"when": "period_end"}).status_code == 200

    def who_rests(self, viewer):
        self.subscribe(viewer, self.cheap)
        until = (self.world.clock.at + timedelta(days=20)).isoformat()
        assert viewer.post(self.path(viewer, "pause"), {"resumes_at": until}).status_code == 200

    def who_tries(self, viewer):
        self.subscribe(viewer, self.tried)

    def who_tries_without_a_card(self, viewer):
        self.subscribe(viewer, self.tried, card=None)

    def who_pays_nothing(self, viewer):
        self.subscribe(viewer, self.free, card=None)

    def who_pays_for_long(self, viewer):
        self.subscribe(viewer, self.long)


def lived(app, seed):
    """Every row after so many days, with the ids named in the order in which they are met."""
    people = People(app, seed)
    people.world.go_to(people.world.clock.at + timedelta(days=DAYS))
    assert people.world.differences() == []
    with app.app_context():
        return rows()


def rows():
    names = {}
    for row in fetch_all(sa.select(Account.id, Account.email).order_by(Account.id)):
        names[row.id] = names[row.email] = f"account {len(names) // 2}"
    found, counts = {}, Counter()

    def named(match):
        if match[0] not in names:
            counts[match[0][:3]] += 1
            names[match[0]] = f"{match[0][:3]} {counts[match[0][:3]]}"
        return names[match[0]]

    for model in COMPARED:
        found[model.__tablename__] = []
        left_out = BY_CHANCE if model in REFERRED_TO else BY_CHANCE | {"id"}
        columns = model.__table__.c
        owner = [columns[name] for name in ("account_id", "subscription_id", "invoice_id") if name in columns]
        for row in fetch_all(sa.select(model.__table__).order_by(*owner, *model.__table__.primary_key)):
            values = {name: value for name, value in row._mapping.items() if name not in left_out}
            text = json.dumps(values, default=str, sort_keys=True)
            text = re.sub(r"2026-0\d{5}", "its number", text)
            text = re.sub(r"viewer\d+@example.com", lambda match: names[match[0]], text)
            found[model.__tablename__].append(ID.sub(named, text))
    return found


def test_batch_processing_leaves_the_same_rows_as_single_processing(app, monkeypatch):
    seed = random.randrange(2**32)
    as_sets = lived(app, seed)
    monkeypatch.setattr(jobs, "_batch_handlers", {})
    one_by_one = lived(app, seed)
    for table in one_by_one:
        assert sorted(as_sets[table]) == sorted(one_by_one[table]), (seed, table)
    assert len(as_sets["invoices"]) > 25
