"""The connections that a node may open are counted, and suffice for its threads."""

import pytest

from streamsvc.rules.connections import WORKER_THREADS, node_connections, pool_limits, process_connections
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from streamsvc.worker.jobs import THREADS_BY_LANE
from tests.conftest import build_app, close_app

HEARTBEAT = HANG_PROBE = 1


@pytest.mark.parametrize("threads", [1, 8, 40])
def test_the_pools_open_no_more_than_the_budget_and_enough_for_each_thread(new_database, database, threads):
    app = build_app(new_database(database, "budget"), threads=threads)
    with app.app_context():
        engines = {"transactions": db.engine, "statements": db.engines[AUTOCOMMIT_BIND]}
        most = {name: engine.pool.size() + engine.pool._max_overflow for name, engine in engines.items()}
    close_app(app)
    assert most == pool_limits(threads)._asdict()
    assert sum(most.values()) + HANG_PROBE == process_connections(threads)
    busiest = max(threads, WORKER_THREADS)
    assert (most["transactions"] > busiest, most["statements"] > 2 * busiest) == (True, True)


def test_the_budget_counts_every_thread_of_the_worker():
    assert sum(THREADS_BY_LANE.values()) + HEARTBEAT == WORKER_THREADS


def test_a_node_whose_threads_need_more_connections_than_it_may_open_does_not_start():
    needed = node_connections(workers=2, threads=8)
    postgresql = "postgresql://localhost/streamsvc"
    assert Settings(database_connections=needed, database_url=postgresql).with_defaults().database_connections == needed
    with pytest.raises(SettingsError, match=rf"need {needed}; allow as many, or lower STREAMSVC_WORKERS"):
        Settings(database_connections=needed - 1, database_url=postgresql).with_defaults()
    for url in ("", "sqlite:///other.sqlite3"):
        assert Settings(database_connections=1, database_url=url).with_defaults().is_sqlite, "it has no meaning there"
