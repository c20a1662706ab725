"""An extra that names a file of its film or of an episode is refused: a trailer needs no plan, and would open both."""

import pytest

from tests.catalog.test_import import counts, line, ndjson, rejections, send
from tests.worlds.catalog_world import Catalog

FILM = "https://media.example/films/Caf%C3%A9%201/master.m3u8"
FOLDER = "https://media.example/films/Caf%C3%A9%201"
SAME_FILE = [
    FILM,
    "http://MEDIA.example:443/films/Caf%C3%A9%201/master.m3u8",
    f"{FILM}?token=1",
    f"{FILM}#t=10",
    f"{FILM};v=2",
    "https://media.example/films/Café%201/master.m3u8",
    "https://media.example/films/Cafe%CC%81%201/master.m3u8",
    "https://media.example/%66ilms/Caf%C3%A9%201/master%2Em3u8",
    "https://media.example/Films/CAF%C3%89%201/Master.M3U8",
    "/films/Caf%C3%A9%201/master.m3u8",
]
OTHER_FILES = [
    "https://media.example/films/trailer/master.m3u8",
    "https://trailers.example/films/Caf%C3%A9%201/master.m3u8",
    f"{FOLDER}/trailer.m3u8",
]


def extra(**more):
    return {"kind": "trailer", "title": "Trailer", **more}


def film(number, trailer, **more):
    return line(number, media={"hls": FILM}, extras=[trailer], **more)


@pytest.fixture
def catalog(app):
    return Catalog(app)


def test_an_extra_with_the_films_manifest_is_rejected_however_it_is_named(catalog):
    lines = [film(number, extra(media={"dash": url})) for number, url in enumerate(SAME_FILE, 1)]
    lines += [film(number, extra(media={"hls": url})) for number, url in enumerate(OTHER_FILES, 100)]
    result = send(catalog, ndjson(*lines))
    assert counts(result) == [len(OTHER_FILES), 0, 0, len(SAME_FILE)]
    expected = [(number, "extras[0].media.dash", "not_allowed") for number in range(1, len(SAME_FILE) + 1)]
    assert rejections(catalog, result) == expected


def test_an_extra_with_a_variant_of_the_film_or_an_episodes_manifest_is_rejected(catalog):
    variants, own = [{"path": "1080/", "height": 1080}, {"path": "/low/a.m3u8"}], {"hls": f"{FOLDER}/trailer.m3u8"}
    episode = {"number": 1, "media": {"hls": FILM}}
    lines = [
        film(1, extra(media={"hls": f"{FOLDER}/1080/index.m3u8"}), variants=variants),
        film(2, extra(media={"hls": "https://media.example/low/a.m3u8"}), variants=variants),
        film(3, extra(media=own, variants=[{"path": "master.m3u8"}])),
        film(4, extra(media=own, variants=[{"path": "/films/"}])),
        film(5, extra(media=own, variants=[{"path": "1080/"}]), variants=variants),
        line(6, kind="series", seasons=[{"number": 1, "episodes": [episode]}], extras=[extra(media={"hls": FILM})]),
        film(7, extra(media=own, variants=[{"path": "trailer-1080/"}]), variants=variants),
    ]
    result = send(catalog, ndjson(*lines))
    assert counts(result) == [1, 0, 0, 6]
    assert rejections(catalog, result) == [
        (number, f"extras[0].{'media.hls' if number in (1, 2, 6) else 'variants[0].path'}", "not_allowed")
        for number in range(1, 7)
    ]


def test_a_put_with_such_an_extra_is_refused_and_changes_nothing(catalog):
    catalog.put("Film", external_id="x:1", media={"hls": FILM}, extras=[extra(media={"hls": OTHER_FILES[0]})])
    before = catalog.get("/v1/admin/titles/x:1")
    body = film(1, extra(media={"hls": SAME_FILE[1]}))
    refused = catalog.client.put("/v1/admin/titles/x:1", json=body, headers={"If-Match": before.headers["ETag"]})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["extras[0].media.hls"])
    patch = {"extras": body["extras"]}
    refused = catalog.client.patch("/v1/admin/titles/x:1", json=patch, headers={"If-Match": before.headers["ETag"]})
    assert refused.status_code == 422
    assert catalog.get("/v1/admin/titles/x:1").json == before.json


