"""Errors: every one is a problem document (RFC 9457), and bad input gets a specific code."""

import gzip
import json
import time
from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError
from werkzeug.test import Client

from streamsvc.app import create_app
from streamsvc.http.description import problem_document
from streamsvc.http.edge import flatten_messages
from streamsvc.http.unknown_fields import MAX_EXPLAINED, UNKNOWN, explain_unknown_fields
from streamsvc.rules.sign_in.sessions import new_token
from streamsvc.schemas import base
from streamsvc.schemas.subscriptions.subscriptions import PlanIn
from streamsvc.security.access import public
from streamsvc.settings import Settings
from tests.conftest import close_app
from tests.worlds.billing_world import World

pytestmark = pytest.mark.one_database
SIGN_IN = {"email": "ann@example.com", "password": "seven red herons"}
DEEP = b'{"email":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def post(client, body, content_type="application/json", path="/v1/sessions"):
    return client.post(path, data=body, content_type=content_type)


def assert_problem(response, status, code):
    assert (response.status_code, response.json["code"]) == (status, code), response.text
    assert response.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(response.json)
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    return response.json


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"email": NaN}',
        b'{"email": Infinity}',
        b'{"email": "a", "email": "b"}',
        b'{"email": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"email": "a"}',
        b'{"email": "\xff"}',
        b'{"email": "\\ud800"}',
        b'{"\\udfff": 1}',
        DEEP,
    ],
    ids=[
        "truncated",
        "empty",
        "nan",
        "infinity",
        "duplicate key",
        "huge int",
        "utf-16",
        "bom",
        "not utf-8",
        "lone surrogate",
        "lone surrogate in key",
        "deeply nested",
    ],
)
def test_a_body_that_is_not_strict_json_is_malformed(client, body):
    if body:
        assert_problem(post(client, body), 400, "malformed_json")
    else:
        assert set(assert_problem(post(client, body), 422, "invalid")["errors"]) == {"email", "password"}


def test_a_deeply_nested_body_is_malformed_where_the_sandbox_looks_into_it_first(app):
    operator = World(app).operator
    body, headers = DEEP, {**operator.headers(), "Content-Type": "application/json"}
    response = app.test_client().put("/v1/admin/referral-rewards/EUR", data=body, headers=headers)
    assert_problem(response, 400, "malformed_json")


@pytest.mark.parametrize("value", [None, [], {}, True, 1, 1.5, 2**63, -1, "", "\x00", "x" * 300_000])
@pytest.mark.parametrize("field", ["email", "password"])
def test_a_value_of_the_wrong_type_is_reported_by_field(client, field, value):
    response = post(client, json.dumps({**SIGN_IN, field: value}))
    if response.status_code == 413:
        assert_problem(response, 413, "request_entity_too_large")
    elif response.status_code == 401:
        assert (field, value) == ("password", "\x00")
    else:
        assert field in assert_problem(response, 422, "invalid")["errors"]


@pytest.mark.parametrize("body", [b"[]", b"3", b'"text"', b"null", b"true"])
def test_a_body_that_is_not_an_object_is_invalid(client, body):
    assert_problem(post(client, body), 422, "invalid")


def test_an_unknown_field_is_rejected_with_the_known_ones(client):
    response = post(client, json.dumps({**SIGN_IN, "pasword": "x"}))
    known = "challenge, cookie, device, device_trust, email, email_code, identifier, password, recovery_code, remember"
    sentence = f"Unknown field. Did you mean password? Known: {known}, totp, trust_device."
    assert assert_problem(response, 422, "invalid")["errors"] == {"pasword": [sentence]}


def test_an_unknown_field_of_a_nested_object_is_explained_too(client):
    response = post(client, json.dumps({**SIGN_IN, "device": {"name": "tv", "kind": "tv", "zzzz": 1}}))
    errors = assert_problem(response, 422, "invalid")["errors"]
    assert errors == {"device.zzzz": ["Unknown field. Known: id, kind, name."]}


def test_an_unknown_field_of_an_object_in_a_list_is_explained_by_its_position():
    messages = {"prices": {1: {"currncy": UNKNOWN, "interval": ["Must be one of: …"]}}, "code": UNKNOWN}
    explained = dict(flatten_messages(explain_unknown_fields(messages, PlanIn(), "field")))
    assert list(explained) == ["prices.1.interval", "prices.1.currncy", "code"]
    assert explained["prices.1.currncy"][0].startswith("Unknown field. Did you mean currency? Known: amount_minor, ")


