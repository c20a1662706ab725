"""Batch processing gives the same result as single processing: all rows are compared, for the same random people."""

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from streamsvc.cli.billing import billing
from streamsvc.models import Account, Job, SandboxEmail, WebhookEvent
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
from streamsvc.operations.billing.core.batches import BatchSize
from streamsvc.operations.billing.subscriptions import renewal
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs
from tests.conftest import delete_all_rows
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
    WebhookEvent,
    Job,
    SandboxEmail,
)
ID = re.compile(r"\b[a-z]{2,3}_[0-9a-v]{26}\b")
RANDOM_COLUMNS = {"lease", "leased_until", "request_key", "journal_id"}
MODELS_WITH_COMPARED_IDS = (Subscription, Invoice, InvoiceLine, Payment)
"""Models whose ids are compared. Those of the others, and the invoice numbers, depend only on processing order."""


class People:
    """One subscriber of each kind, in random order and time zones."""

    def __init__(self, app, seed):
        with app.app_context():
            delete_all_rows(db.engine)
        app.extensions["clock"].at = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.world, self.chance = World(app), random.Random(seed)
        self.cheap, self.expensive, self.free = self.world.plan("p", 1000, 3000, 0)
        self.with_trial = self.world.plan("t", 1500, trial_days=20, tax="inclusive")
        self.long = self.world.plan("l", 9000, interval="month", interval_count=2)
        put = self.world.operator.put
        put("/v1/admin/tax-rates/US", {"percent": 8.875, "name": "Tax"})
        put("/v1/admin/coupons/half", {"percent_off": 50, "duration": "repeating", "periods": 2})
        put("/v1/admin/coupons/ten", {"amount_off_minor": 1000, "currency": "USD", "duration": "once"})
        kinds = [name for name in dir(self) if name.startswith("subscriber_")]
        for name in self.chance.sample(kinds, len(kinds)):
            getattr(self, name)(self.world.person(zone=self.chance.choice(ZONES), card=None))
        self.world.next_charge("timeout")
        self.world.next_charge("error")

    def subscribe(self, viewer, price, card="pm_card_visa", **more):
        if card:
            viewer.add_card(card)
        assert viewer.subscribe(price, **more).status_code == 201

    def path(self, viewer, step):
        return f"/v1/subscriptions/{viewer.subscription()['id']}/{step}"

    def set_card_reference(self, viewer, reference):
        with self.world.app.app_context():
            statement = sa.update(PaymentMethod).where(PaymentMethod.account_id == viewer.id)
            db.session.execute(statement.values(reference=reference))
            db.session.commit()

    def subscriber_at_a_low_price(self, viewer):
        self.subscribe(viewer, self.cheap)

    def subscriber_at_a_higher_price(self, viewer):
        self.subscribe(viewer, self.expensive)

    def subscriber_with_a_repeating_coupon(self, viewer):
        self.subscribe(viewer, self.cheap, coupon="half")

    def subscriber_with_a_coupon_above_the_invoice_total(self, viewer):
        self.subscribe(viewer, self.cheap, coupon="ten")

    def subscriber_with_account_credit(self, viewer):
        self.subscribe(viewer, self.cheap)
        body = {"amount_minor": 1500, "currency": "USD", "reason": "sorry"}
        assert self.world.operator.post(f"/v1/admin/accounts/{viewer.id}/credits", body).status_code == 201

    def subscriber_whose_card_fails(self, viewer):
        self.subscribe(viewer, self.cheap)
        self.set_card_reference(viewer, "pm_card_chargeCustomerFail/x")

    def subscriber_whose_card_is_stolen(self, viewer):
        self.subscribe(viewer, self.cheap)
        self.set_card_reference(viewer, "pm_card_chargeDeclinedStolenCard/x")

    def subscriber_who_removed_the_card(self, viewer):
        self.subscribe(viewer, self.cheap)
        viewer.delete(f"/v1/payment-methods/{viewer.get('/v1/payment-methods').json['items'][0]['id']}")

    def subscriber_with_a_scheduled_downgrade(self, viewer):
        self.subscribe(viewer, self.expensive)
        assert viewer.post(self.path(viewer, "plan-change"), {"price_id": self.cheap}).status_code == 200

    def subscriber_with_a_pending_cancellation(self, viewer):
        self.subscribe(viewer, self.cheap)
        assert viewer.post(self.path(viewer, "cancellation"), {"when": "period_end"}).status_code == 200

    def subscriber_on_pause(self, viewer):
        self.subscribe(viewer, self.cheap)
        resumes_at = (self.world.clock.at + timedelta(days=20)).isoformat()
        assert viewer.post(self.path(viewer, "pause"), {"resumes_at": resumes_at}).status_code == 200

    def subscriber_in_trial(self, viewer):
        self.subscribe(viewer, self.with_trial)

    def subscriber_in_trial_without_a_card(self, viewer):
        self.subscribe(viewer, self.with_trial, card=None)

    def subscriber_to_a_free_price(self, viewer):
        self.subscribe(viewer, self.free, card=None)

    def subscriber_for_two_months(self, viewer):
        self.subscribe(viewer, self.long)


