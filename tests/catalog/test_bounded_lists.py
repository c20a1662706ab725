"""Lists, totals and searches look at a bounded number of rows, however many titles there are."""

import json
from itertools import chain

import pytest
import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import SearchDoc, Title, TitleCard, TitleFacet
from streamsvc.operations.catalog.reading import list_statements, lists
from streamsvc.operations.catalog.search import searching
from streamsvc.operations.catalog.titles import bulk, writing
from streamsvc.storage import compiled_statements
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.catalog_world import Catalog

pytestmark = pytest.mark.every_database
TITLES = "/v1/catalog/titles"


def fill(app, count):
    """Insert titles directly: each tenth is short, and each hundredth of the year 1950, all others of 2000."""
    now = app.extensions["clock"]()
    with app.app_context():
        facet = writing.get_or_create_facets({("genre", "drama")}, writing.WriteCache())["genre", "drama"]
        titles, cards, links, docs = [], [], [], []
        for pk in range(1, count + 1):
            year, runtime_s = 1950 if pk % 100 == 0 else 2000, 60 if pk % 10 == 0 else 6000
            keys = f"title {pk:06}", year, pk, runtime_s
            titles.append((pk, title_id(pk), f"x:{pk}", now, now, 0, "movie", f"Title {pk}", *keys, year, *FLAGS))
            cards.append((pk, "", json.dumps({"id": title_id(pk), "title": f"Title {pk}", **CARD})))
            links.append((facet, pk, *keys))
            docs.append((pk, "'ntitle'" if db.engine.dialect.name == "postgresql" else "ntitle"))
        columns = ("pk", "id", "external_id", "added_at", "updated_at", "played", *writing.TITLE_COLUMNS[1:])
        bulk.insert_rows(Title, columns, titles)
        bulk.insert_rows(TitleCard, ("title_pk", "locale", "body"), cards)
        bulk.insert_rows(TitleFacet, ("facet_pk", "title_pk", *writing.LINK_KEYS), links)
        bulk.insert_rows(SearchDoc, ("rank", "words"), docs)
        writing.lock_catalog()
        writing.increment_catalog_version()
        bulk.analyze_tables()
        db.session.commit()


def title_id(pk):
    return f"ttl_{pk:026}"


CARD = {
    "kind": "movie", "original_title": None, "year": 2000, "runtime_s": 60, "age_rating": None, "genres": [],
    "languages": [], "countries": [], "synopsis": None, "artwork": [], "external_ids": {},
}  # fmt: skip
FLAGS = (None, 1_000, False, False, False, False)
"""min_age, age_gate, rated_per_country, has_artwork, windowed, plan_limited"""


def count_steps(app, viewer, path):
    """Return how many hundreds of steps SQLite's virtual machine takes for a request."""
    steps, connections = [], []

    def watch(raw, *_):
        raw.set_progress_handler(lambda: steps.append(1), 100)
        connections.append(raw)

    with app.app_context():
        engine = db.engines[AUTOCOMMIT_BIND]
        watch(compiled_statements._thread.get(engine).dbapi_connection)
    sa.event.listen(engine, "checkout", watch)
    try:
        response = viewer.get(path)
        assert response.status_code == 200, response.json
    finally:
        sa.event.remove(engine, "checkout", watch)
        for raw in connections:
            raw.set_progress_handler(None, 100)
    return len(steps)


@pytest.fixture
def small_bounds(monkeypatch):
    """Bounds that are to the test's titles as the real ones are to a huge catalogue."""
    monkeypatch.setattr(lists, "MAX_ROWS", 1_000)
    monkeypatch.setattr(lists, "MAX_COUNTED_ROWS", 1_000)
    monkeypatch.setattr(searching, "MAX_COUNTED", 1_000)
    monkeypatch.setattr(pagination, "MAX_TOTAL", 500)
    list_statements.count_statement.cache_clear()
    yield
    list_statements.count_statement.cache_clear()


