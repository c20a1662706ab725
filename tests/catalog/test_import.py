"""Imports of titles: valid lines are imported, others reported, and the same file again changes nothing."""

import csv
import gzip
import io
import json
import random

import pytest
import sqlalchemy as sa

from streamsvc.operations.catalog.imports import importing, imports, local_files
from streamsvc.operations.maintenance import job_handlers
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.catalog_world import Catalog

pytestmark = pytest.mark.every_database

assert job_handlers


@pytest.fixture
def catalog(app):
    return Catalog(app)


def line(number, **more):
    return {"external_id": f"x:{number}", "kind": "movie", "title": f"Film {number}", **more}


def ndjson(*records):
    return "\n".join(json.dumps(record) for record in records).encode()


def send(catalog, body, content_type="application/x-ndjson", **query):
    """Post a file, run the worker and return the import."""
    path = "/v1/admin/imports?" + "&".join(f"{name}={value}" for name, value in query.items())
    response = catalog.client.post(path, data=body, content_type=content_type)
    assert (response.status_code, response.json["status"]) == (202, "queued"), response.text
    with catalog.app.app_context():
        jobs.run_due_jobs(catalog.app.extensions["clock"]())
    return catalog.get(f"/v1/admin/imports/{response.json['id']}").json


def counts(result):
    return [result[name] for name in ("added", "changed", "unchanged", "rejected")]


def rejections(catalog, result):
    items = catalog.get(f"/v1/admin/imports/{result['id']}/rejections", limit=100).json["items"]
    return [(item["line"], item["field"], item["code"]) for item in items]


def test_the_same_file_twice_changes_nothing_and_ids_never_change(catalog):
    file = ndjson(*(line(number, genres=["drama"]) for number in range(600)))
    assert counts(send(catalog, file)) == [600, 0, 0, 0]
    before = catalog.get("/v1/catalog/titles", limit=100)
    assert counts(send(catalog, file)) == [0, 0, 600, 0]
    after = catalog.get("/v1/catalog/titles", limit=100)
    assert before.data == after.data
    assert before.headers["ETag"] == after.headers["ETag"]
    assert count_index_segments(catalog.app) == 1


def count_index_segments(app):
    """Return the number of segments that a search reads."""
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            return 1
        return db.session.scalar(sa.text("SELECT count(DISTINCT segid) FROM search_fts_idx"))


def test_the_segments_of_the_index_are_merged_after_many_writes_only(catalog, database):
    """Of 600 titles, 7 are more than the hundredth whose merge pays."""
    if database == "postgresql":
        pytest.skip("its index has no segments")
    file = [line(number) for number in range(600)]
    send(catalog, ndjson(*file))
    assert count_index_segments(catalog.app) == 1
    send(catalog, ndjson(*(line(number, title="Renamed") for number in range(7))), dry_run="true")
    send(catalog, ndjson(*(line(number, title="Renamed") for number in range(6))))
    assert count_index_segments(catalog.app) > 1
    send(catalog, ndjson(*(line(number, title="Again") for number in range(7))))
    assert count_index_segments(catalog.app) == 1


@pytest.mark.parametrize(
    ("done", "took_s", "size"), [(250, 0.1, 500), (1000, 0.1, 1000), (1000, 3, 200), (60, 10, 50), (50, 0, 100)]
)
def test_the_batch_size_fits_the_intended_duration(done, took_s, size):
    assert importing.next_batch_size(done, took_s) == size


def test_a_changed_line_changes_only_its_title(catalog):
    send(catalog, ndjson(line(1), line(2, genres=["drama"], credits=[{"name": "Ann", "role": "actor"}])))
    ids = {item["title"]: item["id"] for item in catalog.get("/v1/catalog/titles").json["items"]}
    result = send(catalog, ndjson(line(1), line(2, title="Renamed", genres=["comedy"])))
    assert counts(result) == [0, 1, 1, 0]
    shown = catalog.get(f"/v1/catalog/titles/{ids['Film 2']}").json
    assert (shown["title"], shown["genres"], shown["credits"]) == ("Renamed", ["comedy"], [])
    assert catalog.titles(genre="comedy") == ["Renamed"]


