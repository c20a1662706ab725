"""Bad input is told apart, in one form, and never breaks anything: RFC 9457 for every error."""

import json
from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from streamsvc.app import create_app
from streamsvc.rules.sign_in.sessions import new_token
from streamsvc.schemas import base
from streamsvc.security.authentication import public
from streamsvc.settings import Settings
from tests.conftest import close_app

SIGN_IN = {"email": "ann@example.com", "password": "seven red herons"}
DEEP = b'{"email":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def post(client, body, content_type="application/json", path="/v1/sessions"):
    return client.post(path, data=body, content_type=content_type)


def is_problem(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert answer.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(answer.json)
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    return answer.json


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
        "cut",
        "empty",
        "nan",
        "infinity",
        "twice",
        "huge int",
        "utf-16",
        "bom",
        "not utf-8",
        "half",
        "half key",
        "deep",
    ],
)
def test_what_is_no_plain_json_is_malformed(client, body):
    if body:
        is_problem(post(client, body), 400, "malformed_json")
    else:
        assert set(is_problem(post(client, body), 422, "invalid")["errors"]) == {"email", "password"}


@pytest.mark.parametrize("value", [None, [], {}, True, 1, 1.5, 2**63, -1, "", "\x00", "x" * 300_000])
@pytest.mark.parametrize("field", ["email", "password"])
def test_a_value_of_the_wrong_kind_is_named(client, field, value):
    answer = post(client, json.dumps({**SIGN_IN, field: value}))
    if answer.status_code == 413:
        is_problem(answer, 413, "request_entity_too_large")
    elif answer.status_code == 401:
        assert (field, value) == ("password", "\x00")
    else:
        assert field in is_problem(answer, 422, "invalid")["errors"]


@pytest.mark.parametrize("body", [b"[]", b"3", b'"text"', b"null", b"true"])
def test_a_body_that_is_no_object_is_invalid(client, body):
    is_problem(post(client, body), 422, "invalid")


def test_an_unknown_field_is_refused_and_named(client):
    answer = post(client, json.dumps({**SIGN_IN, "pasword": "x"}))
    assert is_problem(answer, 422, "invalid")["errors"] == {"pasword": ["Unknown field."]}


def test_an_unknown_query_parameter_is_refused_and_named(client):
    answer = client.get("/v1/plans?contry=DE")
    assert list(is_problem(answer, 422, "invalid")["errors"]) == ["contry"]
    is_problem(client.get("/livez?x=1"), 422, "invalid")


def test_a_query_parameter_given_twice_is_refused(client):
    assert "country" in is_problem(client.get("/v1/plans?country=DE&country=FR"), 422, "invalid")["errors"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_another_media_type_is_refused(client, content_type):
    is_problem(post(client, json.dumps(SIGN_IN), content_type), 415, "unsupported_media_type")


def test_an_unknown_charset_is_refused(client):
    is_problem(post(client, b"{}", "application/json; charset=utf-16"), 415, "unsupported_media_type")


def test_too_large_a_body_is_refused(client):
    is_problem(post(client, b"x" * 300_000), 413, "request_entity_too_large")


def test_an_unknown_path_and_a_wrong_method_are_told_apart(client):
    is_problem(client.get("/v1/nowhere"), 404, "not_found")
    wrong = client.delete("/v1/plans")
    is_problem(wrong, 405, "method_not_allowed")
    assert "GET" in wrong.headers["Allow"]
    is_problem(client.trace("/v1/plans"), 405, "method_not_allowed")


@pytest.mark.parametrize("given", ["abc-123", "A.b_c"])
def test_a_well_formed_request_id_is_taken_over(client, given):
    assert client.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["a b", "x" * 200, "<script>", ""])
def test_an_ill_formed_request_id_is_replaced(client, given):
    answer = client.get("/livez", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"].startswith("req_")


def test_every_answer_carries_the_headers_that_keep_browsers_out_of_trouble(client):
    for path in ("/livez", "/v1/nowhere", "/v1/plans"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Set-Cookie" not in headers


def test_a_view_is_closed_unless_it_says_otherwise(client):
    answer = client.get("/v1/sessions/current")
    is_problem(answer, 401, "not_signed_in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = client.get("/v1/sessions/current", headers={"Authorization": "Bearer sst_wrong"})
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_every_401_says_how_to_sign_in(client):
    answer = post(client, json.dumps(SIGN_IN))
    is_problem(answer, 401, "invalid_credentials")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_country_that_there_is_not_is_refused(client):
    stranger = {**SIGN_IN, "country": "ZZ"}
    assert "country" in is_problem(post(client, json.dumps(stranger), path="/v1/accounts"), 422, "invalid")["errors"]
    is_problem(client.get("/v1/plans?country=XX"), 422, "invalid")


@pytest.mark.parametrize("path", ["/v1/sessions/current", "/v1/plans"])
def test_a_database_that_lets_nobody_in_is_told_as_an_outage(path):
    nowhere = Settings(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key=("x" * 32,))
    asking = {"Authorization": f"Bearer {new_token()}"}
    answer = create_app(nowhere).test_client().get(path, headers=asking)
    assert is_problem(answer, 503, "unavailable") and answer.headers["Retry-After"]


def test_what_nobody_caught_is_told_in_general_words_and_logged_under_its_request(app, caplog):
    broken = create_app(app.extensions["settings"])
    broken.add_url_rule("/v1/broken", view_func=public(lambda: {}["a secret"]))
    told = is_problem(broken.test_client().get("/v1/broken"), 500, "internal_error")
    assert "secret" not in json.dumps(told)
    assert "KeyError: 'a secret'" in caplog.text and told["request_id"] in caplog.text
    close_app(broken)


@pytest.mark.parametrize("field", [base.Moment(), base.Day()])
@pytest.mark.parametrize(
    "text", ["20260131T120000Z", "2026-W05-6", "2026-W05-6T12:00:00Z", "2026-1-3", "٢٠٢٦-01-31", "0000-01-01", "", 5]
)
def test_only_the_documented_forms_of_times_and_dates_are_read(field, text):
    with pytest.raises(ValidationError):
        field.deserialize(text)


@pytest.mark.parametrize("text", ["2026-01-31T13:00:00+01:00", "2026-01-31t12:00:00.000000000z"])
def test_every_form_of_rfc_3339_is_read(text):
    assert base.Moment().deserialize(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "settings, sent",
    [
        ({"public_url": "http://127.0.0.1:8000"}, None),
        ({"public_url": "https://video.example"}, "max-age=31536000"),
        ({"public_url": "https://video.example", "hsts_subdomains": True}, "max-age=31536000; includeSubDomains"),
    ],
)
def test_where_viewers_come_by_https_browsers_are_told_to_come_no_other_way(app, settings, sent):
    made = create_app(app.extensions["settings"].replace(docs=False, **settings))
    client = made.test_client()
    for path, status in (("/livez", 200), ("/openapi.json", 404), ("/docs", 404), ("/docs/swagger-ui.css", 404)):
        answer = client.get(path)
        assert (answer.status_code, answer.headers.get("Strict-Transport-Security")) == (status, sent)
    close_app(made)
