"""The access log and the log in JSON: complete, with routes and names, and without one secret of a whole walk."""

import json
import logging
import re
import socket
from urllib.parse import parse_qs, urlsplit

import pytest

from streamsvc import logs
from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import Peer
from streamsvc.http.access_log import AccessLogMiddleware
from streamsvc.rules.trace_context import parse_trace_id
from tests.conftest import migrate_database
from tests.service.test_mail import smtp_server
from tests.service.test_start import PRODUCTION
from tests.worlds import stripe_server as stripe_world
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.playback_steps import FEATURES, FILM
from tests.worlds.service import running_service, wait_until

pytestmark = pytest.mark.either_database

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
EMAIL, PASSWORD, NEW_PASSWORD = "ann@tv.test", "seven red herons", "eight blue herons"
SEARCHED = "a-title-that-nobody-may-know"
PLAN = {
    "name": "Standard",
    "features": FEATURES,
    "prices": [{"currency": "EUR", "amount_minor": 999, "interval": "month", "tax": "inclusive"}],
}


class Walk:
    """Calls of a service, each with an id of its own, and the secrets that were sent and received on the way."""

    def __init__(self, service, inbox):
        self.service, self.inbox, self.secrets, self.calls = service, inbox, set(PRODUCTION.values()), []

    def call(self, method, path, body=None, token=None, status=(200, 201, 202, 204), **headers):
        request_id = f"walk-{len(self.calls)}"
        headers = {"Idempotency_Key": f"secret-key-{request_id}"} | headers if method == "POST" else headers
        got, document = self.service.call(method, path, body, token, X_Request_Id=request_id, **headers)
        assert got in status, (method, path, got, document)
        self.calls.append((request_id, method, path, got))
        self.secrets |= {token} if token else set()
        self.secrets |= set(find_secrets(body)) | set(find_secrets(document))
        return document

    def mailed_token(self, subject):
        """The token of the mail with this subject, once it has come."""

        def find():
            for _, message in self.inbox.messages:
                if message["Subject"] == subject:
                    return message.get_body(("plain",)).get_content().split("token=")[1].split()[0]
            return None

        token = wait_until(find)
        self.secrets.add(token)
        return token


def find_secrets(document, name=""):
    """What a document has that no log may have: secrets, addresses, ids, and the parameters of URLs."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from find_secrets(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from find_secrets(value, name)
    elif isinstance(document, str):
        if re.fullmatch(r"(email|password|token|binding|client_secret|grant|id|\w+_id)", name) and len(document) > 6:
            yield document
        if "://" in document:
            yield from (value for values in parse_qs(urlsplit(document).query).values() for value in values)


@pytest.fixture(scope="module", params=["gunicorn", "granian"])
def walk(request, database, new_database, tmp_path_factory):
    """A service in production with an access log in JSON, after a viewer's whole walk; also its lines."""
    url, folder = new_database(database, "logged", migrate_database), tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch, smtp_server() as (inbox, port), stripe_world.stripe_server() as stripe:
        accept_key(patch, stripe[1])
        changes = {
            "SERVER": request.param,
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "ACCESS_LOG": "1",
            "METRICS": "1",
            "WORKERS": "1",
            "MAIL_URL": f"smtp://127.0.0.1:{port}",
            "STRIPE_URL": stripe[0],
        }
        settings = {f"STREAMSVC_{name}": value for name, value in (PRODUCTION | changes).items()}
        with running_service(url, folder, **settings) as service:
            done = Walk(service, inbox)
            take_the_walk(done)
            send_broken_request(service.port)
        done.lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        done.text, done.server = service.log.read_text(), request.param
        done.access = [line for line in done.lines if line["logger"] == "streamsvc.access"]
        done.stripe_requests = stripe[1].requests
        yield done