def test_every_rejected_line_is_reported_and_the_others_are_imported(catalog):
    file = b"\n".join(
        [
            ndjson(line(1)),
            b"not json",
            ndjson(line(2, year="1994")),
            b"",
            ndjson({"external_id": "x:3", "kind": "movie"}),
            ndjson(line(4, age_rating="US:WHAT", countries=["QQ"])),
            b'{"external_id": "x:5", "title": "\xff\xfe"}',
            b'{"external_id": "x:6", "kind": "movie", "title": "' + b"a" * (1 << 20) + b'"}',
            ndjson(line(7, genres=[str(n) for n in range(10_000)])),
            ndjson(line(8, windows=[{"starts_at": "0000-01-01T00:00:00Z"}])),
            ndjson(line(9, title="=HYPERLINK(1)")),
        ]
    )
    result = send(catalog, file)
    assert counts(result) == [2, 0, 0, 8]
    assert rejections(catalog, result) == [
        (2, "", "malformed"),
        (3, "year", "wrong_type"),
        (5, "title", "missing"),
        (6, "age_rating", "unknown_rating"),
        (6, "countries", "unknown_country"),
        (7, "", "malformed"),
        (8, "", "too_long"),
        (9, "genres", "out_of_range"),
        (10, "windows[0].starts_at", "invalid"),
    ]
    assert catalog.titles(sort="title") == ["Film 1", "=HYPERLINK(1)"]
    first = catalog.get(f"/v1/admin/imports/{result['id']}/rejections", limit=2, include_total="true").json
    assert (len(first["items"]), first["total"]) == (2, 9)
    assert first["items"][1]["external_id"] == "x:2"


def test_a_dry_run_reports_and_changes_nothing(catalog):
    send(catalog, ndjson(line(1)))
    assert counts(send(catalog, ndjson(line(1, year=1999), line(2)), dry_run="true")) == [1, 1, 0, 0]
    assert catalog.titles() == ["Film 1"]


