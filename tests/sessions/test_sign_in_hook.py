"""The sign-in hook: the operator's own service, over HTTP, allows or denies a sign-in, or fails."""

import ast
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest

import streamsvc
from streamsvc.gateways import mail, peers
from streamsvc.gateways.peers import CallFailed
from streamsvc.gateways.sign_in_hook import post_hook
from streamsvc.operations.sign_in import hook as hook_calls
from streamsvc.rules.circuit_breaker import CircuitBreaker
from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.rules.sign_in.hook import parse_decision
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.worlds.authenticator import Authenticator
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import code_of, mailed_token, new_person, operator, verify

HOOK_SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes for tests alone").decode()
DEADLINE_MS = 200


class Hook:
    """What the hook has been asked, and how it responds."""

    def __init__(self):
        self.requests, self.response, self.drip_s = [], (200, {"allow": True}), 0
        self.headers = {}


@pytest.fixture
def hook(app, monkeypatch):
    hook = Hook()

    class Handler(LocalHandler):
        wbufsize = 0  # each byte leaves at once

        def do_POST(self):
            hook.requests.append((dict(self.headers), self.read_body()))
            if not hook.drip_s:
                self.respond(*hook.response, **hook.headers)
                return
            try:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"allow": true}':
                    self.wfile.write(bytes([byte]))
                    time.sleep(hook.drip_s)
            except OSError:
                self.close_connection = True

        do_GET = do_POST

    with local_server(Handler) as server:
        settings = app.extensions["settings"].replace(
            webhooks_to_private=True,
            sign_in_hook_url=f"{server.url}/hook",
            sign_in_hook_secret=HOOK_SECRET,
            sign_in_hook_timeout_ms=DEADLINE_MS,
        )
        monkeypatch.setitem(app.extensions, "settings", settings)
        hook.url = server.url
        yield hook


def set_policy(app, monkeypatch, policy):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(sign_in_hook_on_failure=policy))


@pytest.fixture
def ann(client):
    return new_person(client)


def audited(app, action):
    return operator(app).get(f"/v1/admin/audit?action={action}").json["items"]


def test_the_hook_gets_a_signed_request_and_can_allow(app, ann, hook):
    response = ann.again().sign_in(device={"name": "Phone", "kind": "phone"})
    assert response.status_code == 201
    [(headers, body)] = hook.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(HOOK_SECRET.removeprefix("whsec_"))
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    sent = json.loads(body)
    assert (sent["type"], sent["data"]["account_id"]) == ("sign_in.requested", response.json["account"]["id"])
    assert sent["data"]["device"] == {"id": None, "name": "Phone", "kind": "phone"}
    assert (sent["data"]["method"], sent["data"]["address"]) == ("password", "127.0.0.1")
    assert ann.password not in body.decode() and ann.email not in body.decode()


def test_wrong_credentials_are_never_asked_about(ann, hook):
    ann.password = "a wrong password"
    assert ann.again().sign_in().status_code == 401
    assert hook.requests == []


def test_a_denied_sign_in_is_told_why_and_changes_nothing(app, ann, hook):
    hook.response = 200, {"allow": False, "reason": "This country is not served."}
    response = ann.again().sign_in()
    assert code_of(response) == (403, "sign_in_denied")
    assert response.json["reason"] == "This country is not served."
    hook.response = 200, {"allow": False}
    assert "reason" not in ann.again().sign_in().json
    assert len(ann.get("/v1/sessions").json["items"]) == 1
    denied = audited(app, "authn_hook_denied")
    assert [event["details"]["why"] for event in denied] == [None, "This country is not served."]


def test_every_method_asks_and_can_be_denied(app, client, ann, hook, clock):
    verify(app, ann)
    phone = Authenticator()
    options = ann.post("/v1/passkeys/options").json
    ann.post("/v1/passkeys", {"credential": phone.make(options), "name": "Phone"})
    codes = client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    ann.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True})
    binding = client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
    link = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}

    def passkey():
        options = client.post("/v1/sessions/passkey-options").json
        return client.post("/v1/sessions/passkey", json={"credential": phone.sign(options)})

    def poll():
        return client.post("/v1/token", data={"grant_type": GRANT_TYPE, "device_code": codes["device_code"]})

    hook.response = 200, {"allow": False}
    assert code_of(passkey()) == (403, "sign_in_denied")
    assert code_of(client.post("/v1/sessions/magic-link", json=link)) == (403, "sign_in_denied")
    hook.response = 500, {}
    assert poll().status_code == 503, "the television polls again"
    hook.response = 200, {"allow": True}
    assert (passkey().status_code, client.post("/v1/sessions/magic-link", json=link).status_code) == (201, 201)
    hook.response = 200, {"allow": False}
    assert [poll().json["error"] for _ in range(2)] == ["access_denied"] * 2
    methods = [json.loads(body)["data"]["method"] for _, body in hook.requests]
    assert methods == ["passkey", "magic_link", "device_code", "passkey", "magic_link", "device_code"]