def accept_key(patch, state):
    """Have the local Stripe accept the key of the settings."""
    accepted = type(state).handle_request
    patch.setattr(stripe_world, "SECRET_KEY", PRODUCTION["STRIPE_SECRET_KEY"])
    state.handle_request = lambda method, path, params, key, api_key="": accepted(
        state, method, path, params, key, api_key
    )


def take_the_walk(walk):
    """Sign up, sign in, reset, magic link, payment, playback; with errors on the way."""
    key = walk.service.command("api-keys", "create", "--scope", "admin", "--name", "walk").stdout.split()[-1]
    account = walk.call("POST", "/v1/accounts", {"email": EMAIL, "password": PASSWORD, "country": "DE"})
    token = account["token"]
    walk.account_id = account["account"]["id"]
    walk.call("PUT", "/v1/email-verifications", {"token": walk.mailed_token("Confirm your email address")})
    walk.call("POST", "/v1/sessions", {"email": EMAIL, "password": "a wrong password"}, status=(401,))
    walk.call("POST", "/v1/password-resets", {"email": EMAIL})
    reset = {"token": walk.mailed_token("Reset your password"), "password": NEW_PASSWORD}
    walk.call("PUT", "/v1/password-resets", reset)
    walk.call("GET", "/v1/sessions/current", token=token, status=(401,))
    binding = walk.call("POST", "/v1/magic-links", {"email": EMAIL})["binding"]
    link = {"token": walk.mailed_token("Your sign-in link"), "binding": binding}
    token = walk.call("POST", "/v1/sessions/magic-link", link)["token"]
    walk.call("GET", "/v1/sessions/current", token=token, traceparent=TRACEPARENT)  # a hot read
    walk.call("PUT", "/v1/admin/plans/standard", PLAN, key)
    film = walk.call("PUT", "/v1/admin/titles/film", FILM, key)["id"]
    walk.call("GET", f"/v1/catalog/titles/{film}", token=token)
    walk.call("GET", f"/v1/catalog/search?q={SEARCHED}", token=token)
    walk.call("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token, traceparent=TRACEPARENT)
    price = walk.call("GET", "/v1/plans?country=DE")["items"][0]["prices"][0]["id"]
    walk.call("POST", "/v1/subscriptions", {"price_id": price}, token)
    stream = walk.call("POST", "/v1/playback", {"item_id": film}, token)
    grant = f"grant={stream['grant']['token']}"
    walk.call("GET", f"/v1/playback/{stream['stream_id']}/master.m3u8?{grant}", status=(401, 404))
    walk.call("GET", "/v1/playback/verify", status=(204,), X_Original_URI=f"/media/{film}/1.ts?{grant}")
    walk.call("DELETE", f"/v1/playback/{stream['stream_id']}", token=token)
    walk.call("GET", f"/v1/no-such-path/{SEARCHED}", status=(404,))
    walk.secrets |= {SEARCHED, "secret-key-walk", "pm_card_visa", walk.account_id}


def send_broken_request(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET /v1/x?token={SEARCHED} HTTP/9.\x01\r\nHost: x\r\n\r\n".encode())
        connection.makefile("rb").read()


def test_no_secret_of_the_walk_is_in_the_log(walk):
    assert len(walk.secrets) > 25 and {EMAIL, PASSWORD, NEW_PASSWORD} <= walk.secrets
    shown = {secret for secret in walk.secrets if len(secret) > 10 and secret in walk.text}
    assert shown <= {PRODUCTION["PUBLIC_URL"]}


def test_every_request_has_one_line_with_its_route(walk):
    lines = {line["request_id"]: line for line in walk.access}
    assert len(lines) == len(walk.access)
    for request_id, method, path, status in walk.calls:
        line = lines[request_id]
        assert (line["method"], line["status"]) == (method, status), path
        pattern = re.sub(r"<[^>]+>", "[^/]+", line["route"] or ".*")
        assert line["route"] or "no-such-path" in path
        assert re.fullmatch(pattern, path.partition("?")[0])
        assert line["duration_ms"] > 0 and (line["bytes"] > 0) == (status != 204)
        assert line.keys() <= {
            *("time", "level", "logger", "message", "request_id", "trace_id", "method", "route", "status"),
            *("duration_ms", "bytes", "account", "operator"),
        }


def test_an_account_has_the_same_name_in_every_line(walk):
    names = {line["account"] for line in walk.access if "account" in line}
    assert [walk.service.command("log-name", walk.account_id).stdout.strip()] == list(names)
    routes = {line["route"] for line in walk.access if line.get("account")}
    assert {"/v1/sessions/current", "/v1/subscriptions", "/v1/catalog/titles/<title_id>"} <= routes
    assert {line["route"] for line in walk.access if "operator" in line} == {
        "/v1/admin/plans/<code>",
        "/v1/admin/titles/<path:external_id>",
    }


def test_a_trace_is_taken_and_passed_on(walk):
    traced = [line["route"] for line in walk.access if line.get("trace_id") == TRACE_ID]
    assert traced == ["/v1/sessions/current", "/v1/payment-methods"]


def test_a_request_that_the_server_refuses_is_logged_too(walk):
    if walk.server == "gunicorn":  # Granian's own part of the process refuses it, and says nothing
        assert [line["status"] for line in walk.access if line["message"] == "request not read"] == [400]


@pytest.mark.one_database
@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        TRACEPARENT + "-x",
        "ff" + TRACEPARENT[2:],
        TRACEPARENT.replace(TRACE_ID, "0" * 32),
        TRACEPARENT.replace("00f067aa0ba902b7", "0" * 16),
        "secret",
    ],
)
def test_a_traceparent_that_is_invalid_is_ignored(header):
    assert parse_trace_id(TRACEPARENT) == parse_trace_id("01" + TRACEPARENT[2:] + "-more") == TRACE_ID
    assert parse_trace_id(header) is None


