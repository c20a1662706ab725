"""The clock of a running worker jumps ten years ahead, then forty days, and back: nobody is charged too early."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.models import Job, Worker
from streamsvc.models.subscriptions import SandboxCharge
from streamsvc.operations.billing.books.audit import audit_billing
from streamsvc.operations.billing.subscriptions.importing import import_subscribers
from streamsvc.storage.database import fetch_all, fetch_one
from streamsvc.worker import jobs
from tests.worlds.billing_world import World
from tests.worlds.service import Service, wait_until

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
JUMP_S = float(os.environ.get("STREAMSVC_TEST_CLOCK_JUMP_S", "3"))
"""How long the clock stays wrong."""

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt-get install libfaketime"),
]


@pytest.fixture
def service(database, new_app):
    app = new_app(database, "jumps", clock=clocks.wall_time)
    app.price = World(app).plan("p", 1000)
    with app.app_context():
        yield app


@contextmanager
def running_worker(app, folder):
    """A worker process; yields a function that sets its clock: `+10y`."""
    service, offset = Service(app.extensions["settings"].database_url, folder), folder / "offset"
    service.env |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_NO_CACHE": "1"}
    service.env |= {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    offset.write_text("+0")
    with service.log.open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "streamsvc.cli", "worker"], env=service.env, stderr=log)
    try:
        wait_until(lambda: fetch_one(sa.select(Worker.id)))
        yield offset.write_text
    finally:
        process.terminate()
        process.wait(60)
        print(service.log.read_text())


def add_subscriber(app, folder, name, paid_for):
    """A subscriber, imported two days ago, who is charged once the days for which they have paid are over."""
    imported_at = clocks.wall_time() - timedelta(days=2)
    today = imported_at.date()
    line = {"external_id": name, "email": f"{name}@example.com", "country": "US", "price_id": app.price}
    line |= {"started_on": str(today - timedelta(days=30)), "paid_through": str(today + timedelta(days=paid_for))}
    line |= {"payment_method": {"reference": f"pm_card_visa/{name}"}}
    (folder / "subscribers.ndjson").write_text(json.dumps(line) + "\n")
    assert import_subscribers(folder / "subscribers.ndjson", imported_at).counts["added"] == 1


def count_charges():
    return fetch_one(sa.select(sa.func.count()).where(SandboxCharge.status == "succeeded"))[0]


def test_a_jump_charges_nobody_and_stalls_nothing(service, tmp_path):
    add_subscriber(service, tmp_path, "not-yet-due", paid_for=20)
    with running_worker(service, tmp_path) as set_clock:
        for expected, offset in enumerate(("+10y", "+40d", "-40d")):
            set_clock(offset)
            time.sleep(JUMP_S)
            assert count_charges() == expected
            set_clock("+0")
            add_subscriber(service, tmp_path, f"due-{expected}", paid_for=1)
            wait_until(lambda expected=expected: count_charges() == expected + 1)
    soon = clocks.wall_time() + timedelta(days=1, minutes=1)
    is_open = Job.done_at.is_(None)
    late = fetch_all(sa.select(Job.kind).where(is_open, Job.run_at > soon, Job.kind.in_(jobs._recurring)))
    leased = fetch_all(sa.select(Job.kind).where(is_open, Job.leased_until.is_not(None)))
    assert (late, leased) == ([], [])
    assert audit_billing(clocks.wall_time()) == []
