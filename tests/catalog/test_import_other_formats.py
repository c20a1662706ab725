"""TMDB's JSON, M3U playlists and Roku's feeds; the guess of a format; and hostile files of each."""

import gzip
import json

import pytest

from streamsvc.operations.catalog.imports import imports, reading
from tests.catalog.test_import import counts, line, ndjson, rejections, send
from tests.catalog.test_import_nfo import FILM, tar_of, zip_of
from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


def record(catalog, external_id):
    response = catalog.get(f"/v1/admin/titles/{external_id}")
    assert response.status_code == 200, response.json
    return response.json


MOVIE = {
    "adult": False, "backdrop_path": "/b.jpg", "belongs_to_collection": {"id": 1, "name": "Vampire Films"}, "id": 653,
    "genres": [{"id": 27, "name": "Horror"}], "imdb_id": "tt0013442", "original_language": "de", "overview": "A count.",
    "original_title": "Nosferatu, eine Symphonie des Grauens", "poster_path": "/p.jpg", "release_date": "1922-02-16",
    "production_countries": [{"iso_3166_1": "DE", "name": "Germany"}], "runtime": 95, "title": "Nosferatu",
    "vote_count": 2100, "popularity": 17.5,
    "credits": {"cast": [{"id": 9080, "name": "Max Schreck", "character": "Count Orlok", "order": 0,
                          "credit_id": "52fe4264c3a36847f801b083", "profile_path": "/s.jpg"}],
                "crew": [{"id": 9087, "name": "F. W. Murnau", "job": "Director", "department": "Directing"},
                         {"id": 1, "name": "N. N.", "job": "Catering"}, {"name": "Henrik Galeen", "job": "Writer"}]},
    "alternative_titles": {"titles": [{"iso_3166_1": "US", "title": "Nosferatu the Vampire", "type": "Working title"},
                                      {"iso_3166_1": "SU", "title": "Носферату", "type": ""},
                                      {"iso_3166_1": "BR", "title": " ", "type": ""}]},
    "release_dates": {"results": [{"iso_3166_1": "SE", "release_dates": [{"certification": "15", "type": 3}]},
                                  {"iso_3166_1": "DE", "release_dates": [{"certification": "", "type": 1},
                                                                         {"certification": "12", "type": 3}]}]},
    "images": {"posters": [{"file_path": "/q.jpg", "width": 2000, "height": 3000, "iso_639_1": "de"}], "backdrops": [],
               "logos": []},
    "translations": {"translations": [{"iso_639_1": "fr", "iso_3166_1": "FR",
                                       "data": {"title": "Nosferatu le vampire", "overview": ""}}]},
}  # fmt: skip
SERIES = {
    "id": 77, "name": "Fantômas", "first_air_date": "1913-05-09", "original_language": "fr", "origin_country": ["FR"],
    "episode_run_time": [54], "external_ids": {"imdb_id": None, "tvdb_id": 5}, "seasons": [{"season_number": 1}],
    "content_ratings": {"results": [{"iso_3166_1": "US", "rating": "TV-14"}]},
    "created_by": [{"id": 77, "credit_id": "5", "name": "Louis Feuillade", "gender": 2, "profile_path": None}],
    "alternative_titles": {"results": [{"iso_3166_1": "IT", "title": "Fantomas", "type": ""}]},
    "season/1": {"season_number": 1, "name": "The First", "episodes": [
        {"episode_number": 1, "name": "À l'ombre", "overview": "", "air_date": "1913-05-09", "runtime": 54,
         "still_path": "/s.jpg"}]},
}  # fmt: skip
PAGE = {
    "page": 1,
    "results": [{"id": 5, "title": "Listed", "genre_ids": [18, 27], "release_date": ""}],
    "total_pages": 1,
}
ID_FILE = [{"adult": False, "id": 3, "original_title": "Exported", "popularity": 0.6, "video": False}]


