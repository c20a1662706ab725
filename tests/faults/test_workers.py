"""Four workers renew in parallel while they are killed one after another: everyone is charged exactly once."""

import json
import os
import random
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.models.subscriptions import Invoice, Payment, SandboxCharge, Subscription
from streamsvc.operations.billing.books.audit import audit_billing
from streamsvc.operations.billing.subscriptions.importing import import_subscribers
from streamsvc.storage.database import db, fetch_one
from tests.conftest import Clock
from tests.faults.workers import Workers
from tests.worlds.billing_world import World

SUBSCRIBERS = int(os.environ.get("STREAMSVC_TEST_RENEWALS", "60"))
WORKERS = 4
KILL_EVERY_S = float(os.environ.get("STREAMSVC_TEST_KILL_EVERY_S", "0.1"))
MAX_PATIENCE_S = 2.0
STUCK_AFTER_S = 200
"""The test is stuck if nothing changes for this long."""


@pytest.fixture
def due(database, new_app, tmp_path):
    """A service with many subscribers, all of whom are due now."""
    clock = Clock()
    clock.at = clocks.wall_time() - timedelta(days=2)
    app = new_app(database, "renewals", clock=clock)
    price = World(app).plan("p", 1000)
    today = clock.at.date()
    line = {"country": "US", "price_id": price, "started_on": str(today - timedelta(days=30))}
    line |= {"paid_through": str(today + timedelta(days=1))}
    with (tmp_path / "subscribers.ndjson").open("w") as file:
        for n in range(SUBSCRIBERS):
            method = {"reference": f"pm_card_visa/{n}"}
            subscriber = {"external_id": str(n), "email": f"{n}@example.com", "payment_method": method}
            file.write(json.dumps(line | subscriber) + "\n")
    with app.app_context():
        report = import_subscribers(tmp_path / "subscribers.ndjson", clock.at)
        assert report.counts["added"] == SUBSCRIBERS
    clock.at = clocks.wall_time()
    return app


def count_charges():
    return fetch_one(sa.select(sa.func.count()).where(SandboxCharge.status == "succeeded"))[0]


def count_open_payments():
    query = sa.select(sa.func.count()).select_from(Payment).where(Payment.status.in_(("pending", "unknown")))
    return fetch_one(query)[0]


@pytest.mark.every_database
def test_everyone_is_charged_once_although_workers_die(due):
    rng = random.Random(seed := random.randrange(2**32))
    print("seed", seed)
    workers = Workers(due.extensions["settings"].database_url, WORKERS)
    next_kill, progressed_at, last_progress = time.monotonic() + KILL_EVERY_S, time.monotonic(), None
    try:
        with due.app_context():
            while (progress := (count_charges(), count_open_payments())) != (SUBSCRIBERS, 0):
                if progress != last_progress:
                    last_progress, progressed_at = progress, time.monotonic()
                assert time.monotonic() < progressed_at + STUCK_AFTER_S, (
                    f"stuck at (charges, open payments) = {last_progress}"
                )
                time.sleep(0.05)
                has_worked = progressed_at > next_kill - KILL_EVERY_S  # on a slow machine, a kill waits for some work
                if time.monotonic() > next_kill and (has_worked or time.monotonic() > next_kill + MAX_PATIENCE_S):
                    workers.kill_one(rng)
                    next_kill = time.monotonic() + KILL_EVERY_S
            time.sleep(1)  # enough time for a double charge
    finally:
        workers.close()
    print(f"{workers.kills} workers killed")
    assert workers.kills >= 2
    with due.app_context():
        assert count_charges() == SUBSCRIBERS
        paid_invoices = (
            sa.select(Invoice.subscription_id).where(Invoice.status == "paid").group_by(Invoice.subscription_id)
        )
        assert len(db.session.execute(paid_invoices.having(sa.func.count() == 1)).all()) == SUBSCRIBERS
        assert db.session.scalar(sa.select(sa.func.count()).where(Subscription.status == "active")) == SUBSCRIBERS
        assert audit_billing(clocks.wall_time()) == []