def test_a_gzip_file_is_unpacked_and_a_corrupt_one_fails(catalog):
    file = gzip.compress(ndjson(*(line(number, synopsis=random.randbytes(200).hex()) for number in range(300))))
    broken = send(catalog, file[: len(file) // 2])
    assert (broken["status"], broken["error"][:16]) == ("failed", "The file cannot ")
    assert counts(send(catalog, file))[3] == 0
    assert catalog.get("/v1/catalog/titles", include_total="true").json["total"] == 300


def test_an_interrupted_import_resumes_where_it_stopped(catalog, monkeypatch):
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)  # time is up after each batch
    result = send(catalog, ndjson(*(line(number) for number in range(900))))
    assert (result["status"], result["lines_done"], counts(result)) == ("done", 900, [900, 0, 0, 0])


def test_a_later_line_overrides_an_earlier_one_of_the_same_title(catalog):
    send(catalog, ndjson(line(1), line(1, title="Second"), line(1, title="Third")))
    assert catalog.titles() == ["Third"]


def test_a_full_sync_removes_missing_titles_which_keep_their_ids(catalog):
    everything = [line(number) for number in range(20)]
    send(catalog, ndjson(*everything))
    removed_id = catalog.get("/v1/catalog/search", q="film 19").json["items"][0]["id"]
    result = send(catalog, ndjson(*everything[:19]), remove_missing="true")
    assert (result["status"], result["removed"]) == ("done", 1)
    assert send(catalog, ndjson(*everything[:19]), remove_missing="true")["removed"] == 0, "it is removed already"
    assert catalog.get(f"/v1/catalog/titles/{removed_id}").status_code == 404
    assert "Film 19" not in catalog.search("film 19")
    send(catalog, ndjson(*everything))
    assert catalog.get("/v1/catalog/search", q="film 19").json["items"][0]["id"] == removed_id


def test_a_full_sync_that_would_remove_too_much_removes_nothing(catalog):
    send(catalog, ndjson(*(line(number) for number in range(20))))
    result = send(catalog, ndjson(line(1)), remove_missing="true")
    assert (result["status"], result["removed"]) == ("failed", 0)
    assert "19 of 20" in result["error"]
    result = send(catalog, ndjson(line(1)) + b"\nbroken", remove_missing="true", most_removals_percent=100)
    assert (result["status"], result["removed"]) == ("failed", 0)
    assert len(catalog.titles()) == 20
    assert send(catalog, ndjson(line(1)), remove_missing="true", most_removals_percent=100)["removed"] == 19


def test_a_dry_run_and_the_run_are_different_requests_under_one_key(catalog):
    body = {"data": ndjson(line(1)), "content_type": "application/x-ndjson", "headers": {"Idempotency-Key": "k"}}
    path = "/v1/admin/imports?dry_run="
    assert catalog.client.post(path + "true", **body).status_code == 202
    assert catalog.client.post(path + "true", **body).headers["Idempotency-Replayed"] == "true"
    assert catalog.client.post(path + "false", **body).json["code"] == "idempotency_key_reused"
    other_type = body | {"content_type": "text/csv"}
    assert catalog.client.post(path + "true", **other_type).json["code"] == "idempotency_key_reused"


def test_a_dry_run_of_a_full_sync_removes_nothing(catalog):
    send(catalog, ndjson(*(line(number) for number in range(20))))
    terms = {"remove_missing": "true", "most_removals_percent": 100}
    result = send(catalog, ndjson(line(1)), dry_run="true", **terms)
    assert (result["status"], result["removed"], result["unchanged"]) == ("done", 0, 1)
    assert len(catalog.titles()) == 20
    assert send(catalog, ndjson(line(1)), **terms)["removed"] == 19


def test_a_full_sync_keeps_titles_that_were_edited_after_its_file_was_sent(catalog):
    clock = catalog.app.extensions["clock"]
    send(catalog, ndjson(*(line(number) for number in range(4))))
    clock.advance(minutes=1)
    body, terms = ndjson(line(0)), "remove_missing=true&most_removals_percent=100"
    sent = catalog.client.post(f"/v1/admin/imports?{terms}", data=body, content_type="application/x-ndjson").json
    clock.advance(minutes=1)
    catalog.put("New", external_id="x:9")
    catalog.put("Edited", external_id="x:1")
    with catalog.app.app_context():
        jobs.run_due_jobs(clock())
    assert catalog.get(f"/v1/admin/imports/{sent['id']}").json["removed"] == 2
    assert catalog.titles(sort="title") == ["Edited", "Film 0", "New"]


@pytest.mark.parametrize(("dry_run", "left"), [(True, 3), (False, 1)])
def test_a_full_sync_by_command_removes_missing_titles_unless_it_is_a_dry_run(catalog, tmp_path, dry_run, left):
    send(catalog, ndjson(*(line(number) for number in range(3))))
    catalog.app.extensions["clock"].advance(minutes=1)
    (tmp_path / "file.ndjson").write_bytes(ndjson(line(0)))
    with catalog.app.app_context():
        report = local_files.import_file(tmp_path / "file.ndjson", dry_run=dry_run, most_removals_percent=100)
    assert (report.removed, len(catalog.titles())) == (3 - left, left)


def test_a_csv_file_leaves_unnamed_fields_unchanged(catalog):
    catalog.put("Film", external_id="x:1", windows=[{"countries": ["DE"]}], genres=["drama"])
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["external_id", "kind", "title", "year", "genres", "actor", "age_rating", "age_ratings"])
    rows.writerow(["x:1", "", "Film, the", "1999", "", "Ann|Ben", "US:R", "GB:15|DE:16"])
    rows.writerow(["x:2", "movie", '=cmd|"/c calc"!A1', "", "comedy|war", "", "", ""])
    rows.writerow(["x:3", "movie", "Bad year", "soon", "", "", "", ""])
    rows.writerow(["x:4", "movie"])
    result = send(catalog, b"\xef\xbb\xbf" + table.getvalue().encode() + b"x:5,movie,\xff,,,,,\n", format="csv")
    assert counts(result) == [1, 1, 0, 3]
    assert rejections(catalog, result) == [(4, "year", "wrong_type"), (5, "", "malformed"), (6, "", "malformed")]
    record = catalog.get("/v1/admin/titles/x:1").json
    assert (record["title"], record["year"], record["genres"]) == ("Film, the", 1999, ["drama"])
    assert (record["windows"], record["age_ratings"]) == ([{"countries": ["DE"]}], ["DE:16", "GB:15"])
    assert record["credits"] == [{"name": "Ann", "role": "actor"}, {"name": "Ben", "role": "actor"}]


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8"])
def test_a_body_with_a_csv_media_type_is_read_as_csv(catalog, content_type):
    result = send(catalog, b"external_id,kind,title\nx:1,movie,Film\n", content_type=content_type)
    assert (result["format"], counts(result)) == ("csv", [1, 0, 0, 0])
    assert send(catalog, ndjson(line(2)), content_type="text/csv", format="ndjson")["added"] == 1


def test_an_unsupported_media_type_is_rejected(catalog):
    def status(content_type):
        response = catalog.client.post("/v1/admin/imports", data=ndjson(line(1)), content_type=content_type)
        return response.status_code

    assert (status("application/pdf"), status("multipart/form-data; boundary=x")) == (415, 415)
    assert (status("application/jsonl"), status(None)) == (202, 202)