FAILURES = {
    "500": (500, {"allow": True}),
    "204": (204, b""),
    "redirect": (302, b""),
    "no JSON": (200, b"allow"),
    "not UTF-8": (200, b"\xff{}"),
    "a list": (200, [True]),
    "nested": (200, b"[" * 10_000),
    "a word": (200, {"allow": "true"}),
    "no decision": (200, {}),
    "too long": (200, b'{"allow": true, "x": "' + b"x" * 20_000 + b'"}'),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_denies_unless_the_policy_is_to_allow(app, ann, hook, monkeypatch, name):
    hook.response, hook.headers = FAILURES[name], {"Location": f"{hook.url}/elsewhere"} if name == "redirect" else {}
    denied = ann.again().sign_in()
    assert code_of(denied) == (503, "unavailable") and denied.headers["Retry-After"]
    set_policy(app, monkeypatch, "allow")
    assert ann.again().sign_in().status_code == 201
    assert len(hook.requests) == 2, "redirects are not followed"
    failed = audited(app, "authn_hook_failed")
    assert [event["details"]["policy"] for event in failed] == ["allow", "deny"]
    assert ("the body is not JSON" in failed[0]["details"]["why"]) == (name in ("no JSON", "not UTF-8", "too long"))


@pytest.mark.parametrize("drip_s", [5, 0.02])
def test_the_deadline_is_that_of_the_whole_call(ann, hook, drip_s):
    """Each byte of a dripping response comes long before any timeout of a read."""
    hook.drip_s = drip_s
    started = time.monotonic()
    assert code_of(ann.again().sign_in()) == (503, "unavailable")
    assert time.monotonic() - started < DEADLINE_MS / 1000 + 0.3


def test_after_failures_in_a_row_the_hook_is_left_alone_for_a_while(ann, hook):
    hook.response = 500, {}
    assert [ann.again().sign_in().status_code for _ in range(7)] == [503] * 7
    assert len(hook.requests) == 5


def test_a_circuit_breaker_tries_again_once_at_a_time():
    breaker = CircuitBreaker(max_failures=2, open_s=10)
    assert breaker.allows_call(0)
    breaker.record_failure(0, 0)
    assert breaker.allows_call(0)
    breaker.record_failure(0, 0)
    assert [breaker.allows_call(at) for at in (9, 10, 10, 19, 20)] == [False, True, False, False, True]
    breaker.record_success()
    assert breaker.allows_call(20) and breaker.allows_call(20)


def test_a_late_failure_of_a_call_from_before_leaves_an_open_circuit_as_it_is():
    breaker = CircuitBreaker(max_failures=2, open_s=10)
    for started_s in (0, 1):
        breaker.record_failure(started_s, 2)
    breaker.record_failure(1.5, 9)
    assert [breaker.allows_call(at) for at in (11, 12)] == [False, True]
    breaker.record_failure(1.5, 13)  # while the circuit is tried
    breaker.record_failure(12, 14)  # the trial itself
    assert [breaker.allows_call(at) for at in (23, 24)] == [False, True]


def test_a_service_is_tried_with_one_call_even_if_that_takes_longer_than_the_circuit_is_open():
    breaker = peers._find_circuit(mail.PEER, "smtp.example")
    for _ in range(mail.PEER.max_failures):
        breaker.record_failure(0, 20)
    assert [breaker.allows_call(at) for at in (30, 40, 49)] == [True, False, False]
    breaker.record_failure(30, 50)
    assert [breaker.allows_call(at) for at in (59, 60)] == [False, True]


@pytest.mark.parametrize("url", ["https://127.0.0.1/x", "https://10.0.0.8/x", "http://example.com/x", "https:///x"])
def test_private_addresses_are_not_called(url):
    with pytest.raises(CallFailed, match=r"Forbidden|https://"):
        post_hook(url, b"{}", {}, 1, allow_private=False)


def test_the_hook_is_never_called_within_a_transaction(app, hook):
    with app.app_context():
        db.session.connection()
        with pytest.raises(RuntimeError, match="outside of a transaction"):
            hook_calls.require_permission(None, "password", None, None)
        db.session.rollback()
    assert hook.requests == []


def test_a_reason_is_short_text():
    assert parse_decision(b'{"allow": false, "reason": "No."}').reason == "No."
    for reason in ("x" * 201, "", "a\u0007", 7, None, {}):
        decision = parse_decision(json.dumps({"allow": False, "reason": reason}).encode())
        assert (decision.is_allowed, decision.reason) == (False, None)


@pytest.mark.parametrize(
    "values",
    [
        {"STREAMSVC_SIGN_IN_HOOK_URL": "https://risk.example.com/"},
        {"STREAMSVC_SIGN_IN_HOOK_SECRET": HOOK_SECRET},
        {"STREAMSVC_SIGN_IN_HOOK_URL": "http://risk.example.com/", "STREAMSVC_SIGN_IN_HOOK_SECRET": HOOK_SECRET},
        {"STREAMSVC_SIGN_IN_HOOK_URL": "https://risk.example.com/", "STREAMSVC_SIGN_IN_HOOK_SECRET": "whsec_c2hvcnQ="},
    ],
)
def test_incomplete_settings_are_refused_without_the_secret(values, tmp_path):
    with pytest.raises(SettingsError, match="SIGN_IN_HOOK") as error:
        Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), **values})
    assert "c2hvcnQ" not in str(error.value) and HOOK_SECRET not in str(error.value)


def test_every_sign_in_asks_the_hook():
    """Each view that creates a session for credentials that it has verified; a sign-up has none yet."""
    folder = Path(streamsvc.__file__).parent / "blueprints" / "sessions"
    callers = {}
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and "password.create_session(" in (text := ast.unparse(node)):
                callers[node.name] = "hook.require_permission(" in text or "poll_device_code(" in text
    assert {name for name, asks in callers.items() if not asks} == {"create_account"}
    assert len(callers) >= 6
