"""Every query of a route or the worker uses an index, so nothing slows down as tables grow."""

import re
from itertools import product

import pytest
import sqlalchemy as sa

from streamsvc.operations.catalog.reading import list_statements, sorted_groups
from streamsvc.operations.catalog.reading.list_statements import RANGES, SORTS, ListShape
from streamsvc.operations.catalog.reading.sorted_groups import GroupsShape
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.access_world import AccessWorld, authorized_principal, load_access_matrix, run_jobs
from tests.worlds.plans import query_plan

_, ROWS = load_access_matrix()
READ_ALL = ("/v1/admin/reports/", "/v1/admin/coverage", "/v1/admin/session-revocations")
"""Routes that report on all rows, or count them."""
SMALL = {
    "alembic_version",
    "catalog_state",
    "collections",
    "device_codes",
    "facets",
    "health_checks",
    "home_rows",
    "invoice_numbers",
    "legal_entities",
    "operators",
    "plans",
    "price_migrations",
    "sandbox_clock",
    "sandbox_payment_plans",
    "service_epoch",
    "tax_rates",
    "webhook_endpoints",
    "workers",
}
"""Tables that stay small: operators' configuration, number series, and rows deleted within the hour."""
SCAN = re.compile(r"SCAN (\w+)(?! USING COVERING INDEX ix_(jobs|webhook_deliveries)_failed$)")
"""Not a scan of the partial indexes of what has failed, which are as small as what is counted."""


class Plans:
    """Records the tables that SQLite would scan for each statement, once per text, with its caller.

    Paginated queries do not count: the database reads in the requested order, and stops.
    """

    def __init__(self, app, monkeypatch):
        self.scans, self.caller = {}, None
        with app.app_context():
            self.engines = list(db.engines.values())
        for engine in self.engines:
            sa.event.listen(engine, "before_cursor_execute", self.record)
        execute = CompiledStatement._execute

        def execute_and_explain(statement, parameters):
            if self.caller:
                with db.engines[AUTOCOMMIT_BIND].connect() as connection:
                    connection.execute(statement.statement, parameters)  # recorded by the listener, then rolled back
                    connection.rollback()
            return execute(statement, parameters)

        monkeypatch.setattr(CompiledStatement, "_execute", execute_and_explain)

    def record(self, connection, cursor, text, parameters, context, many):
        if self.caller and text not in self.scans and text.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH"):
            raw = connection.connection.dbapi_connection
            self.scans[text] = self.caller, scanned_tables(raw, text, parameters[0] if many else parameters) - SMALL

    def close(self):
        for engine in self.engines:
            sa.event.remove(engine, "before_cursor_execute", self.record)

    def full_scans(self):
        """(caller, tables, statement) for each statement that scans a growing table."""
        return [(caller, tables, text) for text, (caller, tables) in self.scans.items() if tables]


