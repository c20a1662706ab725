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
