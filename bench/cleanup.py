"""python -m bench.cleanup: how long others wait for SQLite's write lock while cleanups run.

    python -m bench.cleanup                     600,000 expired idempotency keys, and so on
    python -m bench.cleanup --share 0.1         a tenth of everything

Another process writes a row every few milliseconds, and polls for the lock without taking turns.
"""

import argparse
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from bench import report
from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.models import Account, Device, IdempotencyKey, Job, Profile, Session
from streamsvc.operations.accounts import guests
from streamsvc.operations.maintenance import housekeeping
from streamsvc.settings import Settings
from streamsvc.storage.database import db

RESPONSE = "x" * 600
"""About as long as a stored response."""
BATCH_SIZE = 10_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    share = parser.parse_args().share
    rows = [("cleanup", "rows", "took s", "waits", "p99 ms", "longest ms")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cleanup.db"
        settings = Settings(database_url=f"sqlite:///{path}", secret_key=("s" * 40,), guests=True)
        with create_app(settings.with_defaults()).app_context():
            flask_migrate.upgrade()
            for name, count, fill, clean_up in (
                ("nothing", 0, lambda count: None, lambda: time.sleep(2)),
                ("idempotency keys", int(600_000 * share), add_keys, purge_expired_data),
                ("jobs that are done", int(200_000 * share), add_jobs, purge_expired_data),
                ("sessions", int(100_000 * share), add_sessions, purge_expired_data),
                ("guests", int(5_000 * share), add_guests, purge_guests),
            ):
                fill(count)
                took_s, waits_s = measure(path, clean_up)
                waits_ms = [1000 * wait_s for wait_s in sorted(waits_s)]
                figures = (f"{took_s:.1f}", f"{len(waits_ms)}", f"{waits_ms[len(waits_ms) * 99 // 100]:.1f}")
                rows.append((name, f"{count:,}", *figures, f"{waits_ms[-1]:.1f}"))
    print(report.describe_machine(), report.format_table(rows), sep="\n\n")


def measure(path: Path, clean_up: Callable[[], None]) -> tuple[float, list[float]]:
    """Run the cleanup; how long it took, and how long each write of another process waited meanwhile."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    writer = multiprocessing.get_context("spawn").Process(target=keep_writing, args=(path, theirs))
    writer.start()
    ours.recv()
    started_s = time.monotonic()
    clean_up()
    took_s = time.monotonic() - started_s
    ours.send("stop")
    waits_s = ours.recv()
    writer.join()
    return took_s, waits_s


def keep_writing(path, pipe):
    """Write until stopped; sends how long each write has waited for the lock."""
    connection, waits_s = sqlite3.connect(path, timeout=0, isolation_level=None), []
    pipe.send("ready")
    while not pipe.poll():
        started_s = time.monotonic()
        while not try_begin(connection):
            time.sleep(0.001)
        waits_s.append(time.monotonic() - started_s)
        connection.execute("UPDATE alembic_version SET version_num = version_num")
        connection.execute("COMMIT")
        time.sleep(0.002)
    pipe.send(waits_s)


def try_begin(connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def purge_expired_data():
    housekeeping.purge_expired_data({}, clock.now())


def purge_guests():
    guests.purge_guests({}, clock.now())


def insert_rows(model, rows):
    rows = list(rows)
    for first in range(0, len(rows), BATCH_SIZE):
        db.session.execute(sa.insert(model.__table__), rows[first : first + BATCH_SIZE])
        db.session.commit()


def add_keys(count):
    row = {"fingerprint": "f" * 64, "created_at": clock.now() - timedelta(days=3), "status": 201, "body": RESPONSE}
    ids = sa.func.hex(sa.func.randomblob(32))
    for _ in range(0, count, BATCH_SIZE):
        db.session.execute(sa.insert(IdempotencyKey.__table__).values(id=ids, **row), [{}] * BATCH_SIZE)
        db.session.commit()


def add_jobs(count):
    past = clock.now() - timedelta(days=60)
    row = {"kind": "mail.send", "lane": "interactive", "payload": {}, "run_at": past, "done_at": past, "attempts": 1}
    insert_rows(Job, ({"id": f"job_{number:026}", **row} for number in range(count)))


def add_people(count, status, sessions_each):
    """Add accounts, each with a device, a profile, and sessions that began three years ago."""
    past, ids = clock.now() - timedelta(days=3 * 365), [f"{status}{number:020}" for number in range(count)]
    places = {"country": "DE", "time_zone": "Europe/Berlin", "locale": "de", "status": status, "created_at": past}
    insert_rows(Account, ({"id": f"acc_{id_}", "email": f"{id_}@x", "email_key": f"{id_}@x", **places} for id_ in ids))
    device = {"name": "x", "kind": "web", "created_at": past, "last_seen_at": past}
    insert_rows(Device, ({"id": f"dev_{id_}", "account_id": f"acc_{id_}", **device} for id_ in ids))
    profile = {"name": "x", "kids": False, "autoplay": True, "language": "de", "created_at": past}
    insert_rows(Profile, ({"id": f"pro_{id_}", "account_id": f"acc_{id_}", **profile} for id_ in ids))
    session = dict.fromkeys(("created_at", "authenticated_at", "last_seen_at"), past) | {"epoch": 0}
    session |= {"lifetime": "guest" if status == "guest" else "remembered", "user_agent": "Mozilla/5.0"}
    names = [(id_, f"{id_}{number}") for id_ in ids for number in range(sessions_each)]
    insert_rows(
        Session,
        (
            {"id": f"ses_{name}", "token_hash": name, "account_id": f"acc_{id_}", "device_id": f"dev_{id_}", **session}
            for id_, name in names
        ),
    )


def add_sessions(count):
    add_people(max(1, count // 10), "active", 10)


def add_guests(count):
    add_people(count, "guest", 1)


if __name__ == "__main__":
    main()
