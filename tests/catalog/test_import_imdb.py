"""IMDb's files together: votes, names in other languages, episodes and who took part come with their titles."""

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
"""Cells are parted by spaces, spaces are written as `~`."""


def written(name, **changed):
    """A file as IMDb has it, with its own rows or those of `changed`."""
    columns = BASICS_COLUMNS if name == "title.basics" else OTHER_FILES[name]
    rows = changed.get(name.split(".")[1], FILES[name])
    told = [row.replace(" ", "\t").replace("~", " ") for row in rows]
    return "\n".join(["\t".join(columns), *told, ""]).encode()


@pytest.fixture
def catalog(app):
    return Catalog(app)


@pytest.fixture
def imported(app, tmp_path):
    """Import the files, some changed, and give the command's result."""

    def run(*more, **changed):
        paths = []
        for name in FILES:
            paths.append(tmp_path / f"{name}.tsv.gz")
            paths[-1].write_bytes(gzip.compress(written(name, **changed)))
        file, *others = paths
        beside = [word for path in others for word in ("--with", str(path))]
        return app.test_cli_runner().invoke(commands, ["import", str(file), "--format", "imdb", *beside, *more])

    return run


def test_a_title_comes_with_what_all_files_say_of_it(catalog, imported):
    told = imported()
    assert (told.exit_code, told.output.splitlines()[0]) == (1, "44 lines: 2 added, 0 changed, 0 unchanged, 1 rejected")
    assert "line 6 imdb:tt1234567: titleType: not_taken" in told.output
    movie = catalog.get("/v1/admin/titles/imdb:tt0111161").json
    assert movie["popularity"] == 2987654
    assert {tag: one["title"] for tag, one in movie["localizations"].items()} == {
        "de": "Die Verurteilten", "fr-CA": "À l'ombre de Shawshank", "fr": "Les évadés",
        "pt-BR": "Um Sonho de Liberdade", "it": "Le ali della libertà",
    }  # fmt: skip
    assert [(one["role"], one["name"], one.get("character")) for one in movie["credits"]] == [
        ("actor", "Tim Robbins", "Andy Dufresne"),
        ("actor", "Morgan Freeman", "Ellis Boyd 'Red' Redding"),
        ("director", "Frank Darabont", None),
        ("writer", "Stephen King", None),
        ("writer", "Frank Darabont", None),
    ]
    series = catalog.get("/v1/admin/titles/imdb:tt0903747").json
    assert series["credits"] == [{"name": "Anna Gunn", "role": "actor", "character": "Skyler White, Mrs. White"}]
    assert series["seasons"] == [
        {"number": 1, "episodes": [{"number": 1, "title": "Pilot", "runtime_s": 3480},
                                   {"number": 2, "title": "Cat's in the Bag...", "runtime_s": 2880}]},
    ]  # fmt: skip
    assert catalog.found("die verurteilten") == ["The Shawshank Redemption"]


def test_the_same_files_twice_change_nothing_and_what_they_do_not_say_stays(catalog, imported):
    imported()
    series = "/v1/admin/titles/imdb:tt0903747"
    kept = catalog.get(series).json
    kept["seasons"][0]["episodes"][0]["media"] = {"hls": "https://media.example/pilot.m3u8"}
    kept |= {
        "external_ids": {"imdb": "tt0903747", "tmdb": "1396"},
        "localizations": {"de": {"synopsis": "Ein Lehrer."}},
    }
    assert catalog.client.put(series, json=kept).status_code == 200
    kept = catalog.get(series).json
    assert imported().output.startswith("44 lines: 0 added, 0 changed, 2 unchanged")
    assert catalog.get(series).json == kept
    more = imported(akas=[r"tt0903747 1 Breaking~Bad:~Chemie DE \N \N \N 0"], episode=["tt0959621 tt0903747 1 1"])
    assert more.output.startswith("30 lines: 0 added, 1 changed, 1 unchanged, 2 rejected")
    changed = catalog.get(series).json
    assert changed["localizations"] == {"de": {"title": "Breaking Bad: Chemie", "synopsis": "Ein Lehrer."}}
    assert changed["seasons"] == [{"number": 1, "episodes": kept["seasons"][0]["episodes"][:1]}]
    assert changed["external_ids"] == kept["external_ids"]


