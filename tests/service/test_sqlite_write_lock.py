"""Writers on SQLite take turns in the order of their requests, and none fails because the database is locked."""

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


def start_waiters(lock, count, acquired_by):
    """Start threads that queue for the lock in order; each records its number and releases the lock."""

    def acquire_and_release(number):
        lock.acquire(5)
        acquired_by.append(number)
        lock.release()

    threads = [threading.Thread(target=acquire_and_release, args=(number,)) for number in range(count)]
    for position, thread in enumerate(threads, 1):
        thread.start()
        while len(lock._waiters) < position:
            time.sleep(0.001)
    return threads


def test_the_lock_is_acquired_in_the_order_of_requests():
    lock, acquired_by = FifoLock(), []
    assert lock.acquire(0)
    threads = start_waiters(lock, 5, acquired_by)
    lock.release()
    for thread in threads:
        thread.join(5)
    assert acquired_by == [0, 1, 2, 3, 4]


def test_a_waiter_that_timed_out_does_not_block_others():
    lock, acquired_by = FifoLock(), []
    assert lock.acquire(0) and not lock.acquire(0.01)
    (thread,) = start_waiters(lock, 1, acquired_by)
    lock.release()
    thread.join(5)
    assert acquired_by == [0] and lock.acquire(0)


@pytest.fixture
def long_transaction(app):
    """A connection in the middle of a write transaction, like another process: it does not use the lock."""
    if app.extensions["settings"].is_sqlite is False:
        pytest.skip("PostgreSQL allows concurrent writers")
    with app.app_context():
        connection = sqlite3.connect(db.engine.url.database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    if connection.in_transaction:
        connection.rollback()
    connection.close()


def test_a_transaction_waits_for_another_process(app, long_transaction):
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(operator, app, "support")
        time.sleep(0.05)
        assert not creation.done()
        long_transaction.rollback()
        assert creation.result(5).token


def test_a_rate_limit_counter_queues_for_the_lock_and_releases_it(app, long_transaction):
    def count():
        with app.app_context():
            return rate_limits.hit(RateLimit("test.turns", 5, 60), "somebody")

    with app.app_context():
        lock = database._write_locks[db.engine]
    long_transaction.rollback()
    assert lock.acquire(0)
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(count)
        while not lock._waiters and not counting.done():
            time.sleep(0.001)
        assert not counting.done()
        lock.release()
        assert counting.result(5) == 1
    assert count() == 2


def test_a_transaction_that_times_out_fails_and_blocks_no_other(app, long_transaction, monkeypatch):
    monkeypatch.setattr(database, "WRITE_LOCK_TIMEOUT_S", 0.05)
    started = time.monotonic()
    with pytest.raises(sa.exc.OperationalError):
        operator(app, "support")
    assert time.monotonic() - started < 4, "it waited once, and not for SQLite's own timeout of five seconds too"
    long_transaction.rollback()
    with app.app_context():
        db.session.remove()
    assert operator(app, "support").token


def test_many_threads_write_without_a_failure(app):
    def write(_):
        return operator(app, "support").token

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(write, range(64)))) == 64
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ApiKey)) == 64
