"""The worker dies (SIGKILL) at every commit of an import; the next one goes on, and nothing is lost or done twice."""

from datetime import timedelta

import sqlalchemy as sa

from streamsvc.models import ImportChunk, Job
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.catalog.test_import import counts, ndjson
from tests.faults.nursery import CrashRunner
from tests.worlds.catalog_world import Catalog

MOST_POINTS = 50


def a_file(n):
    """Three batches: one ends where a title comes again."""

    def title(number, name):
        return {"external_id": f"{n}:{number}", "kind": "movie", "title": name}

    first, second = title(0, f"First {n}"), title(1, f"Second {n}")
    return ndjson(first, second, title(0, "Again"), {"kind": "movie"}, second, title(0, f"Changed {n}"))


def test_an_import_killed_at_any_commit_goes_on_where_it_stopped(app):
    catalog, now = Catalog(app), app.extensions["clock"].at
    nursery = CrashRunner(app.extensions["settings"].database_url)
    for n in range(1, MOST_POINTS):
        made = catalog.client.post("/v1/admin/imports", data=a_file(n)).json["id"]
        died = nursery.crashes(do="due", now=now.isoformat(), unit="commit", n=n)
        with app.app_context():
            leased = sa.update(Job).where(Job.leased_until.is_not(None))
            db.session.execute(leased.values(leased_until=now - timedelta(days=3650)))
            db.session.commit()
            jobs.run_due_jobs(now)
            assert db.session.scalar(sa.select(sa.func.count(ImportChunk.import_id))) == 0
        told = catalog.get(f"/v1/admin/imports/{made}").json
        assert (counts(told), told["lines_done"], told["status"]) == ([2, 2, 1, 1], 6, "done"), n
        assert [r["line"] for r in catalog.get(f"/v1/admin/imports/{made}/rejections").json["items"]] == [4]
        assert catalog.titles(limit=2) == [f"Second {n}", f"Changed {n}"]
        if not died:
            break
    nursery.close()
    assert 4 < n < MOST_POINTS