def rows_after_simulation(app, seed):
    """Return all rows after DAYS days, with ids replaced by names in order of first appearance."""
    people = People(app, seed)
    people.world.go_to(people.world.clock.at + timedelta(days=DAYS))
    assert people.world.differences() == []
    with app.app_context():
        return rows()


def rows():
    names = {}
    for row in fetch_all(sa.select(Account.id, Account.email).order_by(Account.id)):
        names[row.id] = names[row.email] = f"account {len(names) // 2}"
    rows_by_table, counts = {}, Counter()

    def name_id(match):
        if match[0] not in names:
            counts[match[0][:3]] += 1
            names[match[0]] = f"{match[0][:3]} {counts[match[0][:3]]}"
        return names[match[0]]

    for model in COMPARED:
        rows_by_table[model.__tablename__] = []
        excluded = RANDOM_COLUMNS if model in MODELS_WITH_COMPARED_IDS else RANDOM_COLUMNS | {"id"}
        columns = model.__table__.c
        owner = [columns[name] for name in ("account_id", "subscription_id", "invoice_id") if name in columns]
        for row in fetch_all(sa.select(model.__table__).order_by(*owner, *model.__table__.primary_key)):
            values = {name: value for name, value in row._mapping.items() if name not in excluded}
            text = json.dumps(values, default=str, sort_keys=True)
            text = re.sub(r"2026-0\d{5}", "its number", text)
            text = re.sub(r"viewer\d+@example.com", lambda match: names[match[0]], text)
            rows_by_table[model.__tablename__].append(ID.sub(name_id, text))
    return rows_by_table


def test_batch_processing_leaves_the_same_rows_as_single_processing(app, monkeypatch):
    seed = random.randrange(2**32)
    in_batches = rows_after_simulation(app, seed)
    monkeypatch.setattr(jobs, "_batch_handlers", {})
    one_at_a_time = rows_after_simulation(app, seed)
    for table in one_at_a_time:
        assert sorted(in_batches[table]) == sorted(one_at_a_time[table]), (seed, table)
    assert len(in_batches["invoices"]) > 25


def test_debts_without_a_subscription_are_tried_again_after_a_batch(app):
    world = World(app)
    for _ in range(2):
        person = world.person(card="pm_card_chargeCustomerFail")
        world.next_charge("error")
        poster = {"account_id": person.id, "amount_minor": 600, "currency": "USD", "description": "A poster"}
        assert world.operator.post("/v1/admin/invoices", poster).json["status"] == "open"
    assert world.charges("declined") == []
    world.go_to(world.clock.at + timedelta(minutes=1))
    assert world.charges("declined") == [600] * 2
    world.go_to(world.clock.at + timedelta(days=1))
    assert world.charges("declined") == [600] * 4
    assert world.differences() == []


def subscribers_due_for_renewal(app, count):
    """Subscribe some viewers and let a month pass; return the world and what runs the command."""
    world = World(app)
    price = world.plan("p", 1000)
    for _ in range(count):
        viewer = world.person(card="pm_card_visa")
        assert viewer.subscribe(price).status_code == 201
    app.extensions["clock"].at += timedelta(days=32)
    return world, lambda: app.test_cli_runner().invoke(billing, ["run"])


@pytest.mark.every_database
def test_the_command_renews_in_batches(app, statements, monkeypatch):
    monkeypatch.setattr(renewal, "_batch_size", BatchSize(max_lock_s=10, maximum=64))
    world, run = subscribers_due_for_renewal(app, 16)
    statements.clear()
    result = run()
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "16 subscriptions processed")
    assert renewal._batch_size.value > 8, "the first batch was quick, so that the next one is larger"
    assert len(statements) < 16 * 20, "one by one they are 69 each"
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).where(Invoice.status == "paid")) == 32
    assert world.differences() == []
    assert "0 subscriptions processed" in run().output


@pytest.mark.every_database
def test_the_command_renews_one_by_one_if_a_batch_fails(app):
    world, run = subscribers_due_for_renewal(app, 3)
    failures = [ConnectionError("the connection was lost")]

    def fail_once(*_):
        if failures:
            raise failures.pop()

    sa.event.listen(Invoice, "before_insert", fail_once)
    try:
        assert run().exit_code == 0
    finally:
        sa.event.remove(Invoice, "before_insert", fail_once)
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).where(Invoice.status == "paid")) == 6
    assert not failures and world.differences() == []


def test_batches_are_as_large_as_their_locks_may_last():
    size = BatchSize(max_lock_s=0.03, maximum=64)
    assert size.value == 8
    size.adapt(8, held_s=0.01)
    assert size.value == 16, "at most twice as many"
    size.adapt(16, held_s=0.06)
    assert size.value == 8
    size.adapt(1, held_s=0.5)
    assert size.value == 4, "since smaller ones would take much longer in all"
    for _ in range(10):
        size.adapt(size.value, held_s=0)
    assert size.value == 64
