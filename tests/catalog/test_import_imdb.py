"""IMDb's files imported together: titles with votes, localized titles, episodes, cast and crew."""

import gzip
import io
import zipfile

import pytest

from streamsvc.cli.catalog import catalog as commands
from streamsvc.operations.catalog.formats.imdb_files import BASICS_COLUMNS, OTHER_FILES
from streamsvc.operations.catalog.imports import importing, imports, stored_files
from tests.catalog.test_import import counts, rejections, send
from tests.worlds.catalog_world import Catalog

FILES = {
    "title.basics": [
        r"tt0111161 movie The~Shawshank~Redemption The~Shawshank~Redemption 0 1994 \N 142 Drama",
        r"tt0903747 tvSeries Breaking~Bad Breaking~Bad 0 2008 2013 45 Crime,Drama,Thriller",
        r"tt0959621 tvEpisode Pilot Pilot 0 2008 \N 58 Crime,Drama,Thriller",
        r"tt1054724 tvEpisode Cat's~in~the~Bag... Cat's~in~the~Bag... 0 2008 \N 48 Crime,Drama,Thriller",
        r"tt1234567 tvEpisode Nobody's Nobody's 0 2008 \N 48 \N",
    ],
    "title.ratings": ["tt0111161 9.3 2987654", "tt0903747 9.5 2312345", "tt9999999 5.0 7"],
    "title.akas": [
        r"tt0111161 1 The~Shawshank~Redemption \N \N original \N 1",
        r"tt0111161 2 Die~Verurteilten DE \N imdbDisplay \N 0",
        r"tt0111161 3 Die~Verurteilten~auf~DVD DE \N dvd \N 0",
        r"tt0111161 4 À~l'ombre~de~Shawshank CA fr imdbDisplay \N 0",
        r"tt0111161 5 Les~évadés FR \N imdbDisplay \N 0",
        r"tt0111161 6 Shoshanku~no~sora~ni JP \N imdbDisplay literal~title 0",
        r"tt0111161 7 Um~Sonho~de~Liberdade BR \N \N \N 0",
        r"tt0111161 8 Another BR \N \N \N 0",
        r"tt0111161 9 Rita~Hayworth XWW en working \N 0",
        r"tt0111161 10 Le~ali IT \N \N \N 0",
        r"tt0111161 11 Le~ali~della~libertà IT \N imdbDisplay \N 0",
        r"tt0111161 12 Shawshank ES \N \N \N 1",
    ],
    "title.episode": [
        "tt0959621 tt0903747 1 1",
        "tt1054724 tt0903747 1 2",
        "tt1234567 tt0000001 1 1",
        r"tt1234568 tt0903747 \N \N",
    ],
    "title.principals": [
        r'tt0111161 1 nm0000209 actor \N ["Andy~Dufresne"]',
        r'tt0111161 2 nm0000151 actor \N ["Ellis~Boyd~\'Red\'~Redding"]'.replace("\\'", "'"),
        r"tt0111161 3 nm0001104 director \N \N",
        r'tt0111161 4 nm0000209 actor \N ["Prisoner"]',
        r'tt0903747 1 nm0348152 actress \N ["Skyler~White","Mrs.~White"]',
        r'tt0903747 2 nm0000151 archive_footage \N ["Himself"]',
    ],
    "title.crew": [r"tt0111161 nm0001104 nm0000175,nm0001104", r"tt0903747 \N nm0319213"],
    "name.basics": [
        r"nm0000209 Tim~Robbins 1958 \N actor \N",
        r"nm0000151 Morgan~Freeman 1937 \N actor \N",
        r"nm0001104 Frank~Darabont 1959 \N director \N",
        r"nm0000175 Stephen~King 1947 \N writer \N",
        r"nm0348152 Anna~Gunn 1968 \N actress \N",
    ],
}
"""Cells are separated by spaces; spaces are written as `~`."""


def build_file(name, **changed):
    """Return a file in IMDb's format, with its own rows or those in `changed`."""
    columns = BASICS_COLUMNS if name == "title.basics" else OTHER_FILES[name]
    rows = changed.get(name.replace(".", "_")) or changed.get(name.split(".")[1], FILES[name])
    cells = [row.replace(" ", "\t").replace("~", " ") for row in rows]
    return "\n".join(["\t".join(columns), *cells, ""]).encode()


@pytest.fixture
def catalog(app):
    return Catalog(app)


@pytest.fixture
def import_files(app, tmp_path):
    """Import the files, some of them changed, and return the command's result."""

    def run(*more, **changed):
        paths = []
        for name in FILES:
            paths.append(tmp_path / f"{name}.tsv.gz")
            paths[-1].write_bytes(gzip.compress(build_file(name, **changed)))
        file, *others = paths
        options = [word for path in others for word in ("--with", str(path))]
        return app.test_cli_runner().invoke(commands, ["import", str(file), "--format", "imdb", *options, *more])

    return run


