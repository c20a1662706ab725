"""Malformed and malicious files: valid entries are imported, the rest is reported, nothing fails."""

import gzip
import json
import tracemalloc

import pytest

from streamsvc.cli.catalog import catalog as commands
from streamsvc.models import Import
from streamsvc.operations.catalog import formats
from streamsvc.operations.catalog.formats.imdb_files import BASICS_COLUMNS
from streamsvc.operations.catalog.imports import imports, local_files, stored_files
from streamsvc.storage.database import db
from tests.catalog.test_import import counts, line, ndjson, rejections, send
from tests.worlds.catalog_world import Catalog

pytestmark = pytest.mark.every_database


@pytest.fixture
def catalog(app):
    return Catalog(app)


LINES = {
    b'{"external_id": "x:2", "kind": "movie", "title": "Caf\xe9"}': "malformed",
    b'{"external_id": "a\x00b", "kind": "movie"': "malformed",
    b'{"external_id": "\xff\xfe", "kind": "movie"}': "malformed",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "\\u0000\xc3\xa9": 1}': "unknown_field",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "' + b"n" * 5_000 + b'": 1}': "unknown_field",
    b'{"external_id": "x\\u0000", "kind": "movie", "title": "A"}': "control_character",
    b'{"external_id": "x:2", "kind": "movie", "title": "\\ud800"}': "malformed",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "genres": ' + b"[" * 200_000: "wrong_type",
    b"[" * 200_000: "wrong_type",
    b'{"media":' * 100_000: "wrong_type",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "year": ' + b"9" * 5_000 + b"}": "out_of_range",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "year": 1e999}': "out_of_range",
    b'{"external_id": "x:2", "kind": "movie", "title": "A", "year": NaN}': "malformed",
    **{
        ndjson(line(2, **{name: value})): code
        for name, value, code in (
            ("windows", [{"starts_at": "0001-01-01T00:00:00+23:59"}], "out_of_range"),
            ("windows", [{"ends_at": "9999-12-31T23:59:59-23:59"}], "out_of_range"),
            ("windows", [{"ends_at": "2026-02-30T00:00:00Z"}], "invalid"),
            ("windows", [{"ends_at": "2026-02-01T00:00:00"}], "wrong_type"),
            ("runtime_s", -1, "out_of_range"),
            ("genres", [f"g{number}" for number in range(10_000)], "out_of_range"),
            ("external_ids", {"imdb": "a\nb"}, "invalid"),
        )
    },
}  # fmt: skip


def test_each_malformed_line_is_reported_and_the_others_are_imported(catalog):
    file = [ndjson(line(1)), *LINES, b"x" * (3 << 20), ndjson(line(1, title="Last"))]
    result = send(catalog, b"\xef\xbb\xbf" + b"\n".join(file))
    assert (result["status"], counts(result)) == ("done", [1, 1, 0, len(LINES) + 1])
    codes = dict((number, code) for number, _, code in rejections(catalog, result))
    expected = dict(enumerate([*LINES.values(), "too_long"], 2))
    assert {number: code for number, code in codes.items() if code != expected[number]} == {}
    assert len(codes) == len(expected)
    assert catalog.titles() == ["Last"]


FEED = {"id": "f", "type": "movie", "titles": [{"value": "Film"}]}


def feed(*assets, head=b'"version": "1"', end=b"]}"):
    return (
        b"{"
        + head
        + b', "assets": ['
        + b",".join(a if isinstance(a, bytes) else json.dumps(a).encode() for a in assets)
        + end
    )


