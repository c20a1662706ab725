"""Whatever a route or the worker asks of the database, it finds by an index: nothing gets slow as tables grow."""

import re

import pytest
import sqlalchemy as sa

from streamsvc.database import db
from tests.access_world import World, run_jobs, table, who_gets_in

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
SCAN = re.compile(r"SCAN (\w+)( USING (?:COVERING )?INDEX)?")


class Plans:
    """How SQLite would find the rows of each statement, told once for each text, at whose asking."""

    def __init__(self, app):
        self.of, self.asking = {}, None
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "before_cursor_execute", self.explain)

    def explain(self, connection, cursor, text, parameters, context, many):
        if self.asking and text not in self.of and text.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH"):
            raw = connection.connection.dbapi_connection
            plan = raw.execute(f"EXPLAIN QUERY PLAN {text}", parameters[0] if many else parameters)
            self.of[text] = self.asking, [step[3] for step in plan]

    def scans(self):
        """(who asked, table, statement) wherever a table that grows is read from one end to the other."""
        for text, (asking, steps) in self.of.items():
            for name, by_index in (found.groups() for found in map(SCAN.match, steps) if found):
                page = by_index and "LIMIT" in text  # it walks in the order that is asked for, and stops
                if name in db.metadata.tables and name not in SMALL and not page:
                    yield asking, name, text


@pytest.fixture
def plans(app, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL's plans depend on how much there is: without rows it tells nothing")
    return Plans(app)


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
    assert len(plans.of) > 300
    assert list(plans.scans()) == []


def test_the_check_sees_a_table_read_whole(app, plans):
    plans.asking = "a test"
    with app.app_context():
        db.session.execute(sa.text("SELECT id FROM accounts WHERE name = 'x'"))
        db.session.execute(sa.text("SELECT id FROM accounts WHERE id = 'x'"))
        db.session.rollback()
    assert [name for _, name, _ in plans.scans()] == ["accounts"]
