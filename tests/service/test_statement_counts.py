"""How many SQL statements each route takes, against the written list tests/service/statement_counts.txt.

A route that takes more or fewer fails. If it should, rewrite the list and commit it with the change:

    STREAMSVC_TEST_WRITE_COUNTS=1 python -m pytest tests/service/test_statement_counts.py
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc.http.hot_reads import HotReads
from streamsvc.models.subscriptions import Subscription
from streamsvc.security.local_rate_limits import LocalRateLimits
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, execute_write
from tests.worlds import hot_reads
from tests.worlds.access_world import PASSWORD, AccessWorld, authorized_principal, load_access_matrix
from tests.worlds.more_rows import copy_rows
from tests.worlds.sent_statements import sent_statements
from tests.worlds.sessions_steps import Person

COUNTS_FILE = Path(__file__).with_name("statement_counts.txt")
WRITE_VARIABLE = "STREAMSVC_TEST_WRITE_COUNTS"
PROCESS_CACHES = ("kept_responses", "catalog", "catalog_period", "catalog_lexemes", "stopped_streams", "write_check")
"""What a process remembers of the database, so that the first request for something takes more than the next."""
LISTS_OF_LISTS = {"/v1/catalog/home"}
"""Reads with a list in each row, which has a statement of its own; what is made is kept."""
ROWS = load_access_matrix()[1]


def load_counts() -> dict[tuple[str, str], dict[str, str]]:
    """Return the written counts by route and database; an empty one stands for a route without a row."""
    lines = [line.split() for line in COUNTS_FILE.read_text().splitlines() if line and not line.startswith("#")]
    databases = lines[0][2:]
    return {(method, rule): dict(zip(databases, counts, strict=True)) for method, rule, *counts in lines[1:]}


def write_counts(database: str, counts: dict[tuple[str, str], str]):
    """Replace the column of a database, in the order of the access matrix."""
    header = [line for line in COUNTS_FILE.read_text().splitlines() if line.startswith("#")]
    written, databases = load_counts(), ("sqlite", "postgresql")
    table = [["method", "route", *databases]]
    for row in ROWS:
        columns = written.get(row.key, {}) | {database: counts[row.key]}
        table.append([*row.key, *(columns.get(name, "?") for name in databases)])
    lines = [
        f"{method:<6} {rule:<74} {of_sqlite:>6} {of_postgresql:>10}" for method, rule, of_sqlite, of_postgresql in table
    ]
    COUNTS_FILE.write_text("\n".join([*header, "", *lines]) + "\n")


@dataclass(frozen=True)
class Measured:
    """What a request took: the statements of the first one, how many the same GET took again, and its list's length."""

    statements: list[str]
    again: int
    items: int

    @property
    def count(self) -> str:
        first = len(self.statements)
        return str(first) if self.again == first else f"{first}/{self.again}"

    def __str__(self):
        return self.count + "".join(f"\n    {' '.join(text.split())[:160]}" for text in self.statements)


class CountingWorld:
    """The world of the access matrix, whose requests are counted."""

    def __init__(self, app, texts):
        self.app, self.texts, self.world = app, texts, AccessWorld.for_app(app)
        self.world.send_request(next(row for row in ROWS if row.key == ("POST", "/v1/sessions")), "anonymous")
        self.world.restore()  # now the process knows the key of its rate limits

    def measure(self, row) -> Measured:
        """Send the row's request as the principal that may, with nothing in memory, and a GET once again.

        Restores the database, unless it is a GET.
        """
        for name in PROCESS_CACHES:
            self.app.extensions.pop(name, None)
        self.app.extensions["local_rate_limits"] = LocalRateLimits()
        response, first = self._send(row)
        if row.method != "GET":
            self.world.restore()
            return Measured(first, len(first), 0)
        items = response.json.get("items") if response.is_json else None
        return Measured(first, len(self._send(row)[1]), len(items or ()))

    def _send(self, row):
        """Return the response and the statements."""
        self.texts.clear()
        return self.world.send_request(row, authorized_principal(row)), list(self.texts)

    def multiply_rows(self):
        """Have twelve of everything, until the world is restored."""
        with self.app.app_context(), db.engines[AUTOCOMMIT_BIND].connect() as connection:
            copy_rows(connection, db.metadata, copies=11)