@pytest.mark.every_database
@pytest.mark.parametrize("shape", ["array", "lines", "indented"])
def test_details_of_tmdb_come_in(catalog, shape):
    body = {
        "array": json.dumps([MOVIE, SERIES]),
        "lines": f"{json.dumps(MOVIE)}\n{json.dumps(SERIES)}\n",
        "indented": f"{json.dumps(MOVIE, indent=1)}\n{json.dumps(SERIES, indent=1)}",
    }[shape]
    result = send(catalog, body.encode(), "application/json")
    assert (result["format"], result["format_guessed"], counts(result)) == ("tmdb", True, [2, 0, 0, 0])
    film = record(catalog, "imdb:tt0013442")
    assert (film["year"], film["runtime_s"]) == (1922, 5700)
    assert (film["age_rating"], film["age_ratings"]) == ("DE:12", ["SE:15"])
    assert film["credits"] == [
        {"name": "F. W. Murnau", "role": "director", "person": "tmdb:person:9087"},
        {"name": "Henrik Galeen", "role": "writer"},
        {"name": "Max Schreck", "role": "actor", "character": "Count Orlok", "person": "tmdb:person:9080"},
    ]
    assert film["alternative_titles"] == [
        {"title": "Nosferatu the Vampire", "country": "US", "kind": "working-title"},
        {"title": "Носферату"},
    ]
    assert catalog.search("Nosferatu the Vampire") == ["Nosferatu"]
    assert [image["url"].rpartition("/")[2] for image in film["artwork"]] == ["p.jpg", "b.jpg", "q.jpg"]
    assert (film["artwork"][2]["language"], film["languages"], film["countries"]) == ("de", ["de"], ["DE"])
    assert film["localizations"] == {"fr": {"title": "Nosferatu le vampire"}}
    assert film["external_ids"] == {"imdb": "tt0013442", "tmdb": "653"}
    assert catalog.get("/v1/admin/collections/vampire-films").json["items"] == ["imdb:tt0013442"]
    show = record(catalog, "tmdb:tv:77")
    assert (show["kind"], show["year"], show["age_rating"]) == ("series", 1913, "US:TV-14")
    assert show["credits"] == [{"name": "Louis Feuillade", "role": "creator", "person": "tmdb:person:77"}]
    assert show["alternative_titles"] == [{"title": "Fantomas", "country": "IT"}]
    assert show["seasons"][0]["title"] == "The First"
    assert show["seasons"][0]["episodes"][0]["released_on"] == "1913-05-09"
    assert counts(send(catalog, body.encode(), "application/json")) == [0, 0, 2, 0]


@pytest.mark.every_database
def test_two_people_of_one_name_are_two_by_their_ids_at_tmdb(catalog):
    def movie(number, person):
        return {"id": number, "title": f"Film {number}", "overview": "", "credits": {"cast": [person]}}

    young, old = {"id": 1136406, "name": "Tom Holland"}, {"id": 22214, "name": "Tom Holland"}
    assert counts(send(catalog, json.dumps([movie(1, young), movie(2, old), movie(3, young)]).encode())) == [3, 0, 0, 0]
    titles = [catalog.get(f"/v1/catalog/titles/{record(catalog, f'tmdb:movie:{n}')['id']}").json for n in (1, 2, 3)]
    first, second, third = (title["credits"][0]["person_id"] for title in titles)
    assert first == third != second
    body = {"name": "Tom Holland", "born_on": "1943-07-11"}
    person = catalog.client.put("/v1/admin/people/tmdb:person:22214", json=body)
    assert person.status_code in (200, 201), person.json
    assert catalog.get(f"/v1/catalog/people/{second}").json["born_on"] == "1943-07-11"


def test_lists_and_id_files_of_tmdb_come_in_and_people_do_not(catalog):
    assert counts(send(catalog, json.dumps(PAGE, indent=1).encode())) == [1, 0, 0, 0]
    assert record(catalog, "tmdb:movie:5")["genres"] == ["drama", "horror"]
    assert counts(send(catalog, gzip.compress(ndjson(*ID_FILE)))) == [1, 0, 0, 0]
    assert record(catalog, "tmdb:movie:3")["title"] == "Exported"
    people = [{"id": 1, "name": "N. N.", "known_for_department": "Acting"}, {**MOVIE, "credits": {"cast": [{}]}}, 7]
    result = send(catalog, json.dumps(people).encode(), format="tmdb")
    assert rejections(catalog, result) == [(1, "", "not_taken"), (2, "", "malformed"), (3, "", "not_taken")]