def test_what_is_wrong_in_another_file_is_told_with_its_line_and_the_rest_lands(catalog, imported):
    told = imported(
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
        assert line in told.output
    assert catalog.get("/v1/admin/titles/imdb:tt0903747").json["popularity"] == 12
    assert "popularity" not in catalog.get("/v1/admin/titles/imdb:tt0111161").json


def test_files_that_do_not_belong_together_are_told(app, imported, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\n")
    told = imported("--with", str(path), "--dry-run")
    assert "line 1 : line: unknown_format: A file is none of title.ratings" in told.output
    run = app.test_cli_runner().invoke
    assert "--format imdb" in run(commands, ["import", str(path), "--with", str(path)]).output
    path.write_text("\t".join(BASICS_COLUMNS) + "\n")
    principals = str(tmp_path / "title.principals.tsv.gz")
    assert (
        "name.basics: missing" in run(commands, ["import", str(path), "--format", "imdb", "--with", principals]).output
    )


def archive(*more, packed=zipfile.ZIP_DEFLATED, **changed):
    """IMDb's files in one archive, `title.basics` last, some packed once more; `more` are further (name, bytes)."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", packed) as told:
        told.mkdir("imdb")
        for at, name in enumerate(reversed(FILES)):
            content = written(name, **changed)
            told.writestr(f"imdb/{name}.tsv", gzip.compress(content) if at % 2 else content)
        for name, content in more:
            told.writestr(name, content)
    return body.getvalue()


def test_an_archive_of_the_files_lands_by_api_as_by_the_command(catalog, imported, monkeypatch):
    changed = {
        "ratings": ["tt0111161 9.3 many", "tt0903747 9.5 12", "tt0903747"],
        "akas": ["tt1", *FILES["title.akas"]],
    }
    body = archive(**changed)
    assert counts(send(catalog, body, "application/zip", dry_run="true")) == [2, 0, 0, 4]
    assert catalog.titles() == []
    monkeypatch.setattr(importing, "INITIAL_BATCH_SIZE", 1)
    monkeypatch.setattr(importing, "next_batch_size", lambda done, took_s: 1)
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)  # each entry has a turn of its own
    made = send(catalog, body, "application/octet-stream", format="imdb")
    assert (made["status"], counts(made)) == ("done", [2, 0, 0, 4])
    assert rejections(catalog, made) == [
        (2, "title.ratings", "wrong_type"),
        (2, "title.akas", "malformed"),
        (4, "title.ratings", "malformed"),
        (6, "titleType", "not_taken"),
    ]
    assert "0 added, 0 changed, 2 unchanged, 4 rejected" in imported(**changed).output
    assert catalog.get("/v1/admin/titles/imdb:tt0903747").json["popularity"] == 12


def test_an_archive_that_cannot_be_read_is_told(catalog, monkeypatch):
    def outcome(body):
        made = send(catalog, body, "application/zip")
        return made["status"], made["error"]

    whole = archive()
    assert outcome(whole[: len(whole) // 2]) == ("failed", "The file cannot be unpacked: File is not a zip file")
    assert outcome(archive(packed=zipfile.ZIP_LZMA))[1].endswith("packed in another way than deflated")
    locked = bytearray(whole)
    locked[whole.rindex(b"PK\1\2") + 8] |= 1
    assert "is encrypted" in outcome(bytes(locked))[1]
    many = [(f"{number}.tsv", b"") for number in range(20)]
    assert outcome(archive(*many)) == ("failed", "The file is too large: It is an archive of more than 20 files.")
    endless = [("a" * 50_000 + str(number), b"") for number in range(6)]
    assert outcome(archive(*endless))[1].endswith("The archive has too many files.")
    with monkeypatch.context() as few:
        few.setattr(imports, "MAX_ARCHIVE_LINES", 20)
        assert outcome(whole)[1].endswith("The files have together more lines than files may.")
        few.setattr(stored_files, "MAX_UNPACKED_BYTES", 1_000)
        assert outcome(whole)[1].endswith("It unpacks to more than 1000 bytes.")
    assert catalog.titles() == []
    made = send(catalog, archive(("README", b"a\tb")), "application/zip")
    assert (1, "", "unknown_format") in rejections(catalog, made)
    assert len(catalog.titles()) == 2
    sent = catalog.client.post("/v1/admin/imports?format=ndjson", data=whole, content_type="application/zip")
    assert set(sent.json["errors"]) == {"format"}