@pytest.mark.every_database
def test_an_extra_with_another_titles_manifest_is_rejected_in_either_order(catalog):
    spellings = [*SAME_FILE[:4], "https://media.example/%66ilms/Caf%C3%A9%201/master%2Em3u8"]
    lines = [line(1, media={"hls": FILM}), line(2, media={"hls": OTHER_FILES[2]})]
    lines += [line(number, extras=[extra(media={"dash": url})]) for number, url in enumerate(spellings, 3)]
    lines += [line(number, extras=[extra(media={"hls": url})]) for number, url in enumerate(OTHER_FILES[:2], 100)]
    lines += [line(200, media={"hls": OTHER_FILES[0]}), line(201, media={"dash": f"{OTHER_FILES[1]}?a=b"})]
    in_one = send(catalog, ndjson(*lines))
    expected = [(number, "extras[0].media.dash", "not_allowed") for number in range(3, 8)]
    assert counts(in_one) == [4, 0, 0, 7]
    expected += [(10, "media.hls", "not_allowed"), (11, "media.dash", "not_allowed")]
    assert rejections(catalog, in_one) == expected
    one_by_one = [rejections(catalog, send(catalog, ndjson(record))) for record in lines]
    assert [rejected[0][1:] for rejected in one_by_one if rejected] == [rejection[1:] for rejection in expected]
    refused = put_record(catalog, lines[2])
    assert refused.json["errors"] == {
        "extras[0].media.dash": ['Must not be a file of "x:1", which would then play without its rights.']
    }
    refused = put_record(catalog, lines[-2])
    assert refused.json["errors"] == {
        "media.hls": ['An extra of "x:100" names this file, and would play it without its rights.']
    }


@pytest.mark.every_database
def test_episodes_folders_channels_and_titles_without_media_have_their_files_alone(catalog):
    episode = {"number": 1, "media": {"hls": FILM}}
    catalog.put("Show", external_id="x:1", kind="series", seasons=[{"number": 1, "episodes": [episode]}])
    channel = {"name": "News", "media": {"hls": "https://live.example/news/master.m3u8"}}
    assert catalog.client.put("/v1/admin/channels/news", json=channel).status_code in (200, 201)
    own = {"hls": "https://media.example/own/trailer.m3u8"}
    refused = {
        "extras[0].media.hls": [
            extra(media={"hls": FILM}),
            extra(media={"hls": channel["media"]["hls"]}),
            extra(media={"hls": "/media/ttl_01k8hu3edusb1j9i8dmgpp8k48/master.m3u8"}),
        ],
        "extras[0].variants[0].path": [
            extra(media=own, variants=[{"path": "/films/"}]),
            extra(media={"hls": f"{FOLDER}/t.m3u8"}, variants=[{"path": "master.m3u8"}]),
            extra(media={"hls": "/t.m3u8"}, variants=[{"path": "/"}]),
        ],
    }
    for field, extras in refused.items():
        for number, its in enumerate(extras):
            response = put_record(catalog, line(number + 10, extras=[its]))
            assert (response.status_code, list(response.json["errors"])) == (422, [field]), its
    kept = put_record(catalog, line(2, extras=[extra(media=own, variants=[{"path": "1080/"}])]))
    assert kept.status_code == 200
    taken = {"name": "Sport", "media": {"dash": own["hls"]}}
    response = catalog.client.put("/v1/admin/channels/sport", json=taken)
    assert (response.status_code, list(response.json["errors"])) == (422, ["media.dash"])
    channels = [
        {"kind": "channel", "external_id": "sport", **taken},
        {"kind": "channel", "external_id": "a", "name": "A"},
    ]
    result = send(catalog, ndjson(*channels))
    assert (counts(result), rejections(catalog, result)) == ([1, 0, 0, 1], [(1, "media.dash", "not_allowed")])
    patch = {"seasons": [{"number": 1, "episodes": [{"number": 2, "media": own}]}]}
    response = catalog.client.patch("/v1/admin/titles/x:1", json=patch, headers={"If-Match": etag(catalog, "x:1")})
    assert (response.status_code, list(response.json["errors"])) == (422, ["seasons[0].episodes[0].media.hls"])