@pytest.mark.parametrize(
    ("file_format", "file", "titles", "errors"),
    [
        ("ndjson", ndjson(line(1)).decode().encode("utf-16"), [], [(1, "unknown_encoding")]),
        ("roku", feed(FEED).decode().encode("utf-32-be"), [], [(1, "unknown_encoding")]),
        ("csv", b"external_id,kind,title\nx:1,movie,A\nx:2,movie," + b"b" * (3 << 20) + b"\nx:3,movie,C\n",
         ["A", "C"], [(3, "malformed")]),
        ("csv", b'external_id,kind,title\nx:1,movie,A\nx:2,"movie,B\nx:3,movie,C\nx:4,movie,"D"\nx:5,movie,E\n',
         ["A", "E"], [(5, "malformed")]),
        ("csv", b"external_id,kind,title\nx:\xff,movie,A\nx\x00,movie,B\nx:3,movie,C\n",
         ["C"], [(2, "malformed"), (3, "control_character")]),
        ("imdb", "\t".join(BASICS_COLUMNS).encode() + b"\n" + b"x" * (3 << 20)
         + b"\ntt1\tmovie\tA\tA\t0\t1994\t\\N\t90\t\\N\ntt\xff\tmovie\tB\tB\t0\t1994\t\\N\t90\t\\N\n",
         ["A"], [(2, "too_long"), (4, "malformed")]),
        ("roku", feed(FEED, b"{\"id\": \"a\\u0000\"}", {"id": "e", "type": "episode", "episodeInfo": [1]},
                      {"id": [], "type": "series", "titles": []}, b"7", {**FEED, "id": "g"}, end=b"], \"x\": 1}"),
         ["Film", "Film"], [(2, "not_taken"), (4, "malformed"), (5, "not_taken")]),
        ("roku", feed(FEED, b'{"id": "x", "type": "movie", "titles": [{"value": "\xff"}]}', b'{"id":' + b"[" * 99_999),
         ["Film"], [(2, "malformed"), (3, "malformed")]),
        ("roku", feed(FEED, {**FEED, "id": "g", "synopsis": "x" * (3 << 20)}, FEED), ["Film"], [(2, "malformed")]),
        ("roku", b"[" * 200_000, [], [(1, "malformed")]),
        ("roku", b'{"assets": {}}', [], [(1, "malformed")]),
        ("roku", b" " * (3 << 20), [], [(1, "malformed")]),
    ],
)  # fmt: skip
def test_the_valid_entries_of_a_malformed_file_are_imported(catalog, file_format, file, titles, errors):
    result = send(catalog, file, format=file_format)
    assert result["status"] == "done"
    assert [(number, code) for number, _, code in rejections(catalog, result)] == errors
    assert catalog.titles(sort="title") == titles


def test_a_feed_is_read_incrementally_and_may_name_its_language_last(catalog):
    film = {"type": "movie", "titles": [{"value": "Un film"}, {"value": "A film", "languages": ["en"]}]}
    episode = {"id": "e", "type": "episode", "titles": [{"value": "Pilote"}]}
    assets = [
        {**episode, "episodeInfo": {"seriesId": "s", "seasonNumber": 1, "episodeNumber": 1}},
        *({**film, "id": f"f{number}", "padding": "é" * 3_000} for number in range(300)),
        {"id": "s", "type": "series", "titles": [{"value": "Série"}]},
    ]
    result = send(catalog, gzip.compress(feed(*assets, end=b'], "defaultLanguage": "fr"}')), format="roku")
    assert counts(result) == [301, 0, 0, 0]
    kept = catalog.get("/v1/admin/titles/f7").json
    assert (kept["title"], kept["localizations"]) == ("Un film", {"en": {"title": "A film"}})
    assert catalog.get("/v1/admin/titles/s").json["seasons"][0]["episodes"][0]["title"] == "Pilote"