@pytest.mark.parametrize("genre", [{}, {"genre": "drama"}], ids=["all", "drama"])
@pytest.mark.parametrize("sort", ["-added", "title", "year", "-popularity"])
def test_a_list_that_stops_early_goes_on_at_its_cursor(app, small_bounds, genre, sort):
    catalog = Catalog(app)
    fill(app, 3_000)
    query = {"sort": sort, "limit": 50, **genre}
    pages = list(catalog.walk(TITLES, runtime__lte=100, **query))
    short = list(chain.from_iterable(pages))
    assert len({item["id"] for item in short}) == len(short) == 300
    every = [item["id"] for page in catalog.walk(TITLES, **query) for item in page]
    assert [item["id"] for item in short] == [id for id in every if int(id[4:]) % 10 == 0], "in the same order"
    empty = list(catalog.walk(TITLES, runtime__lte=10, **query))
    assert 3 <= len(empty) <= 5 and not any(empty), "each page has tested a thousand titles"
    old = list(catalog.walk(TITLES, year__lte=1960, **query))
    assert sum(map(len, old)) == 30
    assert sort != "year" or len(old) == 1, "the index of years leads straight to them"


def test_totals_are_exact_up_to_a_bound(app, small_bounds):
    catalog = Catalog(app)
    fill(app, 3_000)

    def total(**query):
        page = catalog.get(TITLES, limit=1, include_total="true", **query).json
        return page["total"], page["total_relation"]

    assert total(year__lte=1960) == (30, "exact"), "all its rows are those of the years"
    assert total(year__lte=1960, genre="drama") == (30, "exact")
    assert total(genre="drama") == (500, "at_least")
    assert total() == (500, "at_least")
    assert total(runtime__lte=100) == (100, "at_least"), "of the first thousand titles"
    assert total(ids=f"{title_id(1)},{title_id(2)},{title_id(9_999)}") == (2, "exact")
    found = catalog.get("/v1/catalog/search", q="title", limit=1, include_total="true").json
    assert (found["total"], found["total_relation"]) == (500, "at_least")
    found = catalog.get("/v1/catalog/search", q="title", limit=1, include_total="true", runtime__lte=100).json
    assert (found["total"], found["total_relation"]) == (100, "at_least")
    found = catalog.get("/v1/catalog/search", q="nothing", limit=1, include_total="true").json
    assert (found["total"], found["total_relation"]) == (0, "exact")


@pytest.mark.parametrize(
    ("max_total", "expected"), [(10_000, (300, "exact")), (300, (300, "exact")), (299, (299, "at_least"))]
)
def test_a_total_is_exact_up_to_the_limit(app, monkeypatch, max_total, expected):
    monkeypatch.setattr(pagination, "MAX_TOTAL", max_total)
    list_statements.count_statement.cache_clear()
    catalog = Catalog(app)
    fill(app, 3_000)
    for path, query in ((TITLES, {}), (TITLES, {"genre": "drama"}), ("/v1/catalog/search", {"q": "title"})):
        page = catalog.get(path, limit=1, include_total="true", runtime__lte=100, **query).json
        assert (page["total"], page["total_relation"]) == expected, (path, query)
    list_statements.count_statement.cache_clear()


PATHS = (
    f"{TITLES}?runtime.lte=10&year.gte=1995",
    f"{TITLES}?runtime.lte=10&sort=title",
    f"{TITLES}?genre=drama&age.lte=3&sort=-popularity",
    f"{TITLES}?genre=drama&year.gte=2010",
    f"{TITLES}?limit=50",
    f"{TITLES}?sort=-year,title",
    f"{TITLES}?sort=year,-popularity,title&year.gte=1960",
    f"{TITLES}?genre=drama&sort=-year,title&runtime.lte=10",
    f"{TITLES}?genre=drama&limit=50&include_total=true",
    f"{TITLES}?runtime.lte=10&limit=50&include_total=true",
    "/v1/catalog/search?q=title&include_total=true",
)


def test_ten_times_the_titles_cost_no_more_rows(app, database, small_bounds):
    if database != "sqlite":
        pytest.skip("SQLite counts its steps; the plans of both databases are tested in service/test_query_plans.py")
    catalog = Catalog(app)
    fill(app, 2_000)
    few = {path: count_steps(app, catalog, path) for path in PATHS}
    with app.app_context():
        for model in (TitleFacet, TitleCard, SearchDoc, Title):
            db.session.execute(sa.delete(model))
        db.session.commit()
    fill(app, 20_000)
    many = {path: count_steps(app, catalog, path) for path in PATHS}
    assert {path: (few[path], many[path]) for path in PATHS if many[path] > 1.3 * few[path] + 5} == {}
