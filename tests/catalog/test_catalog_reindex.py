"""The worker rebuilds the search index after a release with other rules."""

import pytest
import sqlalchemy as sa

from streamsvc.models import CatalogState, SearchDoc, Title, TitleFacet
from streamsvc.operations.catalog.titles import indexing
from streamsvc.rules.catalog import tokens
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.catalog.test_import import count_index_segments
from tests.worlds.catalog_world import Catalog

TITLES = ["Alpha", "Bravo", "Charlie", "Delta", "Echo"]


@pytest.fixture
def catalog(app):
    """A catalogue with an empty index, built by older rules."""
    catalog = Catalog(app)
    for title in TITLES:
        catalog.put(title)
    catalog.put("The Aardvark", genres=["animals"])
    with app.app_context():
        db.session.execute(sa.update(CatalogState).values(search_version=0))
        db.session.execute(sa.delete(SearchDoc))
        for model in (Title, TitleFacet):
            db.session.execute(sa.update(model).where(model.sort_title == "aardvark").values(sort_title="the aardvark"))
        indexing.writing.increment_catalog_version()
        db.session.commit()
    assert not any(catalog.search(title) for title in TITLES)
    assert catalog.titles(sort="-title")[0] == "The Aardvark"
    return catalog


def run_worker(app, clock):
    """Start the worker and let it run for a minute."""
    clock.advance(hours=2)
    with app.app_context():
        jobs.schedule_recurring()
        clock.advance(minutes=1)
        jobs.run_due_jobs(clock.at)
        assert db.session.scalars(sa.select(jobs.Job.last_error).where(jobs.Job.last_error.is_not(None))).all() == []


@pytest.mark.parametrize("run_s", [15, 0], ids=["one run", "many runs"])
def test_an_index_built_by_older_rules_is_rebuilt(app, clock, catalog, monkeypatch, run_s):
    monkeypatch.setattr(indexing, "MAX_RUN_TIME", run_s * indexing.MAX_RUN_TIME / 15)
    monkeypatch.setattr(indexing, "RECORD_PAGE", indexing.RECORD_PAGE.limit(2))
    run_worker(app, clock)
    assert [catalog.search(title) for title in TITLES] == [[title] for title in TITLES]
    assert count_index_segments(app) == 1
    assert catalog.titles(sort="title") == catalog.titles(sort="title", kind="movie") == ["The Aardvark", *TITLES]


def test_an_index_built_by_current_rules_is_not_rebuilt(app, clock, catalog):
    with app.app_context():
        db.session.execute(sa.update(CatalogState).values(search_version=tokens.INDEX_VERSION))
        db.session.commit()
    run_worker(app, clock)
    assert not catalog.search("Alpha")
