"""Signed end-user addresses: a front end signs its viewer's address with its API key, for one call and one minute."""

import hmac
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from streamsvc.security.end_user_addresses import compute_signature, derive_signing_secret
from tests.worlds.sessions_steps import Person, code_of, new_person, operator

ROOT = Path(__file__).parent.parent.parent
PATH = "/v1/sessions"


@pytest.fixture
def front(app):
    """A front end's API key: {id, token}."""
    return operator(app).post("/v1/admin/api-keys", {"name": "web", "scopes": ["frontend"]}).json


def header(key, address="203.0.113.9", method="POST", path=PATH, later_s=0, signed_as=None, token=None):
    at_s = int(time.time()) + later_s
    signed = compute_signature(derive_signing_secret(token or key["token"]), method, path, at_s, signed_as or address)
    return {"X-End-User-Address": f"{address}; key={key['id']}; t={at_s}; sig={signed}"}


def fail_sign_in(client, headers, email="nobody@example.com"):
    return client.post(PATH, json={"email": email, "password": "a wrong password"}, headers=headers)


def test_rate_limits_count_viewers_not_the_front_end(client, front):
    statuses = [fail_sign_in(client, header(front, "203.0.113.1"), f"{n}@example.com").status_code for n in range(11)]
    assert statuses == [401] * 10 + [429]
    assert fail_sign_in(client, header(front, "203.0.113.2")).status_code == 401
    assert fail_sign_in(client, {}).status_code == 401, "the front end's own address is counted separately"


def test_sessions_store_the_viewers_address(client, front):
    ann = new_person(client)
    assert ann.again(headers=header(front, "2001:db8::7")).sign_in().status_code == 201
    assert ann.get("/v1/sessions").json["items"][0]["address"] == "2001:db8::7"


def test_the_front_ends_clock_may_be_a_minute_ahead(client, front):
    assert fail_sign_in(client, header(front, later_s=60)).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"signed_as": "203.0.113.10"},
        {"path": "/v1/accounts"},
        {"method": "GET"},
        {"token": "sk_somebody-elses"},
        {"later_s": -3_600},
        {"later_s": -60},
        {"later_s": 3_600},
        {"address": "::::::"},
    ],
    ids=str,
)
def test_an_invalid_signature_is_rejected(client, front, wrong):
    assert code_of(fail_sign_in(client, header(front, **wrong))) == (400, "end_user_address_invalid")
    assert fail_sign_in(client, header(front)).status_code == 401


@pytest.mark.parametrize("text", ["", "203.0.113.9", "203.0.113.9; key=key_x; t=1; sig=" + "0" * 64, "x" * 4000])
def test_a_malformed_header_is_rejected(client, front, text):
    assert code_of(fail_sign_in(client, {"X-End-User-Address": text})) == (400, "end_user_address_invalid")


def test_keys_without_the_scope_and_revoked_keys_cannot_sign(app, client, front):
    admin = operator(app)
    other = admin.post("/v1/admin/api-keys", {"name": "other", "scopes": ["catalog", "support"]}).json
    assert fail_sign_in(client, header(other)).status_code == 400
    assert fail_sign_in(client, header(front)).status_code == 401
    admin.delete(f"/v1/admin/api-keys/{front['id']}")
    assert fail_sign_in(client, header(front)).status_code == 400


def test_a_key_cannot_sign_from_the_moment_at_which_it_expires(app, client, clock):
    end = clock.at + timedelta(hours=1)
    body = {"name": "web", "scopes": ["frontend"], "expires_at": end.isoformat()}
    key = operator(app).post("/v1/admin/api-keys", body).json
    for at, status in ((end - timedelta(seconds=1), 401), (end, 400)):
        clock.at = at
        assert fail_sign_in(client, header(key)).status_code == status


def test_the_example_in_the_documentation_is_accepted(client, front):
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "operators.md").read_text(), re.DOTALL)
    names = {"hmac": hmac, "time": time}
    exec(example, names)
    ann = new_person(client)
    headers = names["end_user_address"](front["id"], front["token"], "POST", PATH, "198.51.100.4")
    assert ann.again(headers=headers).sign_in().status_code == 201
    assert ann.get("/v1/sessions").json["items"][0]["address"] == "198.51.100.4"


def test_the_header_grants_no_access(client, front):
    assert code_of(Person(client, "web", token=front["token"]).get("/v1/admin/accounts")) == (403, "insufficient_scope")