@pytest.mark.parametrize(
    ("limit", "unpacked"), [("MAX_UNPACKED_BYTES", b"\0" * (8 << 20)), ("MAX_LINES", b"\n" * 300_000)]
)
def test_a_small_file_that_unpacks_to_a_huge_one_fails(catalog, monkeypatch, limit, unpacked):
    module = stored_files if hasattr(stored_files, limit) else formats
    monkeypatch.setattr(module, limit, len(unpacked) // 2)
    result = send(catalog, gzip.compress(ndjson(line(1)) + b"\n" + unpacked))
    assert result["status"] == "failed"
    assert result["error"].startswith("The file is too large: It ")


def test_an_endless_line_is_never_held_in_memory(app, tmp_path):
    with (tmp_path / "long.ndjson.gz").open("wb") as raw, gzip.open(raw, "wb", compresslevel=1) as file:
        file.write(b'{"external_id": "x:1", "kind": "movie", "title": "')
        for _ in range(100):
            file.write(b"a" * (1 << 20))
        file.write(b'"}\n' + ndjson(line(2)))
    with app.app_context():
        tracemalloc.start()
        report = local_files.import_file(tmp_path / "long.ndjson.gz")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (report.added, report.rejected) == (1, 1)
    assert peak_bytes < 16 << 20


def test_a_resumed_import_does_not_parse_earlier_lines_again(catalog, monkeypatch):
    """If it did, the runs of a large file would take longer and longer until none completed a batch."""
    read = []
    decoded = formats.ndjson.decode_record
    monkeypatch.setattr(formats.ndjson, "decode_record", lambda body: read.append(body) or decoded(body))
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)
    result = send(catalog, ndjson(*(line(number) for number in range(1_200))))
    assert counts(result) == [1_200, 0, 0, 0]
    assert len(read) < 2_500  # at the end of each run a batch is parsed again


@pytest.mark.parametrize("file_format", ["ndjson", "roku"])
def test_reading_a_file_holds_no_write_lock(catalog, monkeypatch, file_format):
    """On SQLite a transaction holds the write lock from its start."""
    transactions = []
    read = stored_files.StoredFile.readinto

    def readinto(file, buffer):
        transactions.append(db.session().in_transaction())
        return read(file, buffer)

    monkeypatch.setattr(stored_files.StoredFile, "readinto", readinto)
    file = {"ndjson": ndjson(line(1, synopsis="x" * 300_000), line(2)), "roku": feed(FEED, {**FEED, "id": "g"})}
    result = send(catalog, file[file_format], format=file_format)
    assert (result["added"] + result["rejected"], set(transactions)) == (2, {False})


def test_a_full_sync_keeps_titles_changed_since_it_started(catalog):
    send(catalog, ndjson(*(line(number) for number in range(20))))
    response = catalog.client.post(
        "/v1/admin/imports?remove_missing=true", data=ndjson(*(line(number) for number in range(18)))
    )
    catalog.app.extensions["clock"].advance(seconds=1)
    catalog.put("Brought in meanwhile", external_id="x:99")
    catalog.put("Edited meanwhile", external_id="x:18")
    with catalog.app.app_context():
        queued = db.session.get(Import, response.json["id"])
        assert queued.status == "queued"
    result = send(catalog, ndjson(line(0)))  # its worker runs both imports
    assert result["status"] == "done"
    assert catalog.get(f"/v1/admin/imports/{response.json['id']}").json["removed"] == 1
    kept = catalog.titles(limit=100)
    assert "Film 19" not in kept
    assert {"Brought in meanwhile", "Edited meanwhile"} <= set(kept)


def test_the_command_line_can_run_a_full_sync(app, catalog, tmp_path):
    file = tmp_path / "titles.ndjson"

    def run(*numbers, more=()):
        file.write_bytes(ndjson(*(line(number) for number in numbers)))
        return app.test_cli_runner().invoke(commands, ["import", str(file), *more])

    assert run(*range(20)).exit_code == 0
    assert "19 of 20" in run(1, more=["--remove-missing"]).output
    done = run(*range(19), more=["--remove-missing"])
    assert (done.exit_code, done.output) == (0, "19 lines: 0 added, 0 changed, 19 unchanged, 0 rejected, 1 removed\n")
    file.write_bytes(gzip.compress(ndjson(line(1)))[:-9])
    broken = app.test_cli_runner().invoke(commands, ["import", str(file)])
    assert (broken.exit_code, broken.output[:32]) == (1, "Error: The file cannot be read: ")
