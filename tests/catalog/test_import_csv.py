"""CSV as people have it: other columns, delimiters, encodings and units; what is guessed is reported."""

import json
from urllib.parse import quote

import pytest

from streamsvc.cli.catalog import catalog as commands
from streamsvc.operations.catalog.formats.encodings import LEGACY_ENCODINGS, DetectedEncoding
from streamsvc.schemas.admin.catalog import IMPORT_ENCODINGS
from tests.catalog.test_import import counts, rejections, send
from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


def warnings(result):
    return {(warning["field"], warning["code"]) for warning in result["warnings"]}


def record(catalog, external_id):
    response = catalog.get(f"/v1/admin/titles/{external_id}")
    assert response.status_code == 200, response.json
    return response.json


LISTS = b"""\
Position,Const,Title,Original Title,Title Type,IMDb Rating,Runtime (mins),Year,Genres,Num Votes,Release Date,Directors
1,tt0087332,Ghostbusters,Ghostbusters,Movie,7.8,105,1984,"Action, Comedy, Fantasy","473,126",1984-06-08,Ivan Reitman
2,tt0475784,Westworld,Westworld,TV Series,8.4,62,2016,"Crime, Drama",563210,2016-10-02,
"""
"""The columns of a list exported from IMDb."""


def test_a_list_exported_from_imdb_comes_in_as_it_is(catalog):
    result = send(catalog, LISTS, "text/plain")
    assert (result["format"], result["format_guessed"], counts(result)) == ("csv", True, [2, 0, 0, 0])
    assert warnings(result) == {("Position", "unknown_column"), ("IMDb Rating", "unknown_column"),
                                ("external_id", "id_derived")}  # fmt: skip
    film = record(catalog, "imdb:tt0087332")
    assert (film["year"], film["runtime_s"], film["popularity"]) == (1984, 6300, 473_126)
    assert film["genres"] == ["action", "comedy", "fantasy"]
    assert film["credits"] == [{"name": "Ivan Reitman", "role": "director"}]
    assert record(catalog, "imdb:tt0475784")["kind"] == "series"


def test_columns_are_mapped_by_the_operator_and_a_wrong_mapping_is_refused(catalog):
    file = "Code;Nom;Sortie;Durée;Note;Metteur en scène\nA1;Amélie;25/04/2001;2h02;TP;J.-P. Jeunet\n".encode("cp1252")
    columns = {"Code": "external_id", "Nom": "title", "Sortie": "year", "Note": "ignore"}
    columns["Metteur en scène"] = "credits.director"
    result = send(catalog, file, "text/csv", columns=quote(json.dumps(columns)))
    assert counts(result) == [1, 0, 0, 0], rejections(catalog, result)
    assert warnings(result) == {("", "encoding_guessed"), ("kind", "kind_assumed")}
    film = record(catalog, "A1")
    assert (film["title"], film["year"], film["runtime_s"]) == ("Amélie", 2001, 7320)
    assert film["credits"] == [{"name": "J.-P. Jeunet", "role": "director"}]
    targets = ("titel", "", "credits.", "title.x", "age_rating.QQ", 7)
    wrongs = [*({"Nom": target} for target in targets), {"": "title"}, {"\0": "title"}, ["Nom"], None]
    for wrong in [*map(json.dumps, wrongs), "Nom=title", "[" * 9_000]:
        response = catalog.client.post(f"/v1/admin/imports?columns={quote(wrong)}", data=file)
        assert (response.status_code, set(response.json["errors"])) == (422, {"columns"}), wrong
    assert catalog.client.post("/v1/admin/imports?encoding=rot13", data=file).status_code == 422
    assert catalog.client.post("/v1/admin/imports?media_base_url=ftp://x", data=file).status_code == 422


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("encoding", "is_guess"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-16-le", True), ("utf-16-be", True),
     ("windows-1252", True)],
)  # fmt: skip
def test_delimiters_and_encodings_are_detected(catalog, delimiter, encoding, is_guess):
    rows = [["id", "Titel", "Jahr", "Länder"], ["x:1", "Königskinder", "1962", "Deutschland"], ["x:2", "Öl", "", ""]]
    file = "\r\n".join(delimiter.join(row) for row in rows).encode(encoding)
    result = send(catalog, file, "application/octet-stream")
    assert (result["format"], counts(result)) == ("csv", [2, 0, 0, 0]), rejections(catalog, result)
    assert (("", "encoding_guessed") in warnings(result)) == is_guess
    assert catalog.titles(sort="title") == ["Königskinder", "Öl"]


