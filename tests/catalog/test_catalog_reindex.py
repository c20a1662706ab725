"""The search index made anew by the worker, where a release has other rules for it."""

import pytest
import sqlalchemy as sa

from streamsvc.models import CatalogState, SearchDoc
from streamsvc.operations.catalog.titles import indexing
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.catalog.test_import import pieces_of_the_index
from tests.worlds.catalog_world import Catalog

TITLES = ["Alpha", "Bravo", "Charlie", "Delta", "Echo"]


@pytest.fixture
def catalog(app):
    """A catalogue whose index was made by older rules: it knows none of its titles."""
    catalog = Catalog(app)
    for title in TITLES:
        catalog.put(title)
    with app.app_context():
        db.session.execute(sa.update(CatalogState).values(search_version=0))
        db.session.execute(sa.delete(SearchDoc))
        indexing.writing.increment_catalog_version()
        db.session.commit()
    assert not any(catalog.found(title) for title in TITLES)
    return catalog


def look_after(app, clock):
    clock.advance(hours=2)
    with app.app_context():
        jobs.schedule_recurring()
        clock.advance(hours=1)
        jobs.run_due_jobs(clock.at)
        assert db.session.scalar(sa.select(jobs.Job.failed_at).where(jobs.Job.last_error.is_not(None))) is None


@pytest.mark.parametrize("turn_s", [15, 0], ids=["one turn", "many turns"])
def test_an_index_of_older_rules_is_made_anew(app, clock, catalog, monkeypatch, turn_s):
    monkeypatch.setattr(indexing, "MAX_RUN_TIME", turn_s * indexing.MAX_RUN_TIME / 15)
    monkeypatch.setattr(indexing, "RECORD_PAGE", indexing.RECORD_PAGE.limit(2))
    look_after(app, clock)
    assert [catalog.found(title) for title in TITLES] == [[title] for title in TITLES]
    assert pieces_of_the_index(app) == 1


def test_an_index_of_todays_rules_is_left_alone(app, clock, catalog):
    with app.app_context():
        db.session.execute(sa.update(CatalogState).values(search_version=indexing.search.INDEX_VERSION))
        db.session.commit()
    look_after(app, clock)
    assert not catalog.found("Alpha")
