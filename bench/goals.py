"""What was set as a goal, to be shown beside what is measured."""

from typing import NamedTuple

BASELINE = "bare Flask, gunicorn sync"


class Goal(NamedTuple):
    """The least ratio of the processor time of `against` to that of a path on each of our servers."""

    path: str
    database: str
    gunicorn: float
    granian: float
    against: str = BASELINE


RATIOS = [
    Goal("session", "sqlite", 1.05, 3.2),
    Goal("list", "sqlite", 1.25, 2.5),
    Goal("list-304", "sqlite", 1.25, 2.5),
    Goal("list-fresh", "sqlite", 0.70, 1.1),
    Goal("title", "sqlite", 0.90, 2.8),
    Goal("session", "postgresql", 0.60, 1.0),
    Goal("list", "postgresql", 0.60, 1.0),
    Goal("session", "sqlite", 0.6, 1.4, against="Fastify + better-sqlite3"),
    Goal("list", "sqlite", 1.3, 3.0, against="Fastify + better-sqlite3"),
]
IN_PROCESS_US = {
    "playback": 450,
    "heartbeat": 500,
    "progress": 350,
    "home": 120,
    "plans": 120,
    "invoices": 2_500,
    "search-fresh": 700,
    "typo-fresh": 1_200,
    "filters-fresh": 1_200,
}
"""Path → the most processor time of a call in process, in microseconds, on SQLite."""
HASHES = {"sign-in": 0.9, "sign-up": 0.85}
"""Path → the least share of argon2id in its processor time, in process."""
ELSEWHERE = {
    "growth from 10 thousand titles to a million": "python -m bench.growth --sizes 10000,100000,1000000",
    "renewals in sets": "python -m bench.renewals",
    "imports of titles": "python -m bench.import_formats",
    "a storm of sign-ins": "python -m bench.stuffing",
}