def test_an_encoding_beyond_the_start_of_a_file_is_detected_or_named(catalog):
    rows = ["id,title", *(f"x:{number},Film {number}" for number in range(9_000)), "y:1,Fa\u00e7ade"]
    file = "\n".join(rows).encode("windows-1252")
    assert counts(send(catalog, file, dry_run="true"))[3] == 0
    result = send(catalog, file[-40:].replace(b"x:", b"id,title\nx:", 1), format="csv", encoding="windows-1251")
    assert catalog.titles(sort="-title")[-1] == "Fa\u0437ade", result


@pytest.mark.parametrize(
    ("column", "cells", "runtimes", "codes"),
    [
        ("runtime", ["142", "95", "0"], [8520, 5700, None], {"unit_guessed"}),
        ("duration", ["5400", "8520", ""], [5400, 8520, None], {"unit_guessed"}),
        ("length_ms", ["5400000", "60000", "0"], [5400, 60, None], set()),
        ("Runtime (mins)", ["1,5", "90", "1.234,5"], [90, 5400, 74070], set()),
        ("runtime", ["2:22", "1:57:30", "1h 57min"], [8520, 7050, 7020], {"unit_guessed"}),
        ("runtime", ["90:00", "12:30", "58:59"], [5400, 750, 3539], {"unit_guessed"}),
        ("duration", ["90 min", "2 Seasons", "PT1H"], [5400, None, 3600], {"unknown_duration"}),
        ("runtime_s", ["90", "7", "long"], [90, 7, None], {"unknown_duration"}),
    ],
)
def test_durations_are_read_in_their_unit(catalog, column, cells, runtimes, codes):
    rows = [f'id,title,kind,"{column}"', *(f'x:{n},Film,movie,"{cell}"' for n, cell in enumerate(cells))]
    result = send(catalog, "\n".join(rows).encode(), format="csv")
    assert [record(catalog, f"x:{n}").get("runtime_s") for n in range(3)] == runtimes
    assert {warning["code"] for warning in result["warnings"]} == codes


def test_a_title_has_one_rating_of_each_country(catalog):
    header = "external_id,kind,title,FSK,BBFC\n"
    columns = json.dumps({"FSK": "age_rating.DE", "BBFC": "age_rating.GB"})
    result = send(catalog, f"{header}x:1,movie,Film,12,15\n".encode(), format="csv", columns=columns)
    assert (record(catalog, "x:1")["age_rating"], record(catalog, "x:1")["age_ratings"]) == ("DE:12", ["GB:15"])
    result = send(catalog, b"external_id,title,age_rating\nx:1,Film,GB:18\n", format="csv")
    assert counts(result) == [0, 1, 0, 0], rejections(catalog, result)
    assert record(catalog, "x:1")["age_rating"] == "GB:18"
    assert not record(catalog, "x:1").get("age_ratings"), "the other rating of the same country is replaced"


