"""Who writes on SQLite: one after the other, in the order of asking, and nobody is told that it is locked."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from streamsvc.models import ApiKey
from streamsvc.rules.rate_limits import RateLimit
from streamsvc.security import rate_limits
from streamsvc.storage import database
from streamsvc.storage.database import db
from streamsvc.storage.fifo_lock import FifoLock
from tests.worlds.sessions_steps import operator


def queue_of(turns, count, came):
    """So many threads that wait for their turn, one after the other; each notes its number and passes on."""

    def wait(number):
        turns.acquire(5)
        came.append(number)
        turns.release()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(count)]
    for place, thread in enumerate(threads, 1):
        thread.start()
        while len(turns._waiters) < place:
            time.sleep(0.001)
    return threads


def test_turns_come_in_the_order_of_asking():
    turns, came = FifoLock(), []
    assert turns.acquire(0)
    threads = queue_of(turns, 5, came)
    turns.release()
    for thread in threads:
        thread.join(5)
    assert came == [0, 1, 2, 3, 4]


def test_who_waited_too_long_stands_in_nobodys_way():
    turns, came = FifoLock(), []
    assert turns.acquire(0) and not turns.acquire(0.01)
    (thread,) = queue_of(turns, 1, came)
    turns.release()
    thread.join(5)
    assert came == [0] and turns.acquire(0)


@pytest.fixture
def long_unit_of_work(app):
    """A connection that is in the middle of a unit of work, as another process would be: it knows of no turns."""
    if app.extensions["settings"].is_sqlite is False:
        pytest.skip("PostgreSQL lets many write at once")
    with app.app_context():
        other = sqlite3.connect(db.engine.url.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    if other.in_transaction:
        other.rollback()
    other.close()


def test_a_unit_of_work_waits_for_another_process(app, long_unit_of_work):
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(operator, app, "support")
        time.sleep(0.05)
        assert not made.done()
        long_unit_of_work.rollback()
        assert made.result(5).token


def test_a_count_waits_its_turn_as_units_of_work_do_and_passes_it_on(app, long_unit_of_work):
    def count():
        with app.app_context():
            return rate_limits.hit(RateLimit("test.turns", 5, 60), "somebody")

    with app.app_context():
        turns = database._write_locks[db.engine]
    long_unit_of_work.rollback()
    assert turns.acquire(0)
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(count)
        while not turns._waiters and not counted.done():
            time.sleep(0.001)
        assert not counted.done()
        turns.release()
        assert counted.result(5) == 1
    assert count() == 2


def test_a_unit_of_work_that_waits_too_long_fails_and_holds_up_nobody(app, long_unit_of_work, monkeypatch):
    monkeypatch.setattr(database, "WRITE_LOCK_TIMEOUT_S", 0.05)
    with pytest.raises(sa.exc.OperationalError):
        operator(app, "support")
    long_unit_of_work.rollback()
    with app.app_context():
        db.session.remove()
    assert operator(app, "support").token


def test_many_threads_write_without_one_being_refused(app):
    def write(_):
        return operator(app, "support").token

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(write, range(64)))) == 64
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ApiKey)) == 64