def test_imdb_files_are_imported(catalog):
    header = "tconst titleType primaryTitle originalTitle isAdult startYear endYear runtimeMinutes genres".split()
    rows = [
        ["tt1", "movie", 'The "Quoted" Film', "Le film", "0", "1994", r"\N", "142", "Drama,Crime"],
        ["tt2", "tvSeries", "A Series", "A Series", "0", "2001", "2005", r"\N", r"\N"],
        ["tt3", "tvEpisode", "An Episode", "An Episode", "0", "2001", r"\N", "40", r"\N"],
        ["tt4", "movie", "Odd", "Odd", "0", "1999", r"\N", "long", r"\N"],
    ]
    result = send(catalog, "\n".join("\t".join(row) for row in [header, *rows]).encode(), format="imdb")
    assert counts(result) == [2, 0, 0, 2]
    assert rejections(catalog, result) == [(4, "titleType", "not_taken"), (5, "runtimeMinutes", "wrong_type")]
    record = catalog.get("/v1/admin/titles/imdb:tt1").json
    assert (record["title"], record["original_title"], record["runtime_s"]) == ('The "Quoted" Film', "Le film", 8520)
    assert record["genres"] == ["drama", "crime"]


def test_a_roku_feed_is_imported(catalog):
    def asset(name, kind, **more):
        return {"id": name, "type": kind, "titles": [{"value": name.title(), "languages": ["en"]}], **more}

    window = {"availabilityStartTime": "2025-01-01T00:00:00Z", "availabilityInfo": {"country": ["us"]}}
    feed = {
        "version": "1",
        "defaultLanguage": "en",
        "assets": [
            asset("film", "movie", releaseDate="1994-10-14", durationInSeconds=8520, content={"playOptions": [window]},
                  advisoryRatings=[{"source": "MPAA", "value": "R"}], credits=[{"name": "A.", "role": "screenwriter"}]),
            asset("show", "series"),
            asset("pilot", "episode", episodeInfo={"seriesId": "show", "seasonNumber": 1, "episodeNumber": 1}),
            asset("other", "live"),
            {"id": "broken", "type": "movie", "titles": 7},
        ],
    }  # fmt: skip
    result = send(catalog, json.dumps(feed).encode(), format="roku")
    assert counts(result) == [2, 0, 0, 2]
    film = catalog.get("/v1/admin/titles/film").json
    assert (film["year"], film["age_rating"], film["credits"][0]["role"]) == (1994, "US:R", "writer")
    assert film["windows"] == [{"countries": ["US"], "starts_at": "2025-01-01T00:00:00Z"}]
    assert catalog.get("/v1/admin/titles/show").json["seasons"][0]["episodes"][0]["title"] == "Pilot"


@pytest.mark.parametrize("form", ["ndjson", "csv", "imdb", "roku"])
def test_random_bytes_are_rejected_without_failing(catalog, form):
    noise = random.Random(7)
    for _ in range(5):
        result = send(catalog, noise.randbytes(3_000), format=form)
        assert result["status"] == "done"
    assert catalog.titles() == []


def test_an_empty_body_and_an_unknown_format_are_rejected(catalog):
    assert catalog.client.post("/v1/admin/imports", data=b"").status_code == 422
    assert catalog.client.post("/v1/admin/imports?format=xml", data=b"x").status_code == 422
    assert catalog.viewer().client.post("/v1/admin/imports", data=b"x").status_code == 401
    assert catalog.get("/v1/admin/imports/imp_none").status_code == 404


def test_putting_an_invalid_title_reports_each_field(catalog):
    response = catalog.client.put(
        "/v1/admin/titles/x:1", json={"kind": "movie", "title": "A", "age_rating": "R", "languages": ["?"]}
    )
    assert response.status_code == 422
    assert set(response.json["errors"]) == {"age_rating", "languages"}
    for body in ({"external_id": "x:2", "kind": "movie", "title": "A"}, [], None):
        assert catalog.client.put("/v1/admin/titles/x:1", json=body).status_code in (400, 422)
    lone = rb'{"kind": "movie", "title": "\ud800"}'
    response = catalog.client.put("/v1/admin/titles/x:1", data=lone, content_type="application/json")
    assert response.status_code == 400


def test_a_removed_title_is_absent_and_keeps_its_id_when_put_again(catalog):
    title = catalog.put("Film", external_id="x:1")
    assert catalog.client.delete("/v1/admin/titles/x:1").status_code == 204
    assert catalog.titles() == catalog.search("film") == []
    assert catalog.get(f"/v1/catalog/titles/{title}").status_code == 404
    assert catalog.client.delete("/v1/admin/titles/x:1").status_code == 404
    assert catalog.put("Film", external_id="x:1") == title
    assert catalog.titles() == catalog.search("film") == ["Film"]