def test_lists_names_ratings_and_years_are_read_as_people_write_them(catalog):
    file = b"""\
show_id,type,title,cast,director,country,rating,listed_in,language,date,poster
s1,Movie,Toy Story (1995),"Tim Allen, Robert Downey, Jr.",,"United States, India",TV-MA,"Drama, Comedy",English,x,p.jpg
s2,TV Show,Dark (2017),,,Germany,FSK 16,Drama,"German, Klingonese",,/p.jpg
s3,Movie,(500) Days of Summer,"['A', 'B']",C,Xanadu,Approved,"[{'id': 1, 'name': 'Romance'}]",eng,,https://a.io/p.jpg
"""
    result = send(catalog, file, format="csv", media_base_url="https://img.example/art")
    assert counts(result) == [3, 0, 0, 0], rejections(catalog, result)
    first, second, third = (record(catalog, name) for name in ("s1", "s2", "s3"))
    assert (first["title"], first["year"], first["age_rating"]) == ("Toy Story", 1995, "US:TV-MA")
    assert [credit["name"] for credit in first["credits"]] == ["Tim Allen", "Robert Downey, Jr."]
    assert (first["countries"], first["genres"], first["languages"]) == (["US", "IN"], ["drama", "comedy"], ["en"])
    assert (second["age_rating"], second["kind"], second["countries"]) == ("DE:16", "series", ["DE"])
    assert (third["title"], third["genres"]) == ("(500) Days of Summer", ["romance"])
    assert [credit["name"] for credit in third["credits"]] == ["C", "A", "B"]
    assert [title["artwork"][0]["url"] for title in (first, second, third)] == [
        "https://img.example/art/p.jpg", "/p.jpg", "https://a.io/p.jpg"]  # fmt: skip
    assert not {"age_rating", "countries"} & third.keys()
    assert warnings(result) == {("country", "unknown_name"), ("language", "unknown_name"), ("rating", "unknown_rating"),
                                ("date", "unknown_column")}  # fmt: skip


def test_a_guessed_kind_or_id_changes_no_stored_title_for_the_worse(catalog):
    catalog.put("Dark", external_id="tvdb:1", kind="series")
    assert counts(send(catalog, b"tvdb_id,title,year\n1,Dark,2017\n,Film,1999\n", format="csv")) == [1, 1, 0, 0]
    assert record(catalog, "tvdb:1")["kind"] == "series"
    assert record(catalog, "title:film-1999")["kind"] == "movie"


def test_a_table_without_a_title_says_which_columns_it_has(catalog):
    result = send(catalog, b"a;b;c\n1;2;3\n", format="csv")
    assert rejections(catalog, result) == [(1, "", "missing")]
    reason = catalog.get(f"/v1/admin/imports/{result['id']}/rejections").json["items"][0]["reason"]
    assert "a, b, c" in reason


def test_the_command_line_maps_columns_and_prints_warnings(app, catalog, tmp_path):
    file = tmp_path / "films.dat"
    file.write_bytes(b"sep=;\nKennung;Bezeichnung;Farbe\nx:1;Der Film;rot\n")

    def run(*more):
        return app.test_cli_runner().invoke(commands, ["import", str(file), *more])

    done = run("--map", "Kennung=external_id", "--map", "Bezeichnung=title")
    assert (done.exit_code, "1 added" in done.output, "read as csv" in done.output) == (0, True, True), done.output
    assert "warning: line 2: Farbe: unknown_column" in done.output
    assert catalog.titles() == ["Der Film"]
    assert run("--map", "Kennung=externalid").exit_code == 2
    assert run("--encoding", "rot13").exit_code == 2


def test_a_mapping_alone_makes_a_file_a_table_and_one_of_an_absent_column_is_reported(app, catalog, tmp_path):
    file = tmp_path / "films.dat"
    file.write_text("Kennung,Bezeichnung,Erscheinungsjahr\nx:1,Der Film,1999\n")
    mapping = ["--map", "Kennung=external_id", "--map", "Bezeichnung=title", "--map", "Jahrgang=year"]
    done = app.test_cli_runner().invoke(commands, ["import", str(file), *mapping])
    assert (done.exit_code, "1 added" in done.output, "read as csv" in done.output) == (0, True, True), done.output
    assert "Jahrgang: missing_column: The file has no such column" in done.output
    assert record(catalog, "x:1")["year"] == 1999


def test_every_encoding_that_is_guessed_can_be_named():
    assert {DetectedEncoding(name).label for name in LEGACY_ENCODINGS} <= set(IMPORT_ENCODINGS)


def test_the_command_line_counts_all_rejections_and_says_that_a_format_was_not_recognized(app, tmp_path):
    file = tmp_path / "films.dat"
    file.write_text("\x1b[31m\n" * 1_100)
    done = app.test_cli_runner().invoke(commands, ["import", str(file)])
    assert "1100 rejected" in done.output
    assert "… and 1080 more" in done.output
    assert "The format was not recognized; the file was read as ndjson." in done.output