def test_an_unknown_query_parameter_is_rejected_with_the_known_ones(client):
    for text, sentence in {
        "contry": "Unknown parameter. Did you mean country? Known: addons, country, currency, cursor, include_total, "
        "limit.",
        "x": "Unknown parameter. Known: addons, country, currency, cursor, include_total, limit.",
    }.items():
        errors = assert_problem(client.get(f"/v1/plans?{text}=DE"), 422, "invalid")["errors"]
        assert errors == {text: [sentence]}
    errors = assert_problem(client.get("/livez?x=1&a=1"), 422, "invalid")["errors"]
    assert errors == {name: ["Unknown parameter. This endpoint takes no query parameters."] for name in "xa"}


def test_only_the_first_unknown_fields_are_explained_in_a_fixed_order(client):
    names = [f"f{number:05}" for number in range(9_000)]
    started = time.perf_counter()
    response = post(client, json.dumps({**SIGN_IN, **dict.fromkeys(reversed(names), 1)}))
    errors = assert_problem(response, 422, "invalid")["errors"]
    assert list(errors) == names and len(response.data) < 2 * 256 * 1024
    assert [name for name, sentences in errors.items() if sentences != UNKNOWN] == names[:MAX_EXPLAINED]
    long_name = "p" * 200_000
    assert long_name in assert_problem(post(client, json.dumps({long_name: 1})), 422, "invalid")["errors"]
    assert time.perf_counter() - started < 2, "explaining costs more than the request"


def test_a_repeated_query_parameter_is_rejected(client):
    assert "country" in assert_problem(client.get("/v1/plans?country=DE&country=FR"), 422, "invalid")["errors"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_another_media_type_is_rejected(client, content_type):
    assert_problem(post(client, json.dumps(SIGN_IN), content_type), 415, "unsupported_media_type")


def test_an_unknown_charset_is_rejected(client):
    assert_problem(post(client, b"{}", "application/json; charset=utf-16"), 415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP"])
def test_a_compressed_body_is_rejected_with_what_is_accepted(client, coding):
    body = gzip.compress(json.dumps(SIGN_IN).encode())
    for path, content_type in (
        ("/v1/sessions", "application/json"),
        ("/v1/token", "application/x-www-form-urlencoded"),
    ):
        headers = {"Content-Encoding": coding, "Content-Type": content_type}
        response = client.post(path, data=body, headers=headers)
        problem = assert_problem(response, 415, "unsupported_media_type")
        assert problem["detail"] == "Send the body uncompressed, without Content-Encoding."
        assert response.headers["Accept-Encoding"] == "identity"
    headers = {"Content-Encoding": "identity", "Content-Type": "application/json"}
    assert_problem(client.post("/v1/sessions", data=json.dumps(SIGN_IN), headers=headers), 401, "invalid_credentials")


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("not_found", "Not found"),
        ("malformed_json", "Malformed JSON"),
        ("pin_required", "PIN required"),
        ("use_dpop_nonce", "Use DPoP nonce"),
        ("original_uri_missing", "Original URI missing"),
        ("einvoice_incomplete", "E-invoice incomplete"),
    ],
)
def test_the_title_of_an_error_spells_abbreviations_as_usual(code, title):
    assert problem_document(400, code, "", "req_1")["title"] == title


def test_a_body_that_is_too_large_is_rejected(client):
    problem = assert_problem(post(client, b"x" * 300_000), 413, "request_entity_too_large")
    assert problem["detail"] == "The request body is too large; send at most 262,144 bytes."


def test_an_unknown_path_is_404_and_names_the_documentation(app, client):
    detail = "This path does not exist in this API."
    for path in ("/v1/nowhere", "/v1/plans/", "//v1/plans", "/%ff", "/docs/none.js"):
        problem = assert_problem(client.get(path), 404, "not_found")
        assert problem["detail"] == f"{detail} See /docs or /openapi.json for all paths."
    without_docs = create_app(app.extensions["settings"].replace(docs=False))
    assert without_docs.test_client().get("/v1/nowhere").json["detail"] == detail
    close_app(without_docs)


@pytest.mark.parametrize(
    "path", ["/v1//plans", "//v1/plans", "/v1/plans/", "/v1/plans//p", "//evil.example/v1/plans", ""]
)
def test_another_spelling_of_a_path_is_404_and_no_redirect_to_the_host_of_the_request(app, path):
    environ = {"PATH_INFO": path}
    response = Client(app).get("/", environ_overrides=environ, headers={"Host": "evil.example"})
    assert_problem(response, 404, "not_found")
    assert "Location" not in response.headers


