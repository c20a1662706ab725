"""Whatever a route or the worker asks of the database, it finds by an index: nothing gets slow as tables grow."""

import re

import pytest
import sqlalchemy as sa

from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.access_world import World, run_jobs, table, who_gets_in

_, ROWS = table()
READ_ALL = ("/v1/admin/reports/", "/v1/admin/coverage")
"""Routes whose answer is about all there is."""
SMALL = {
    "alembic_version",
    "catalog_state",
    "collections",
    "device_codes",
    "facets",
    "home_rows",
    "operators",
    "plans",
    "sandbox_clock",
    "sandbox_payment_plans",
    "webhook_endpoints",
    "workers",
}
"""Tables that stay small: what operators set up, and what is forgotten within the hour."""
SCAN = re.compile(r"SCAN (\w+)")


class Plans:
    """Which tables SQLite would read whole for each statement: told once for each text, at whose asking.

    A page is none of that: the database walks in the order that is asked for, and stops.
    """

    def __init__(self, app, monkeypatch):
        self.of, self.asking = {}, None
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "before_cursor_execute", self.hear)
        honest = CompiledStatement._execute

        def run(prepared, parameters):
            if self.asking:
                with db.engines[AUTOCOMMIT_BIND].connect() as connection:
                    connection.execute(prepared.statement, parameters)  # heard on its way, then taken back
                    connection.rollback()
            return honest(prepared, parameters)

        monkeypatch.setattr(CompiledStatement, "_execute", run)

    def hear(self, connection, cursor, text, parameters, context, many):
        if self.asking and text not in self.of and text.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH"):
            raw = connection.connection.dbapi_connection
            self.of[text] = self.asking, read_whole(raw, text, parameters[0] if many else parameters) - SMALL

    def read_whole(self):
        """(who asked, tables, statement) wherever tables that grow are read from one end to the other."""
        return [(asking, tables, text) for text, (asking, tables) in self.of.items() if tables]


def read_whole(raw, text, parameters) -> set[str]:
    steps = [step for _, _, _, step in raw.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    page = "ORDER BY" in text and "LIMIT" in text and "USE TEMP B-TREE FOR ORDER BY" not in steps
    names = {found[1] for found in map(SCAN.match, steps) if found}
    return set() if page else names & db.metadata.tables.keys()


@pytest.fixture
def plans(app, monkeypatch, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL plans by how much there is: of empty tables it tells nothing")
    return Plans(app, monkeypatch)


def test_nothing_reads_a_whole_table_that_grows(app, clock, plans):
    world = World.of(app)
    for row in ROWS:
        if not row.rule.startswith(READ_ALL):
            plans.asking = row.key
            world.ask(row, who_gets_in(row))
            plans.asking = None
            world.restore()
    plans.asking = "the worker"
    for _ in range(3):
        clock.advance(days=31)
        run_jobs(app)
    plans.asking = None
    assert len(plans.of) > 300
    assert plans.read_whole() == []


def test_the_check_sees_a_table_read_whole(app, plans):
    plans.asking = "a test"
    with app.app_context():
        db.session.execute(sa.text("SELECT id FROM accounts WHERE name = 'x'"))
        db.session.execute(sa.text("SELECT id FROM accounts WHERE id = 'x'"))
        db.session.rollback()
    assert [tables for _, tables, _ in plans.read_whole()] == [{"accounts"}]
