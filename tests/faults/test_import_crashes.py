"""The worker is killed (SIGKILL) at every commit of an import.

The next one resumes, and nothing is lost or repeated.
"""

from datetime import timedelta

import sqlalchemy as sa

from streamsvc.models import ImportChunk, Job
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.catalog.test_import import counts, ndjson
from tests.faults.crash_runner import CrashRunner
from tests.worlds.catalog_world import Catalog

MAX_CRASH_POINTS = 50


def import_file(n):
    """A file of three batches; one of them ends where a title is repeated."""

    def title(number, name):
        return {"external_id": f"{n}:{number}", "kind": "movie", "title": name}

    first, second = title(0, f"First {n}"), title(1, f"Second {n}")
    return ndjson(first, second, title(0, "Again"), {"kind": "movie"}, second, title(0, f"Changed {n}"))


def test_an_import_killed_at_any_commit_resumes_where_it_stopped(app):
    catalog, now = Catalog(app), app.extensions["clock"].at
    crash_runner = CrashRunner(app.extensions["settings"].database_url)
    for n in range(1, MAX_CRASH_POINTS):
        import_id = catalog.client.post("/v1/admin/imports", data=import_file(n)).json["id"]
        died = crash_runner.crashes(do="due", now=now.isoformat(), unit="commit", n=n)
        with app.app_context():
            leased = sa.update(Job).where(Job.leased_until.is_not(None))
            db.session.execute(leased.values(leased_until=now - timedelta(days=3650)))
            db.session.commit()
            jobs.run_due_jobs(now)
            assert db.session.scalar(sa.select(sa.func.count(ImportChunk.import_id))) == 0
        progress = catalog.get(f"/v1/admin/imports/{import_id}").json
        assert (counts(progress), progress["lines_done"], progress["status"]) == ([2, 2, 1, 1], 6, "done"), n
        assert [r["line"] for r in catalog.get(f"/v1/admin/imports/{import_id}/rejections").json["items"]] == [4]
        assert catalog.titles(limit=2) == [f"Second {n}", f"Changed {n}"]
        if not died:
            break
    crash_runner.close()
    assert 4 < n < MAX_CRASH_POINTS
