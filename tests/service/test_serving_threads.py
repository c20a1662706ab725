"""On SQLite one thread serves as long as it is quick, and others as soon as it is not."""

import threading
import time
from itertools import pairwise

import pytest

from streamsvc.http.serving_threads import PATIENCE_S, ServingThreads
from tests.worlds.service import wait_until

THREADS = 4


class Pool:
    def __init__(self):
        self.threads = ServingThreads(THREADS, lambda act: act(), takes_turns=True)
        self.turns = self.threads.turns

    def do(self, act):
        """Have it done, and return an event that is set then."""
        done = threading.Event()
        self.threads.submit(lambda: (act(), done.set()))
        return done

    def let_all_but_one_sleep(self):
        """All threads have to have served a request for that: they do so at a time."""
        together = threading.Barrier(THREADS)
        for event in [self.do(together.wait) for _ in range(THREADS)]:
            assert event.wait(10)
        wait_until(lambda: self.do(bool).wait(10) and len(self.turns.sleeping) == THREADS - 1)


@pytest.fixture
def pool():
    pool = Pool()
    yield pool
    pool.threads.shutdown()
    for thread in pool.threads.threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in pool.threads.threads), "a thread still sleeps"


def test_one_thread_serves_while_it_is_quick(pool):
    pool.let_all_but_one_sleep()
    served_by = []
    for _ in range(200):
        assert pool.do(lambda: served_by.append(threading.get_ident())).wait(10)
    changes = sum(former != latter for former, latter in pairwise(served_by))
    assert changes < 20, "a busy machine may interrupt a thread for longer than its patience"


def test_threads_are_woken_for_those_that_take_long(pool):
    pool.let_all_but_one_sleep()
    release = threading.Event()
    for _ in range(1, THREADS):
        pool.do(lambda: release.wait(60))
        started = time.monotonic()
        assert pool.do(bool).wait(10), "the requests behind the slow ones are served"
        assert time.monotonic() - started < 2
    release.set()
    wait_until(lambda: pool.do(bool).wait(10) and len(pool.turns.sleeping) == THREADS - 1)


def test_requests_that_each_wait_a_moment_for_the_disk_are_served_side_by_side(pool):
    pool.let_all_but_one_sleep()
    count, wait_s, taken_s = 60, PATIENCE_S * 0.8, []
    for _ in range(3):
        started = time.monotonic()
        events = [pool.do(lambda: time.sleep(wait_s)) for _ in range(count)]
        assert all(event.wait(10) for event in events)
        taken_s.append(time.monotonic() - started)
    assert min(taken_s) < count * wait_s * 0.7, "one after the other"


def test_a_request_that_fails_ends_no_thread(pool, caplog):
    for _ in range(2 * THREADS):
        pool.do(lambda: 1 // 0)
    wait_until(lambda: len(caplog.records) == 2 * THREADS)
    assert pool.do(bool).wait(10)


def test_all_threads_serve_once_it_stops(pool):
    pool.let_all_but_one_sleep()
    pool.turns.stop()
    together = threading.Barrier(THREADS)
    events = [pool.do(lambda: together.wait(10)) for _ in range(THREADS)]
    assert all(event.wait(PATIENCE_S + 10) for event in events)