def scanned_tables(raw, text, parameters) -> set[str]:
    """The tables that SQLite scans for this statement; none if it reads a page in index order."""
    steps = [step for _, _, _, step in raw.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    is_page = "ORDER BY" in text and "LIMIT" in text and "USE TEMP B-TREE FOR ORDER BY" not in steps
    names = {match[1] for match in map(SCAN.match, steps) if match}
    return set() if is_page else names & db.metadata.tables.keys()


@pytest.fixture
def plans(app, monkeypatch, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL plans by table sizes: plans for empty tables say nothing")
    plans = Plans(app, monkeypatch)
    yield plans
    plans.close()


def test_no_query_scans_a_growing_table(app, clock, plans):
    world = AccessWorld.for_app(app)
    for row in ROWS:
        if not row.rule.startswith(READ_ALL):
            plans.caller = row.key
            world.send_request(row, authorized_principal(row))
            plans.caller = None
            if row.method != "GET":
                world.restore()
    world.restore()
    plans.caller = "the worker"
    for _ in range(3):
        clock.advance(days=31)
        run_jobs(app)
    plans.caller = None
    assert len(plans.scans) > 300
    assert plans.full_scans() == []


def test_the_check_detects_a_full_scan(app, plans):
    plans.caller = "a test"
    with app.app_context():
        db.session.execute(sa.text("SELECT id FROM accounts WHERE name = 'x'"))
        db.session.execute(sa.text("SELECT id FROM accounts WHERE id = 'x'"))
        db.session.rollback()
    assert [tables for _, tables, _ in plans.full_scans()] == [{"accounts"}]


RANGES_OF_LISTS = ((), ("year_gte",), ("year_lte", "runtime_lte"), RANGES)
SHAPES = [
    ListShape(sort, facets=facets, ranges=ranges, after=after, visibility=visibility)
    for sort, facets, ranges, after, visibility in product(
        SORTS, (0, 2), RANGES_OF_LISTS, (False, True), ("listed", "restricted")
    )
]
"""What a list's walk depends on; a facet or a range more is one more condition that each row is tested for."""
POSITIONS = {"added": [5], "title": ["m", 5], "year": [1990, 5], "popularity": [2**33]}


def list_values(shape, now):
    """Values for the parameters of a list's statements."""
    position = POSITIONS[shape.sort.removeprefix("-")] if shape.after else []
    return {f"after_{index}": value for index, value in enumerate(position)} | {
        "facet_0": 1, "facet_1": 2, "year_gte": 1990, "year_lte": 2000, "runtime_lte": 60, "age_lte": 12,
        "person": 1, "ids": ["ttl_1"], "limit": 25, "chunk": 100, "skipped": 99, "max_age": 18, "country": "DE",
        "plans": None, "blocked_titles": "", "blocked_labels": "", "allowed_titles": "", "allowed_labels": "",
        "now": now,
    }  # fmt: skip


def test_each_list_of_titles_walks_one_index_in_its_order(app, database):
    now = app.extensions["clock"]()
    with app.app_context():
        for shape in SHAPES:
            values = list_values(shape, now)
            statement = list_statements.list_statement(shape, database)
            plan = query_plan(statement, prefer_indexes=True, prefer_order=True, **values)
            assert_walks(plan, shape, database)
            end = list_statements.compiled_end_statement(shape).statement
            assert_in_order(query_plan(end, prefer_indexes=True, prefer_order=True, **values), shape)


def assert_walks(plan, shape, database):
    """Assert that nothing but the index of the list is walked, and that row by row in its order."""
    lines = plan.splitlines()
    if database == "postgresql":
        assert lines[0].startswith("Limit") and "Seq Scan" not in plan, (shape, plan)
        return
    walked = "title_facets" if shape.facets else "titles"
    end_of_chunk = (f"SCAN {walked}_1", f"SEARCH {walked}_1", "SCAN of_chunk", "SCAN of_all", "USE TEMP B-TREE")
    first, *others = (line for line in lines if not line.startswith(end_of_chunk))
    assert first.startswith(f"SEARCH {walked} USING ") and re.search("[<>]", first), (shape, plan)
    assert not [line for line in others if line.startswith("SCAN")], (shape, plan)
    assert plan.count("TEMP B-TREE") == 2, "one row each: the last of the chunk, and the last of all"


def assert_in_order(plan, shape):
    """Assert that rows are read in order, so that the database stops after as many as are wanted."""
    assert not re.search("TEMP B-TREE|Sort|Seq Scan", plan), (shape, plan)


VALUES = {"year": 1990, "title": "m", "popularity": 5}
GROUPS = [
    GroupsShape(ListShape(sort, facets=facets, ranges=ranges), starts, ends=starts == "from", values=values)
    for sort, facets, ranges, (starts, values) in product(
        ("-year,title", "title,-year,popularity", "-popularity,title", "year,popularity"),
        (0, 2),
        RANGES_OF_LISTS,
        (("", 0), ("after", 0), ("from", 2)),
    )
]


def test_a_list_with_several_sort_keys_reads_groups_by_the_first_keys_index(app, database):
    now = app.extensions["clock"]()
    with app.app_context():
        for shape in GROUPS:
            first, second, *_ = (key.strip("-") for key in shape.titles.sort.split(","))
            bound = VALUES[first] << 32 if first == "popularity" else VALUES[first]
            values = list_values(shape.titles, now) | {"start": bound, "end": bound}
            values |= {"after_0": VALUES[first], "after_1": VALUES[second]}
            groups = query_plan(sorted_groups.groups_statement(shape), prefer_indexes=True, prefer_order=True, **values)
            assert_in_order(groups, shape)
            plan = query_plan(sorted_groups.sorted_statement(shape), prefer_indexes=True, prefer_order=True, **values)
            index = index_of(shape.titles, first, database)
            assert index in used_indexes(groups) & used_indexes(plan), (shape, groups, plan)


def used_indexes(plan):
    """Return the indexes of titles and their links in a plan, in which no table is scanned without one."""
    assert not re.search(r"Seq Scan|SCAN title\w+$", plan, re.MULTILINE), plan
    on_sqlite = re.findall(r"(?:SCAN|SEARCH) title(?:s|_facets) USING (?:COVERING )?INDEX (\w+)", plan)
    return {*on_sqlite, *re.findall(r"(?:using|Bitmap Index Scan on) (\w+)", plan)}


def index_of(titles, key, database):
    """Return the name of the index that has titles, or the links of a facet, in the order of a sort key."""
    table, [column] = ("title_facets" if titles.facets else "titles"), list_statements.SORT_COLUMNS[key]
    if (table, column) == ("titles", "rank"):
        return "sqlite_autoindex_titles_3" if database == "sqlite" else "uq_titles_rank"
    return f"ix_{table}_{column}"


@pytest.mark.parametrize(("within", "sort"), [(("year",), "title"), (("title",), "-year"), (("popularity",), "-added")])
def test_a_large_group_is_walked_by_the_index_of_the_next_key(app, database, within, sort):
    now = app.extensions["clock"]()
    with app.app_context():
        for facets, after in product((0, 2), (False, True)):
            shape = ListShape(sort, facets=facets, after=after, within=within)
            values = list_values(shape, now) | {"within_0": VALUES[within[0]]}
            statement = list_statements.list_statement(shape, database)
            assert_walks(query_plan(statement, prefer_indexes=True, prefer_order=True, **values), shape, database)
