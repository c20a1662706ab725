"""How many connections to PostgreSQL the processes of a node may open."""

from typing import NamedTuple

WORKER_THREADS = 8
"""The worker's threads in all lanes, and the one that sends its heartbeat."""


class PoolLimits(NamedTuple):
    """The most connections that each of a process's pools opens."""

    transactions: int
    statements: int


def pool_limits(threads: int) -> PoolLimits:
    """Return the limits of a process whose requests run in this many threads.

    A thread may hold one connection for compiled statements, and wait with another, in a transaction, for a lock.
    Whoever has the lock must get a third all the same, so that a pool never is what they wait for. The threads besides
    (health checks, lease renewal, gunicorn's event loop) share the rest. A worker has the pools of a web process.
    """
    busiest = max(threads, WORKER_THREADS)
    return PoolLimits(transactions=busiest + 2, statements=2 * busiest + 4)


def process_connections(threads: int) -> int:
    """Return the most connections that one process opens: its pools, and the one that tests a server that hangs."""
    return sum(pool_limits(threads)) + 1


def node_connections(workers: int, threads: int) -> int:
    """Return the most connections that a node opens: `workers` web processes, and one that runs jobs."""
    return (workers + 1) * process_connections(threads)
