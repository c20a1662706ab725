"""gzip: for what is long enough and text, with ETags of its own that the API knows again."""

import gzip
import zlib

import pytest

from streamsvc.http.compression import CompressionMiddleware, accepts_gzip, is_compressible
from tests.worlds.catalog_world import Catalog

GZIP = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture
def catalog(app):
    catalog = Catalog(app)
    for number in range(12):
        catalog.put(f"Film {number}", synopsis="Two friends cross the desert on foot. " * 4)
    return catalog


def test_a_long_response_is_compressed_for_those_who_accept_it(catalog):
    plain = catalog.get("/v1/catalog/titles")
    packed = catalog.client.get("/v1/catalog/titles", headers=GZIP)
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 4
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] == plain.headers["ETag"][:-1] + '-gzip"'


def test_a_client_that_has_the_compressed_response_is_told_so(catalog):
    packed = catalog.client.get("/v1/catalog/titles", headers=GZIP)
    again = catalog.client.get("/v1/catalog/titles", headers=GZIP | {"If-None-Match": packed.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", packed.headers["ETag"])
    catalog.put("One more")
    changed = catalog.client.get("/v1/catalog/titles", headers=GZIP | {"If-None-Match": packed.headers["ETag"]})
    assert changed.status_code == 200 and b"One more" in gzip.decompress(changed.data)


def test_an_editor_may_send_the_etag_of_a_compressed_record_back(catalog):
    catalog.put("Long", synopsis="word " * 400, external_id="long")
    packed = catalog.client.get("/v1/admin/titles/long", headers=GZIP)
    assert packed.headers["ETag"].endswith('-gzip"')
    change = {"headers": {"If-Match": packed.headers["ETag"]}, "json": {"year": 1999}}
    assert catalog.client.patch("/v1/admin/titles/long", **change).status_code == 200
    assert catalog.client.patch("/v1/admin/titles/long", **change).status_code == 412


def test_short_responses_stay_as_they_are(catalog):
    for path in ("/livez", "/v1/catalog/titles?limit=1"):
        assert "Content-Encoding" not in catalog.client.get(path, headers=GZIP).headers


@pytest.mark.one_database
@pytest.mark.parametrize("accepted", [GZIP, {}])
def test_head_has_the_headers_of_get_but_for_the_length_of_what_is_compressed(catalog, accepted):
    def headers_of(method, path):
        response = catalog.client.open(path, method=method, headers=accepted)
        is_packed = "Content-Encoding" in response.headers
        own = {"x-request-id", "date"} | ({"content-length"} if is_packed else set())
        return {name.lower(): value for name, value in response.headers.items() if name.lower() not in own}, is_packed

    for path, is_long in (("/v1/catalog/titles", True), ("/v1/catalog/titles?limit=1", False)):
        got, is_packed = headers_of("GET", path)
        assert headers_of("HEAD", path) == (got, is_packed)
        assert is_packed == (is_long and accepted is GZIP)
    assert catalog.client.head("/v1/catalog/titles", headers=accepted).data == b""


@pytest.mark.one_database
def test_a_cache_learns_that_an_unchanged_response_varies(catalog):
    plain = catalog.get("/v1/catalog/titles").headers["ETag"]
    packed = f'{plain[:-1]}-gzip"'
    for headers in (GZIP | {"If-None-Match": packed}, GZIP | {"If-None-Match": plain}, {"If-None-Match": plain}):
        response = catalog.client.get("/v1/catalog/titles", headers=headers)
        assert (response.status_code, response.headers.get("Vary")) == (304, "Accept-Encoding")
        assert response.headers["ETag"] == headers["If-None-Match"]


@pytest.mark.one_database
def test_the_compressed_response_is_not_the_one_for_a_client_that_cannot_read_it(catalog):
    packed = catalog.client.get("/v1/catalog/titles", headers=GZIP).headers["ETag"]
    response = catalog.client.get("/v1/catalog/titles", headers={"If-None-Match": packed})
    assert (response.status_code, response.headers["ETag"]) == (200, packed.replace("-gzip", ""))


def test_an_export_is_compressed_as_it_comes(catalog):
    plain = catalog.client.get("/v1/admin/exports/accounts.ndjson")
    packed = catalog.client.get("/v1/admin/exports/accounts.ndjson", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Length" not in packed.headers
    assert gzip.decompress(packed.data) == plain.data


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=junk", True),
        ("gzip;q=1.2.3", True),
        ("*", False),
    ],
)
def test_accept_encoding_is_read_as_browsers_and_others_write_it(header, accepted):
    assert accepts_gzip(header) is accepted


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("200 OK", {"content-type": "application/json", "content-length": "2000"}, True),
        ("200 OK", {"content-type": "application/json", "content-length": "1024"}, False),
        ("200 OK", {"content-type": "image/svg+xml", "content-length": "2000"}, True),
        ("200 OK", {"content-type": "application/problem+json", "content-length": "2000"}, True),
        ("200 OK", {"content-type": "video/mp4", "content-length": "2000"}, False),
        ("200 OK", {"content-type": "application/pdf", "content-length": "2000"}, False),
        ("200 OK", {"content-type": "text/css", "content-length": "2000", "content-encoding": "br"}, False),
        ("206 PARTIAL CONTENT", {"content-type": "text/css", "content-length": "2000"}, False),
        ("204 NO CONTENT", {}, False),
        ("304 NOT MODIFIED", {"content-type": "text/css"}, False),
        ("200 OK", {"content-type": "application/x-ndjson"}, True),
    ],
)
def test_only_whole_text_is_compressed(status, fields, expected):
    assert is_compressible(status, fields) is expected


@pytest.mark.one_database
def test_a_body_is_closed_and_one_with_a_wrong_etag_is_not_mixed_up():
    class Body(list):
        closed = 0

        def close(self):
            Body.closed += 1

    bodies = [b"a" * 2000, b"b" * 2000]

    def app(environ, start_response):
        body = bodies[environ["n"]]
        start_response("200 OK", [("Content-Type", "text/css"), ("Content-Length", "2000"), ("ETag", '"same"')])
        return Body([body])

    middleware = CompressionMiddleware(app)
    for n in (0, 1, 0):
        environ = {"n": n, "HTTP_ACCEPT_ENCODING": "gzip", "REQUEST_METHOD": "GET"}
        [packed] = middleware(environ, lambda status, headers: None)
        assert zlib.decompress(packed, 31) == bodies[n]
    assert Body.closed == 3