PLAYLIST = """\
#EXTM3U x-tvg-url="https://epg.example/guide.xml"
#EXTINF:-1 tvg-id="one.example" tvg-logo="https://img.example/one.png" group-title="News",Channel, One
https://live.example/one.m3u8
#EXTINF:5700 tvg-id="tt0013442" tvg-logo="https://img.example/n.jpg" group-title="Horror;Silent",Nosferatu (1922)
https://media.example/nosferatu/master.m3u8
#EXTINF:-1 tvg-name="VOD" group-title="VOD",Vampyr (1932)
https://panel.example/movie/user/pass/77.mkv?token=1
#EXTINF:3240 group-title="Series",Fantômas S01 E02 Juve contre Fantômas
https://media.example/f/2.mp4
#EXTGRP:Comedy
#EXTINF:-1,Relative
films/relative film.mp4
#EXTINF:3240 group-title="Series",Fantômas S01E01
https://media.example/f/1.mp4
https://media.example/files/No.Info.mp4
#EXTINF:10
#EXTINF:-1,Two
rtmp://live.example/two
#EXTINF:16,Three
https://live.example/three.m3u8|user-agent=Player/1.0 (Linux)
"""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "windows-1252"])
def test_films_episodes_and_channels_of_a_playlist_come_in(catalog, encoding):
    result = send(catalog, PLAYLIST.encode(encoding), "audio/x-mpegurl", media_base_url="https://media.example/base")
    assert (result["format"], counts(result)) == ("m3u", [7, 0, 0, 1]), result
    assert rejections(catalog, result) == [(18, "media", "not_taken")]
    assert {warning["code"] for warning in result["warnings"]} <= {"encoding_guessed"}
    channel = catalog.get("/v1/admin/channels/one.example").json
    assert (channel["name"], channel["group"]) == ("Channel, One", "News")
    assert channel["media"] == {"hls": "https://live.example/one.m3u8"}
    assert catalog.get("/v1/admin/channels/three").json["media"] == {"hls": "https://live.example/three.m3u8"}
    film = record(catalog, "imdb:tt0013442")
    assert (film["title"], film["year"], film["runtime_s"], film["genres"]) == (
        "Nosferatu", 1922, 5700, ["horror", "silent"])  # fmt: skip
    assert film["media"] == {"hls": "https://media.example/nosferatu/master.m3u8"}
    vampyr = record(catalog, "title:vampyr-1932")
    assert vampyr["media"] == {"mkv": "https://panel.example/movie/user/pass/77.mkv?token=1"}
    show = record(catalog, "title:fantomas")
    assert [(episode["number"], episode.get("title")) for episode in show["seasons"][0]["episodes"]] == [
        (1, None), (2, "Juve contre Fantômas")]  # fmt: skip
    relative = record(catalog, "title:relative")
    assert relative["media"] == {"mp4": "https://media.example/base/films/relative%20film.mp4"}
    assert relative["genres"] == ["comedy"]
    assert record(catalog, "title:no-info")["title"] == "No Info"


def test_a_relative_path_without_the_address_of_its_folder_is_left_out_and_reported(catalog):
    result = send(catalog, PLAYLIST.encode(), "audio/x-mpegurl")
    assert "relative_address" in {warning["code"] for warning in result["warnings"]}
    assert not record(catalog, "title:relative").get("media")