@pytest.mark.one_database
def test_only_peers_of_the_trace_get_it(app):
    received = []

    class Handler(LocalHandler):
        def do_GET(self):
            received.append(self.headers.get("traceparent"))
            self.respond(200)

    with local_server(Handler) as server, app.test_request_context(headers={"traceparent": TRACEPARENT}):
        for is_traced in (True, False):
            send_request(Peer("test", 5, is_traced=is_traced), "GET", server.url)
    assert received == [TRACEPARENT, None]


@pytest.fixture
def lines():
    """The lines of text that the access log writes in this process."""
    written, handler = [], logging.Handler()
    handler.setFormatter(logs.make_formatter("text"))
    handler.emit = lambda record: written.append(handler.format(record))
    log = logging.getLogger(logs.ACCESS_LOGGER)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield written
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


@pytest.mark.one_database
def test_a_line_of_text_has_the_same_fields(new_app, database, lines):
    app = new_app(database, "access_text", access_log=True)
    response = app.test_client().get("/livez?x=secret")
    response.close()
    [line] = lines
    assert f"request_id={response.headers['X-Request-Id']} method=GET route=/livez status=" in line
    assert "bytes=" in line and "secret" not in line


@pytest.mark.one_database
def test_the_log_is_off_by_default(app, lines):
    assert app.test_client().get("/livez").status_code == 200
    assert lines == []


@pytest.mark.one_database
def test_an_app_that_fails_and_a_client_that_leaves_are_logged(lines):
    def start(*_):
        return None

    def fail(environ, start_response):
        raise OSError

    def stream(environ, start_response):
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    environ = {"REQUEST_METHOD": "BREW\n"}
    with pytest.raises(OSError):
        AccessLogMiddleware(fail)(environ, start)
    chunks = AccessLogMiddleware(stream)(environ, start)
    next(iter(chunks))
    chunks.close()
    failed, left = lines
    assert "status=500" in failed and "method=None" in failed
    assert "status=200" in left and "bytes=3" in left
