"""Two imports at the same moment: each ends whole, nothing is doubled, nothing lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from streamsvc.models import Job, Person, SearchDoc, Title, TitleCard, TitleRecord
from streamsvc.operations.catalog.imports import importing, imports
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.catalog.test_import import counts, line, ndjson
from tests.worlds.catalog_world import Catalog

MANY = 120


@pytest.fixture
def catalog(app, monkeypatch):
    """A catalogue whose imports take their turns often."""
    monkeypatch.setattr(importing, "INITIAL_BATCH_SIZE", 10)
    monkeypatch.setattr(importing, "next_batch_size", lambda done, took_s: 10)
    return Catalog(app)


def at_once(catalog, *files):
    """Post files, let as many workers take one each at the same moment, and see what became of each."""
    sent = [
        catalog.client.post(f"/v1/admin/imports?format={form}", data=file, content_type="").json["id"]
        for form, file in files
    ]
    now, start = catalog.app.extensions["clock"](), Barrier(len(files))

    def worker(_):
        with catalog.app.app_context():
            job = jobs.lease_next_job(now)
            start.wait()
            return jobs.run_job(job, now)

    with ThreadPoolExecutor(len(files)) as pool:
        assert list(pool.map(worker, files)) == [True] * len(files)
    with catalog.app.app_context():
        jobs.run_due_jobs(now)
        assert db.session.scalars(sa.select(Job.last_error).where(Job.last_error.is_not(None))).all() == []
    return [catalog.get(f"/v1/admin/imports/{one}").json for one in sent]


def film(number, source="x", **more):
    """A title that shares people, words and genres with others."""
    people = [{"name": f"Person {(number + at) % 50}", "role": "actor"} for at in range(3)]
    told = {"title": f"Film {number}", "genres": [f"genre{number % 7}"], "languages": ["en"], "credits": people}
    return line(number, **told | {"external_id": f"{source}:{number}"} | more)


def rows(catalog, model):
    with catalog.app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(model))


def exported(catalog):
    told = catalog.get("/v1/admin/catalog-exports/ndjson").text.splitlines()
    return sorted((json.loads(one) for one in told), key=lambda one: one["external_id"])


def test_one_file_twice_at_once_lands_once(catalog):
    file = "ndjson", ndjson(*(film(number) for number in range(MANY)))
    done = at_once(catalog, file, file)
    assert [one["status"] for one in done] == ["done", "done"]
    assert [sum(numbers) for numbers in zip(*map(counts, done), strict=True)] == [MANY, 0, MANY, 0]
    assert [rows(catalog, model) for model in (Title, TitleCard, SearchDoc, Person)] == [MANY, MANY, MANY, 50]
    assert len(exported(catalog)) == MANY
    assert catalog.found("film 77")[0] == "Film 77"


def test_two_sources_at_once_both_land_whole(catalog):
    files = [("ndjson", ndjson(*(film(number, source) for number in range(MANY)))) for source in ("x", "y")]
    assert [counts(one) for one in at_once(catalog, *files)] == [[MANY, 0, 0, 0]] * 2
    tables = (Title, TitleRecord, TitleCard, SearchDoc, Person)
    assert [rows(catalog, model) for model in tables] == [2 * MANY] * 4 + [50]
    assert [one["title"] for one in exported(catalog)] == [one["title"] for one in exported(catalog)[:MANY]] * 2
    assert set(genres(catalog).values()) == {2 * len(range(n, MANY, 7)) for n in range(7)}


def genres(catalog):
    told = catalog.get("/v1/catalog/genres").json["items"]
    return {one["code"]: len(catalog.titles(genre=one["code"], limit=100)) for one in told}


def test_two_tables_that_tell_different_things_of_the_same_titles_lose_nothing(catalog):
    def table(column, value):
        told = "\n".join(f"x:{number},movie,Film {number},{value}" for number in range(MANY))
        return "csv", f"external_id,kind,title,{column}\n{told}\n".encode()

    done = at_once(catalog, table("year", 1994), table("synopsis", "A film."), table("plans", "basic"))
    assert [one["status"] for one in done] == ["done"] * 3
    told = {(one.get("year"), one.get("synopsis"), *one.get("plans", [])) for one in exported(catalog)}
    assert told == {(1994, "A film.", "basic")}


def test_of_two_workers_at_one_import_one_goes_on_and_no_line_counts_twice(catalog):
    """As where the lease of a slow one ran out."""
    file = ndjson(*(film(number) for number in range(MANY)))
    sent = catalog.client.post("/v1/admin/imports", data=file).json["id"]
    now, start = catalog.app.extensions["clock"](), Barrier(2)

    def worker(_):
        with catalog.app.app_context():
            start.wait()
            try:
                imports.handle_catalog_import({"id": sent}, now)
                db.session.commit()
            except imports.ImportTakenOver:
                db.session.rollback()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(worker, range(2)))
    done = catalog.get(f"/v1/admin/imports/{sent}").json
    assert (counts(done), done["lines_done"], done["status"]) == ([MANY, 0, 0, 0], MANY, "done")