DIRECT = {
    "providerName": "Acme", "lastUpdated": "2026-01-01T00:00:00Z", "language": "en", "categories": [{"name": "x"}],
    "movies": [{
        "id": "m1", "title": "Sample", "genres": ["drama"], "tags": ["x"], "thumbnail": "https://a.example/t.jpg",
        "releaseDate": "2016-01-01", "shortDescription": "Short.", "longDescription": "Long.",
        "rating": {"rating": "PG-13", "ratingSource": "MPAA"}, "credits": [{"name": "Ann", "role": "screenwriter"}],
        "externalIds": [{"id": "tt1234567", "idType": "IMDB"}],
        "content": {"dateAdded": "2020-01-01T00:00:00Z", "duration": 5400, "language": "en-us",
                    "validityPeriodStart": "2020-01-01T00:00:00+00:00",
                    "captions": [{"url": "https://a.example/c.srt", "language": "en", "captionType": "CLOSED_CAPTION"}],
                    "videos": [{"url": "https://a.example/hd.m3u8", "quality": "HD", "videoType": "HLS"},
                               {"url": "https://a.example/sd.m3u8", "quality": "SD", "videoType": "HLS"}]}}],
    "liveFeeds": [{"id": "l", "title": "Live"}],
    "series": [{"id": "s1", "title": "Mini", "genres": ["drama"], "shortDescription": "M.", "releaseDate": "2017-01-01",
                "episodes": [{"id": "e1", "title": "One", "episodeNumber": 1, "content": {"duration": 60}}]},
               {"id": "s2", "title": "Seasons", "seasons": [{"seasonNumber": "2", "episodes": [
                   {"id": "e2", "title": "Two", "episodeNumber": 3, "releaseDate": "2018-02-03T00:00:00Z"}]}]}],
    "shortFormVideos": [{"id": "v1", "title": "Clip", "content": {"duration": 30, "videos": [
        {"url": "https://a.example/clip.mp4", "quality": "FHD", "videoType": "MP4"}]}}, {"id": "v2"}],
}  # fmt: skip


def test_a_direct_publisher_feed_comes_in(catalog):
    result = send(catalog, json.dumps(DIRECT).encode(), "application/json")
    assert (result["format"], counts(result)) == ("roku", [4, 0, 0, 1]), rejections(catalog, result)
    assert rejections(catalog, result) == [(6, "shortFormVideos", "malformed")]
    film = record(catalog, "m1")
    assert (film["age_rating"], film["synopsis"], film["runtime_s"]) == ("US:PG-13", "Long.", 5400)
    assert film["media"] == {"hls": "https://a.example/hd.m3u8"}
    assert film["windows"] == [{"starts_at": "2020-01-01T00:00:00Z"}]
    assert film["tracks"] == [{"kind": "caption", "language": "en"}]
    assert record(catalog, "s1")["seasons"][0]["episodes"][0]["title"] == "One"
    assert [season["number"] for season in record(catalog, "s2")["seasons"]] == [2]
    assert record(catalog, "v1")["media"] == {"mp4": "https://a.example/clip.mp4"}


IMDB = b"tconst\ttitleType\tprimaryTitle\toriginalTitle\tisAdult\tstartYear\tendYear\truntimeMinutes\tgenres\n"
CSV = b"external_id;title\nx:1;A\n"


