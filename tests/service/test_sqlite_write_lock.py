"""Writers on SQLite take turns in the order of their requests, and none fails because the database is locked."""

import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from streamsvc.models import ApiKey, HealthCheck
from streamsvc.rules.rate_limits import RateLimit
from streamsvc.security import rate_limits
from streamsvc.storage import database, write_queue
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db, execute_write
from streamsvc.storage.fifo_lock import FifoLock
from tests.conftest import NOON
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
        queue = database._write_queues[db.engine]
    long_transaction.rollback()
    queue.acquire()
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(count)
        while not queue._threads._waiters and not counting.done():
            time.sleep(0.001)
        assert not counting.done()
        queue.release()
        assert counting.result(5) == 1
    assert count() == 2


def test_a_transaction_that_times_out_fails_and_blocks_no_other(app, long_transaction, monkeypatch):
    monkeypatch.setattr(write_queue, "TIMEOUT_S", 0.05)
    started = time.monotonic()
    with pytest.raises(sa.exc.OperationalError):
        operator(app, "support")
    assert time.monotonic() - started < 4, "it waited once, and not for SQLite's own timeout of five seconds too"
    long_transaction.rollback()
    with app.app_context():
        db.session.remove()
    assert operator(app, "support").token


HOLD_TURN = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


@pytest.fixture
def turn_of_another_process(app):
    """A process whose turn it is to write, until it gets a line."""
    if app.extensions["settings"].is_sqlite is False:
        pytest.skip("PostgreSQL allows concurrent writers")
    with app.app_context():
        path = db.engine.url.database + write_queue.FILE_SUFFIX
    command = [sys.executable, "-c", HOLD_TURN, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_by_session(app):
    assert operator(app, "support").token


def write_by_connection(app):
    with app.app_context():
        assert rate_limits.hit(RateLimit("test.turns", 5, 60), "somebody") == 1


def write_by_statement(app):
    with app.app_context():
        execute_write(sa.insert(HealthCheck).values(id="hlt_1", checked_at=NOON))


def write_by_compiled_statement(app):
    with app.app_context():
        insert = sa.insert(HealthCheck).values(id=sa.bindparam("key"), checked_at=sa.bindparam("at"))
        assert CompiledStatement(insert).execute_write(key="hlt_1", at=NOON) == 1


WRITES = [write_by_session, write_by_connection, write_by_statement, write_by_compiled_statement]


@pytest.mark.parametrize("write", WRITES)
def test_a_writer_waits_while_it_is_the_turn_of_another_process(app, monkeypatch, turn_of_another_process, write):
    monkeypatch.setattr(write_queue, "TURN_TIMEOUT_S", 30)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, app)
        with pytest.raises(TimeoutError):
            writing.result(0.2)
        turn_of_another_process.communicate("\n")
        writing.result(5)


def test_a_process_that_was_stopped_in_its_turn_stops_no_other(app, monkeypatch, turn_of_another_process):
    monkeypatch.setattr(write_queue, "TURN_TIMEOUT_S", 0.05)
    write_by_session(app)
    assert turn_of_another_process.poll() is None


WRITE_ON = """
import sqlite3, sys, threading, time
from streamsvc.storage.write_queue import WriteQueue
queue = WriteQueue(sys.argv[1])
def write():
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
    while True:
        deadline = queue.acquire()
        with queue.turn(deadline):
            connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO written (writer) VALUES ('other')")
        time.sleep(0.002)
        connection.execute("COMMIT")
        queue.release()
for _ in range(3):
    threading.Thread(target=write, daemon=True).start()
print("writing", flush=True)
input()
"""


def test_a_process_that_always_writes_leaves_every_other_turn_to_the_next(tmp_path):
    path, waited_for = str(tmp_path / "turns.sqlite3"), []
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE written (id INTEGER PRIMARY KEY, writer TEXT)")
    queue, command = write_queue.WriteQueue(path), [sys.executable, "-c", WRITE_ON, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writing\n"
        while sum(waited_for) < 100:
            deadline = queue.acquire()
            with queue.turn(deadline):
                (before,) = connection.execute("SELECT max(id) FROM written").fetchone()
                connection.execute("BEGIN IMMEDIATE")
            mine = connection.execute("INSERT INTO written (writer) VALUES ('mine') RETURNING id").fetchone()[0]
            time.sleep(0.002)
            connection.execute("COMMIT")
            queue.release()
            waited_for.append(mine - (before or 0) - 1)
        other.communicate("\n")
    connection.close()
    assert max(waited_for) <= 1, "from its turn on, it waited for the transaction that was open, and no other"


def test_many_threads_write_without_a_failure(app):
    def write(_):
        return operator(app, "support").token

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(write, range(64)))) == 64
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ApiKey)) == 64