@pytest.mark.every_database
def test_a_film_is_found_in_a_folder_after_any_number_of_other_manifests(catalog):
    addresses = [f"https://media.example/show/a{number:03}.m3u8" for number in range(1, 121)]
    episodes = [{"number": number, "media": {"hls": url}} for number, url in enumerate(addresses, 1)]
    catalog.put("Show", external_id="x:1", kind="series", seasons=[{"number": 1, "episodes": episodes}])
    catalog.put("Film", external_id="x:2", media={"hls": "https://media.example/show/z.m3u8"})
    trailer = extra(media={"hls": "https://media.example/t.m3u8"}, variants=[{"path": "/show/"}])
    show_without_episodes = line(1, kind="series")
    result = send(catalog, ndjson(show_without_episodes, line(3, extras=[trailer])))
    assert rejections(catalog, result) == [(2, "extras[0].variants[0].path", "not_allowed")]
    result = send(catalog, ndjson(line(2), line(3, extras=[trailer])))
    assert counts(result)[3] == 0, "the lines before gave all of the folder up"


def test_an_extra_with_path_parameters_is_refused_since_servers_may_ignore_them(catalog):
    catalog.put("Film", external_id="x:1", media={"hls": FILM})
    for address in (
        f"{FILM};v=2",
        "https://media.example/films;a=1/Caf%C3%A9%201/master.m3u8",
        f"{OTHER_FILES[0]};v=2",
    ):
        response = put_record(catalog, line(2, extras=[extra(media={"hls": address})]))
        assert (response.status_code, list(response.json["errors"])) == (422, ["extras[0].media.hls"]), address
    assert put_record(catalog, line(2, extras=[extra(media={"hls": OTHER_FILES[0]})])).status_code == 200
    response = put_record(catalog, line(3, media={"hls": f"{OTHER_FILES[0]};v=2"}))
    assert (response.status_code, list(response.json["errors"])) == (422, ["media.hls"])


def etag(catalog, external_id):
    return catalog.get(f"/v1/admin/titles/{external_id}").headers.get("ETag", "*")


def put_record(catalog, record):
    path, headers = f"/v1/admin/titles/{record['external_id']}", {"If-Match": etag(catalog, record["external_id"])}
    exists = catalog.get(path).status_code == 200
    return catalog.client.put(path, json=record, headers=headers if exists else {})


@pytest.mark.every_database
def test_a_file_is_free_again_when_no_title_names_it(catalog):
    trailer = line(2, extras=[extra(media={"hls": FILM})])
    catalog.put("Film", external_id="x:1", media={"hls": FILM})
    assert put_record(catalog, trailer).status_code == 422
    moved = line(1, media={"hls": OTHER_FILES[0]})
    assert counts(send(catalog, ndjson(moved, trailer))) == [1, 1, 0, 0], "the line before gave the file up"
    assert put_record(catalog, line(1, media={"hls": FILM})).status_code == 422
    catalog.client.delete("/v1/admin/titles/x:2", headers={"If-Match": etag(catalog, "x:2")})
    assert put_record(catalog, line(1, media={"hls": FILM})).status_code == 200
    assert counts(send(catalog, ndjson(trailer))) == [0, 0, 0, 1]
    assert rejections(catalog, send(catalog, ndjson(line(3), trailer, line(4)))) == [
        (2, "extras[0].media.hls", "not_allowed")
    ]