@pytest.mark.parametrize(
    ("body", "content_type", "guess"),
    [
        (ndjson(line(1)), "text/csv", "ndjson"),
        (b"oops\n" + ndjson(line(1)), "application/json", "ndjson"),
        (json.dumps([line(1), line(2)], indent=2).encode(), "text/plain", "ndjson"),
        (CSV, "application/x-ndjson", "csv"),
        (gzip.compress(CSV, mtime=0), "application/gzip", "csv"),
        (zip_of({"data.txt": CSV, "__MACOSX/._data.txt": "x"}), "application/zip", "csv"),
        (IMDB, "text/csv", "imdb"),
        (zip_of({"a.tsv": IMDB, "b.tsv": "x"}), "application/octet-stream", "imdb"),
        (zip_of({"a/movie.nfo": FILM}), "application/zip", "nfo"),
        (tar_of({"a/movie.nfo": FILM}), "application/gzip", "nfo"),
        (FILM.encode(), "text/xml", "nfo"),
        (json.dumps({"version": "1", "assets": []}).encode(), "application/json", "roku"),
        (json.dumps([MOVIE]).encode(), "application/json", "tmdb"),
        (b"\n\n#EXTM3U\n", "text/plain", "m3u"),
        ("#EXTM3U\n#EXTINF:1,A\nhttp://a.example/a.mp4\n".encode("utf-16"), "", "m3u"),
        (b"\x89PNG\r\n\x1a\n", "text/csv", "csv"),
        (b"\x89PNG\r\n\x1a\n", "application/octet-stream", "ndjson"),
        (b"PK\3\4 no archive", "application/octet-stream", "ndjson"),
        (b"<!-- <movie> --><tv><channel/></tv>", "text/plain", "xmltv"),
        (b"<html/>", "text/xml", "ndjson"),
    ],
)  # fmt: skip
def test_a_format_is_guessed_from_the_content_and_can_be_overridden(catalog, body, content_type, guess):
    def create(query):
        return catalog.client.post(f"/v1/admin/imports{query}", data=body, content_type=content_type).json

    guessed = create("")
    assert (guessed["format"], guessed["format_guessed"]) == (guess, True)
    if body.startswith((b"\x89PNG", b"PK\3\4 no archive", b"<html/>")):
        [warning] = guessed["warnings"]
        assert (warning["code"], warning["line"], warning["count"]) == ("unrecognized_format", 1, 1)
        assert f"read as {guess}" in warning["reason"]
        assert all(name in warning["reason"] for name in ("?format=", *reading.FORMATS))
    else:
        assert guessed["warnings"] == []
    if content_type != "application/zip":
        named = create("?format=roku")
        assert (named["format"], named["format_guessed"], named["warnings"]) == ("roku", False, [])


def test_the_hint_of_an_unrecognized_file_stays_with_its_rejections(catalog):
    result = send(catalog, b"<html/>\n", "text/xml")
    assert (result["status"], counts(result)) == ("done", [0, 0, 0, 1])
    assert [warning["code"] for warning in result["warnings"]] == ["unrecognized_format"]