def test_no_route_is_redirected_to_another_spelling(app):
    """Werkzeug's redirects are absolute, and take the host from the request."""
    rules = list(app.url_map.iter_rules())
    assert rules
    assert not [rule for rule in rules if rule.merge_slashes or rule.defaults or rule.redirect_to]
    assert [rule.rule for rule in rules if rule.rule.endswith("/")] == ["/"]  # else the path without it is redirected


def test_a_wrong_method_is_405_with_the_right_ones(client):
    for response, method in ((client.delete("/v1/plans"), "DELETE"), (client.trace("/v1/plans"), "TRACE")):
        problem = assert_problem(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert problem["detail"] == f"This path does not support {method}; use GET, HEAD, OPTIONS."


@pytest.mark.parametrize("request_id", ["abc-123", "A.b_c"])
def test_a_well_formed_request_id_is_kept(client, request_id):
    assert client.get("/livez", headers={"X-Request-Id": request_id}).headers["X-Request-Id"] == request_id


@pytest.mark.parametrize("request_id", ["a b", "x" * 200, "<script>", ""])
def test_an_ill_formed_request_id_is_replaced(client, request_id):
    response = client.get("/livez", headers={"X-Request-Id": request_id})
    assert response.headers["X-Request-Id"].startswith("req_")


def test_every_response_has_security_headers(client):
    for path in ("/livez", "/v1/nowhere", "/v1/plans"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Set-Cookie" not in headers


def test_a_view_requires_authentication_by_default(client):
    response = client.get("/v1/sessions/current")
    assert_problem(response, 401, "not_signed_in")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    response = client.get("/v1/sessions/current", headers={"Authorization": "Bearer sst_wrong"})
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_every_401_names_the_authentication_scheme(client):
    response = post(client, json.dumps(SIGN_IN))
    assert_problem(response, 401, "invalid_credentials")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_an_unassigned_country_is_rejected(client):
    sign_up = {**SIGN_IN, "country": "ZZ"}
    assert "country" in assert_problem(post(client, json.dumps(sign_up), path="/v1/accounts"), 422, "invalid")["errors"]
    assert_problem(client.get("/v1/plans?country=XX"), 422, "invalid")


@pytest.mark.parametrize("path", ["/v1/sessions/current", "/v1/plans"])
def test_a_database_that_refuses_connections_is_reported_as_unavailable(path):
    settings = Settings(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key=("x" * 32,))
    headers = {"Authorization": f"Bearer {new_token()}"}
    response = create_app(settings).test_client().get(path, headers=headers)
    assert assert_problem(response, 503, "unavailable") and response.headers["Retry-After"]


def test_an_unhandled_exception_is_reported_without_details_and_logged_with_the_request_id(app, caplog):
    broken = create_app(app.extensions["settings"])
    broken.add_url_rule("/v1/broken", view_func=public(lambda: {}["a secret"]))
    problem = assert_problem(broken.test_client().get("/v1/broken"), 500, "internal_error")
    assert "secret" not in json.dumps(problem) and problem["detail"].startswith("The service failed on this request.")
    assert "KeyError: 'a secret'" in caplog.text and problem["request_id"] in caplog.text
    close_app(broken)


@pytest.mark.parametrize("field", [base.Moment(), base.Day()])
@pytest.mark.parametrize(
    "text", ["20260131T120000Z", "2026-W05-6", "2026-W05-6T12:00:00Z", "2026-1-3", "٢٠٢٦-01-31", "0000-01-01", "", 5]
)
def test_only_the_documented_formats_of_times_and_dates_are_accepted(field, text):
    with pytest.raises(ValidationError):
        field.deserialize(text)


@pytest.mark.parametrize("text", ["2026-01-31T13:00:00+01:00", "2026-01-31t12:00:00.000000000z"])
def test_every_format_of_rfc_3339_is_accepted(text):
    assert base.Moment().deserialize(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "settings, hsts",
    [
        ({"public_url": "http://127.0.0.1:8000"}, None),
        ({"public_url": "https://video.example"}, "max-age=31536000"),
        ({"public_url": "https://video.example", "hsts_subdomains": True}, "max-age=31536000; includeSubDomains"),
    ],
)
def test_an_https_public_url_sends_hsts(app, settings, hsts):
    configured = create_app(app.extensions["settings"].replace(docs=False, **settings))
    client = configured.test_client()
    for path, status in (("/livez", 200), ("/openapi.json", 404), ("/docs", 404), ("/docs/swagger-ui.css", 404)):
        response = client.get(path)
        assert (response.status_code, response.headers.get("Strict-Transport-Security")) == (status, hsts)
    close_app(configured)