def test_a_title_is_imported_with_the_data_of_all_files(catalog, import_files):
    result = import_files()
    assert (result.exit_code, result.output.splitlines()[0]) == (
        1,
        "44 lines: 2 added, 0 changed, 0 unchanged, 1 rejected",
    )
    assert "line 6 imdb:tt1234567: titleType: not_taken" in result.output
    movie = catalog.get("/v1/admin/titles/imdb:tt0111161").json
    assert movie["popularity"] == 2987654
    assert {tag: texts["title"] for tag, texts in movie["localizations"].items()} == {
        "de": "Die Verurteilten", "fr-CA": "À l'ombre de Shawshank", "fr": "Les évadés",
        "pt-BR": "Um Sonho de Liberdade", "it": "Le ali della libertà",
    }  # fmt: skip
    assert [(credit["role"], credit["name"], credit.get("character")) for credit in movie["credits"]] == [
        ("actor", "Tim Robbins", "Andy Dufresne"),
        ("actor", "Morgan Freeman", "Ellis Boyd 'Red' Redding"),
        ("director", "Frank Darabont", None),
        ("writer", "Stephen King", None),
        ("writer", "Frank Darabont", None),
    ]
    series = catalog.get("/v1/admin/titles/imdb:tt0903747").json
    assert series["credits"] == [
        {"name": "Anna Gunn", "role": "actor", "character": "Skyler White, Mrs. White", "person": "imdb:nm0348152"}
    ]
    assert series["seasons"] == [
        {"number": 1, "episodes": [{"number": 1, "title": "Pilot", "runtime_s": 3480},
                                   {"number": 2, "title": "Cat's in the Bag...", "runtime_s": 2880}]},
    ]  # fmt: skip
    assert catalog.search("die verurteilten") == ["The Shawshank Redemption"]


def test_importing_the_files_again_changes_nothing_and_keeps_other_fields(catalog, import_files):
    import_files()
    series = "/v1/admin/titles/imdb:tt0903747"
    record = catalog.get(series).json
    record["seasons"][0]["episodes"][0]["media"] = {"hls": "https://media.example/pilot.m3u8"}
    record |= {
        "external_ids": {"imdb": "tt0903747", "tmdb": "1396"},
        "localizations": {"de": {"synopsis": "Ein Lehrer."}},
    }
    assert catalog.client.put(series, json=record).status_code == 200
    record = catalog.get(series).json
    assert import_files().output.startswith("44 lines: 0 added, 0 changed, 2 unchanged")
    assert catalog.get(series).json == record
    more = import_files(akas=[r"tt0903747 1 Breaking~Bad:~Chemie DE \N \N \N 0"], episode=["tt0959621 tt0903747 1 1"])
    assert more.output.startswith("30 lines: 0 added, 1 changed, 1 unchanged, 2 rejected")
    changed = catalog.get(series).json
    assert changed["localizations"] == {"de": {"title": "Breaking Bad: Chemie", "synopsis": "Ein Lehrer."}}
    assert changed["seasons"] == [{"number": 1, "episodes": record["seasons"][0]["episodes"][:1]}]
    assert changed["external_ids"] == record["external_ids"]


def test_errors_in_other_files_are_reported_with_their_line(catalog, import_files):
    result = import_files(
        ratings=["tt0111161 9.3 many", "tt0903747 9.5 12", "tt0903747"],
        principals=[r"tt0111161 1 nm0000209 actor \N [broken"],
        akas=[r"tt0111161 99999999999999999999999 Zu~viel DE \N \N \N 0"],
    )
    for line in (
        "line 2 imdb:tt0111161: title.ratings: wrong_type",
        "line 4 : title.ratings: malformed",
        "line 2 imdb:tt0111161: title.principals: wrong_type",
        "line 2 imdb:tt0111161: title.akas: wrong_type",
    ):
        assert line in result.output
    assert catalog.get("/v1/admin/titles/imdb:tt0903747").json["popularity"] == 12
    assert "popularity" not in catalog.get("/v1/admin/titles/imdb:tt0111161").json


def test_the_header_of_a_file_without_rows_counts_as_a_line(catalog, import_files):
    output = import_files(principals=[], crew=[]).output
    assert output.startswith("36 lines: 2 added, 0 changed, 0 unchanged, 1 rejected")