WRONG_VALUES = (
    ["x", {"name": 7}], {"results": 3, "cast": [{"name": None}], "posters": 1, "translations": [[]]}, [7], 10**400,
    {"season_number": [], "episodes": 7}, "9" * 5_000, "\ud800\0", -1, True,
)  # fmt: skip
WRONG_SHAPES = [
    {**item, "imdb_id": None, "id": number * 100 + index, name: value}
    for item in (MOVIE, SERIES)
    for number, name in enumerate(item)
    for index, value in enumerate(WRONG_VALUES)
]
DEEP = b"[" * 100_000
HOSTILE = [
    ("tmdb", DEEP), ("tmdb", b"{" * 100_000), ("tmdb", b'[{"id": 1, "title": ' + DEEP), ("tmdb", b"\xff\xfe\x00"),
    ("tmdb", b'{"id": 1, "title": "a"}\n{"id": 2, "title": "\xff"}\n' + b"x" * (2 << 20) + b"\n\n{}"),
    ("tmdb", json.dumps(WRONG_SHAPES).encode()),
    ("m3u", b"#EXTINF:" + b"9" * 100_000 + b",A\nhttp://a.example/a.mp4\n"), ("m3u", b"#EXTM3U\n" + b"\0" * 10_000),
    ("m3u", b"#EXTM3U\n#EXTINF:1," + b"-" * 900_000 + b"\nhttp://a.example/a.mp4\n"),
    ("m3u", b"#EXTM3U\n#EXTINF:1 " + b"a" * 900_000 + b',A\nhttp://[a.example/a.mp4\nhttp://a:b@c/d.mp4\n'),
    ("m3u", b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nsegment1.ts\n"), ("m3u", b"x" * (2 << 20)),
    ("m3u", b'#EXTINF:-1 tvg-id="a\0\xff" tvg-logo=' + b"x" * 900_000 + b',A\0\xff\nhttp://a.example/a.m3u8\n'),
    ("m3u", b'#EXTINF:-1 tvg-id=" b "\nhttp://a.example/b.m3u8\n#EXTINF:-1,' + b"C" * 5_000 + b"\nhttp://a.example/c\n"),
    ("xmltv", b"<tv><channel id='" + b"x" * 5_000 + b"'/></tv>"), ("xmltv_programmes", b"\0"),
    ("xmltv", "<tv/>".encode("utf-16")[:7]),
    ("m3u", "#EXTINF:1,A\udcff S01E01\nhttp://a.example/a.mp4\n".encode(errors="surrogateescape")),
    ("m3u", b"#EXTINF:1,A S99E99\nhttp://a.example/../a.mp4\n#EXTINF:1,S01E01\nhttp://a.example/%2e%2e/a.mp4\n"),
    ("csv", b"title\n" + b'"' * 900_000), ("csv", b"title,runtime\nA," + b"1h" + b"1" * 500_000 + b"x\n"),
    ("csv", b"title,genres\nA,\"[" + b"[" * 90_000 + b"\"\n"), ("csv", b"title,year\nA," + b"9" * 100_000 + b"\n"),
    ("csv", b"title,votes,imdb_id,tmdb\nA," + b"1" * 5_000 + b"," + b"1" * 5_000 + b",=cmd()\n"), ("csv", b"\n\n\n"),
    ("csv", "title,country\nA,".encode("utf-16") + b"\x00"), ("csv", b"title," * 50_000 + b"\nA\n"), ("csv", b"title"),
    ("csv", b"title,age_rating,cast\nA,US:" + b"-" * 90_000 + b"," + b"," * 90_000 + b"\n"),
    *(("roku", json.dumps({**DIRECT, name: value}).encode()) for name in ("movies", "series", "shortFormVideos")
      for value in (7, [7], [[]], [{"id": 1, "title": []}], [{"id": "a", "title": "A", "content": {"videos": [{}]}}],
                    [{"id": "a", "title": "A", "seasons": [{"seasonNumber": "x"}]}])),
    ("roku", b'{"movies": ' + DEEP), ("roku", b'{"movies": [{"id": "a"'),
    ("nfo", b"\x1f\x8b broken"), ("nfo", b"PK\3\4 broken"), ("nfo", b"\0" * 257 + b"ustar"), ("nfo", b"<" * 100_000),
    ("nfo", b"<movie>" + b"&" * 500_000 + b"</movie>"), ("nfo", b"<?xml " + b" " * 900_000),
    ("ndjson", b"[{}," + DEEP), ("ndjson", b'[{"external_id": "a", "kind": "movie", "title": "\\ud800"}]'),
    ("ndjson", b"[]"), ("ndjson", b"[{}] rest"),
]  # fmt: skip


def test_hostile_files_of_each_format_end_with_a_report(catalog):
    """Each ends as done or failed, with every line accounted for; none breaks the worker or what is stored."""
    catalog.put("Kept")
    for number, (file_format, body) in enumerate(HOSTILE):
        result = send(catalog, body, "", format=file_format)
        context = (number, file_format, body[:60], result)
        assert result["status"] in ("done", "failed"), context
        assert (result["status"] == "failed") == (result["error"] is not None), context
        pages = catalog.walk(f"/v1/admin/imports/{result['id']}/rejections", limit=100)
        assert result["rejected"] == len({item["line"] for page in pages for item in page}), context
        assert imports.guess_format(body, {}) in (None, *reading.FORMATS), context
    assert "Kept" in catalog.titles(limit=100)


@pytest.mark.parametrize(
    ("file_format", "body"),
    [
        ("tmdb", json.dumps([{"id": number, "title": f"Film {number}"} for number in range(900)]).encode()),
        ("m3u", "".join(f"#EXTINF:9,Film {n}\nhttp://a.example/{n}.mp4\n" for n in range(900)).encode()),
        ("csv", ("title\n" + "".join(f"Film {n}\n" for n in range(900))).encode("utf-16")),
        ("ndjson", json.dumps([line(number) for number in range(900)]).encode()),
        ("roku", json.dumps({**DIRECT, "series": [], "shortFormVideos": [], "liveFeeds": [],
                             "movies": [{"id": f"m{n}", "title": f"Film {n}"} for n in range(900)]}).encode()),
    ],
)  # fmt: skip
def test_each_format_resumes_where_it_stopped(catalog, monkeypatch, file_format, body):
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)
    result = send(catalog, body, format=file_format)
    assert (result["status"], counts(result)) == ("done", [900, 0, 0, 0])