@pytest.fixture
def world(app, monkeypatch):
    monkeypatch.setattr(HotReads, "answer", hot_reads._answer)  # without the comparison, which sends each read twice
    monkeypatch.delitem(app.extensions, "account_clock")  # an account's own clock costs the sandbox a statement
    with sent_statements(app) as texts:
        yield CountingWorld(app, texts)


def test_every_route_takes_as_many_statements_as_are_written_down(world, database):
    measured = {row.key: world.measure(row) for row in ROWS}
    if os.environ.get(WRITE_VARIABLE) == "1":
        write_counts(database, {key: each.count for key, each in measured.items()})
    written = load_counts()
    expected = {key: written.get(key, {}).get(database, "?") for key in measured}
    wrong = [
        f"{method} {rule} takes on {database}, instead of {expected[method, rule]}: {each}"
        for (method, rule), each in measured.items()
        if each.count != expected[method, rule]
    ]
    assert not wrong, f"{COUNTS_FILE.name} is not true of {len(wrong)} routes (see {__name__}):\n" + "\n".join(wrong)
    assert written.keys() == measured.keys(), f"{COUNTS_FILE.name} has rows without a route"


@pytest.mark.one_database
def test_a_list_of_twelve_takes_no_more_statements_than_a_list_of_one(world):
    reads = [row for row in ROWS if row.method == "GET"]
    of_one = {row.key: world.measure(row) for row in reads}
    world.multiply_rows()
    of_twelve = {row.key: world.measure(row) for row in reads}
    world.world.restore()
    longer = [
        f"GET {rule} takes, instead of {of_one['GET', rule].count}: {each}"
        for (_, rule), each in of_twelve.items()
        if rule not in LISTS_OF_LISTS and len(each.statements) > len(of_one["GET", rule].statements)
    ]
    assert not longer, "a statement for each row:\n" + "\n".join(longer)
    assert sum(each.items > 8 for each in of_twelve.values()) > 30, "the check itself: there are lists with many rows"


def test_a_heartbeat_takes_three_statements_and_a_report_of_progress_two(world):
    """The viewer with the stream or the item; the position; the stream. A play is a row of its own when it begins."""
    ids, texts = world.world.shared_ids | world.world.ids_by_household["A"], world.texts
    viewer = Person(world.world.client, "a@example.com", PASSWORD, world.world.tokens["A"])
    with world.app.app_context():  # what an add-on of a plan allows is one statement more
        execute_write(sa.update(Subscription).values(addon_grants=sa.null()))

    def count(send, path, body, status=200):
        texts.clear()
        response = send(path, body)
        assert response.status_code == status, response.text
        return len(texts)

    def beat(position_s, state="playing"):
        return count(viewer.post, f"/v1/playback/{ids['stream']}/heartbeat", {"position_s": position_s, "state": state})

    assert beat(600, "starting") == 2
    assert beat(600) == 4
    assert beat(630) == 3
    assert beat(630) == 2
    assert beat(5990) == 4, "the play is complete"
    assert beat(5990, "stopped") == 2
    path = f"/v1/profiles/{ids['profile']}/progress/"
    body = {"position_s": 700, "duration_s": 6000, "at": ids["now"]}
    assert count(viewer.put, path + ids["title"], body) == 2
    assert count(viewer.put, path + ids["episode"], body | {"duration_s": 1500}) == 2
    assert count(viewer.put, path + ids["title"], body | {"play_id": "offline"}) == 3
    assert count(viewer.put, path + "ttl_made-up", body, 404) == 1
    world.world.restore()