def test_files_that_do_not_belong_together_are_rejected(app, import_files, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\n")
    result = import_files("--with", str(path), "--dry-run")
    assert "line 1 : line: unknown_format: A file is none of title.ratings" in result.output
    run = app.test_cli_runner().invoke
    assert "--format imdb" in run(commands, ["import", str(path), "--with", str(path)]).output
    path.write_text("\t".join(BASICS_COLUMNS) + "\n")
    principals = str(tmp_path / "title.principals.tsv.gz")
    assert (
        "name.basics: missing" in run(commands, ["import", str(path), "--format", "imdb", "--with", principals]).output
    )


def build_archive(*more, packed=zipfile.ZIP_DEFLATED, **changed):
    """Return an archive of IMDb's files, `title.basics` last, some gzipped; `more` are further (name, bytes)."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", packed) as zip_file:
        zip_file.mkdir("imdb")
        for index, name in enumerate(reversed(FILES)):
            content = build_file(name, **changed)
            zip_file.writestr(f"imdb/{name}.tsv", gzip.compress(content) if index % 2 else content)
        for name, content in more:
            zip_file.writestr(name, content)
    return body.getvalue()


def test_an_archive_of_the_files_is_imported_by_api_as_by_the_command(catalog, import_files, monkeypatch):
    changed = {
        "ratings": ["tt0111161 9.3 many", "tt0903747 9.5 12", "tt0903747"],
        "akas": ["tt1", *FILES["title.akas"]],
    }
    body = build_archive(**changed)
    assert counts(send(catalog, body, "application/zip", dry_run="true")) == [2, 0, 0, 4]
    assert catalog.titles() == []
    monkeypatch.setattr(importing, "INITIAL_BATCH_SIZE", 1)
    monkeypatch.setattr(importing, "next_batch_size", lambda done, took_s: 1)
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)  # one run per entry
    result = send(catalog, body, "application/octet-stream", format="imdb")
    assert (result["status"], counts(result)) == ("done", [2, 0, 0, 4])
    assert rejections(catalog, result) == [
        (2, "title.ratings", "wrong_type"),
        (2, "title.akas", "malformed"),
        (4, "title.ratings", "malformed"),
        (6, "titleType", "not_taken"),
    ]
    assert "0 added, 0 changed, 2 unchanged, 4 rejected" in import_files(**changed).output
    assert catalog.get("/v1/admin/titles/imdb:tt0903747").json["popularity"] == 12


def test_an_archive_that_cannot_be_read_fails(catalog, monkeypatch):
    def outcome(body):
        result = send(catalog, body, "application/zip")
        return result["status"], result["error"]

    complete = build_archive()
    assert outcome(complete[: len(complete) // 2]) == ("failed", "The file cannot be unpacked: File is not a zip file")
    assert outcome(build_archive(packed=zipfile.ZIP_LZMA))[1].endswith(
        "files in the archive must be stored or deflated"
    )
    encrypted = bytearray(complete)
    encrypted[complete.rindex(b"PK\1\2") + 8] |= 1
    assert "is encrypted" in outcome(bytes(encrypted))[1]
    many = [(f"{number}.tsv", b"") for number in range(20)]
    assert outcome(build_archive(*many)) == (
        "failed",
        "The file is too large: The archive has more than 20 files.",
    )
    long_names = [("a" * 50_000 + str(number), b"") for number in range(6)]
    assert outcome(build_archive(*long_names))[1].endswith("The archive has too many files.")
    with monkeypatch.context() as patch:
        patch.setattr(imports, "MAX_ARCHIVE_LINES", 20)
        assert outcome(complete)[1].endswith("The files together have too many lines.")
        patch.setattr(stored_files, "MAX_UNPACKED_BYTES", 1_000)
        assert outcome(complete)[1].endswith("It unpacks to more than 1000 bytes.")
    assert catalog.titles() == []
    result = send(catalog, build_archive(("README", b"a\tb")), "application/zip")
    assert (1, "", "unknown_format") in rejections(catalog, result)
    assert len(catalog.titles()) == 2
    response = catalog.client.post("/v1/admin/imports?format=ndjson", data=complete, content_type="application/zip")
    assert set(response.json["errors"]) == {"format"}


def test_people_of_one_name_and_adult_titles_are_told_apart(catalog, import_files):
    basics = [
        r"tt1464335 movie Uncharted Uncharted 0 2022 \N 116 Action",
        r"tt0000002 movie Loops Loops 1 1977 \N 60 \N",
    ]
    principals = [r"tt1464335 1 nm4043618 actor \N \N", r"tt1464335 2 nm0276169 actor \N \N"]
    names = [r"nm4043618 Tom~Holland 1996 \N actor \N", r"nm0276169 Tom~Holland 1943 \N actor \N"]
    import_files(title_basics=basics, principals=principals, name_basics=names, crew=[])
    assert catalog.viewer(max_age=18).titles() == []  # Uncharted is unrated
    films = {film["title"]: film for film in catalog.get("/v1/catalog/titles").json["items"]}
    assert (films["Loops"]["age_rating"]["min_age"], films["Uncharted"]["age_rating"]) == (18, None)
    first, second = catalog.get(f"/v1/catalog/titles/{films['Uncharted']['id']}").json["credits"]
    assert (first["name"], first["person_id"] == second["person_id"]) == (second["name"], False)
    import_files(title_basics=[basics[1].replace("Loops 1", "Loops 0")], name_basics=names)
    assert catalog.get("/v1/admin/titles/imdb:tt0000002").json["adult"]
