"""Concurrent imports: each completes, nothing is duplicated or lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from streamsvc.models import Import, Job, Person, SearchDoc, Title, TitleCard, TitleRecord
from streamsvc.operations.catalog.imports import importing, imports, reading, stored_files
from streamsvc.operations.catalog.titles import writing
from streamsvc.storage.database import db, fetch_one
from streamsvc.worker import jobs
from tests.catalog.test_import import counts, line, ndjson
from tests.worlds.catalog_world import Catalog

pytestmark = pytest.mark.every_database

MANY = 120


@pytest.fixture
def catalog(app, monkeypatch):
    """A catalogue whose imports commit small batches."""
    monkeypatch.setattr(importing, "INITIAL_BATCH_SIZE", 10)
    monkeypatch.setattr(importing, "next_batch_size", lambda results, took_s: 10)
    return Catalog(app)


def import_concurrently(catalog, *files):
    """Post files, run one worker per file at the same time and return the imports."""
    import_ids = [
        catalog.client.post(f"/v1/admin/imports?format={file_format}", data=file, content_type="").json["id"]
        for file_format, file in files
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
    return [catalog.get(f"/v1/admin/imports/{import_id}").json for import_id in import_ids]


def film(number, source="x", **more):
    """Return a record that shares people, words and genres with others."""
    people = [{"name": f"Person {(number + offset) % 50}", "role": "actor"} for offset in range(3)]
    record = {"title": f"Film {number}", "genres": [f"genre{number % 7}"], "languages": ["en"], "credits": people}
    return line(number, **record | {"external_id": f"{source}:{number}"} | more)


def count_rows(catalog, model):
    with catalog.app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(model))


def export(catalog):
    lines = catalog.get("/v1/admin/catalog-exports/ndjson").text.splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda record: record["external_id"])


def test_one_file_imported_twice_concurrently_is_imported_once(catalog):
    file = "ndjson", ndjson(*(film(number) for number in range(MANY)))
    results = import_concurrently(catalog, file, file)
    assert [result["status"] for result in results] == ["done", "done"]
    assert [sum(numbers) for numbers in zip(*map(counts, results), strict=True)] == [MANY, 0, MANY, 0]
    assert [count_rows(catalog, model) for model in (Title, TitleCard, SearchDoc, Person)] == [MANY, MANY, MANY, 50]
    assert len(export(catalog)) == MANY
    assert catalog.search("film 77")[0] == "Film 77"


def test_two_sources_imported_concurrently_are_both_complete(catalog):
    files = [("ndjson", ndjson(*(film(number, source) for number in range(MANY)))) for source in ("x", "y")]
    assert [counts(result) for result in import_concurrently(catalog, *files)] == [[MANY, 0, 0, 0]] * 2
    tables = (Title, TitleRecord, TitleCard, SearchDoc, Person)
    assert [count_rows(catalog, model) for model in tables] == [2 * MANY] * 4 + [50]
    assert [record["title"] for record in export(catalog)] == [record["title"] for record in export(catalog)[:MANY]] * 2
    assert set(genres(catalog).values()) == {2 * len(range(n, MANY, 7)) for n in range(7)}


def genres(catalog):
    codes = [genre["code"] for genre in catalog.get("/v1/catalog/genres").json["items"]]
    return {code: len(catalog.titles(genre=code, limit=100)) for code in codes}


def test_concurrent_csv_files_with_different_columns_lose_nothing(catalog):
    def table(column, value):
        rows = "\n".join(f"x:{number},movie,Film {number},{value}" for number in range(MANY))
        return "csv", f"external_id,kind,title,{column}\n{rows}\n".encode()

    results = import_concurrently(catalog, table("year", 1994), table("synopsis", "A film."), table("plans", "basic"))
    assert [result["status"] for result in results] == ["done"] * 3
    values = {(record.get("year"), record.get("synopsis"), *record.get("plans", [])) for record in export(catalog)}
    assert values == {(1994, "A film.", "basic")}


def test_of_two_workers_on_one_import_one_continues_and_no_line_counts_twice(catalog):
    """As after the lease of a slow worker expired."""
    file = ndjson(*(film(number) for number in range(MANY)))
    import_id = catalog.client.post("/v1/admin/imports", data=file).json["id"]
    now, start = catalog.app.extensions["clock"](), Barrier(2)

    def worker(_):
        with catalog.app.app_context():
            start.wait()
            try:
                imports.handle_catalog_import({"id": import_id}, now)
                db.session.commit()
            except imports.ImportTakenOver:
                db.session.rollback()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(worker, range(2)))
    result = catalog.get(f"/v1/admin/imports/{import_id}").json
    assert (counts(result), result["lines_done"], result["status"]) == ([MANY, 0, 0, 0], MANY, "done")


def test_a_worker_that_lost_its_import_to_another_changes_nothing(catalog):
    """A slow worker read the import before another one imported the first batch, or all of it."""
    file = ndjson(*(film(number) for number in range(20)))
    import_id = catalog.client.post("/v1/admin/imports", data=file).json["id"]
    now = catalog.app.extensions["clock"]()

    def stored():
        return fetch_one(sa.select(*Import.__table__.c).where(Import.id == import_id))

    def batches(row):
        file, *others = stored_files.open_import_files(import_id, "ndjson")
        return importing.iter_batches(reading.read_entries(row.format, file, row.lines_done, others))

    with catalog.app.app_context():
        stale = stored()
        imports._import_batch(stale, next(batches(stale)), writing.WriteCache(), 0)
        with pytest.raises(imports.ImportTakenOver):
            imports._import_file(stale, now)
        db.session.rollback()
        assert (stored().lines_done, stored().added, stored().unchanged) == (10, 10, 0)
        imports.handle_catalog_import({"id": import_id}, now)
        db.session.commit()
        with pytest.raises(imports.ImportTakenOver):
            imports._complete_import(stale, now)
        db.session.rollback()
    result = catalog.get(f"/v1/admin/imports/{import_id}").json
    assert (counts(result), result["lines_done"], result["status"]) == ([20, 0, 0, 0], 20, "done")
