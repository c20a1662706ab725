"""Secrets in responses that are replayed: not stored, and put back where they were and nowhere else."""

import inspect
import json
from datetime import UTC, datetime

import flask_migrate
import pytest
import sqlalchemy as sa

from streamsvc.http.idempotency import PLACEHOLDERS
from streamsvc.http.stored_secrets import extract_secrets, restore_secrets
from streamsvc.models import IdempotencyKey
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import UtcTime, db
from tests.worlds.sessions_steps import code_of, everything, new_person, operator

SECRET_NAMES = {"token", "secret", "otpauth_uri", "device_code", "user_code", "verification_uri_complete"}
STORED = {
    "createAccount",
    "createSession",
    "createPasskeySession",
    "createMagicLinkSession",
    "createOidcSession",
    "createOperatorSession",
    "createImpersonation",
    "createGuest",
    "createDeviceCode",
    "createApiKey",
    "createWebhookEndpoint",
    "rotateWebhookSecret",
    "startTotp",
}
"""Idempotent operations whose responses contain secrets, all made by `generate_secret`."""
SHORT_LIVED = {"startPlayback"}
"""Operations with grants that expire within minutes, and at once with their stream."""
EVERY_PLACEHOLDER = " ".join(PLACEHOLDERS)
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def ann(client):
    return new_person(client)


def member_names(schema, schemas, seen=()):
    reference = schema.get("$ref", "").rpartition("/")[2]
    if reference:
        return set() if reference in seen else member_names(schemas[reference], schemas, (*seen, reference))
    inner = [*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items", {})]
    names = set(schema.get("properties", {}))
    return names.union(*(member_names(s, schemas, seen) for s in [*schema.get("properties", {}).values(), *inner] if s))


def test_every_response_with_a_secret_is_known_and_its_secret_comes_from_generate_secret(app):
    document = app.test_client().get("/openapi.json").json
    found = set()
    for operation in (o for path in document["paths"].values() for o in path.values() if "operationId" in o):
        if not any("IdempotencyKey" in p.get("$ref", "") for p in operation.get("parameters", ())):
            continue
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values() if status.startswith("2") else ():
                if member_names(content["schema"], document["components"]["schemas"]) & SECRET_NAMES:
                    found.add(operation["operationId"])
    assert found == STORED | SHORT_LIVED
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        first, *rest = view.__name__.split("_")
        if first + "".join(map(str.capitalize, rest)) in STORED and hasattr(view, "takes_idempotency_key"):
            source = inspect.getsource(inspect.unwrap(view))
            assert "generate_secret(" in source or "_start_device_code(" in source, view
            assert ("require_recent" in source) == (view.before_replay is not None), view


def requests(app, ann):
    """(person, method, path, body) of requests whose responses contain secrets beside a text of the caller's."""
    admin, name = operator(app), EVERY_PLACEHOLDER[:90]
    device = {"device": {"name": name, "kind": "web"}}
    account = {"email": "new@example.com", "password": ann.password, "country": "DE", "name": name, **device}
    yield ann, "post", "/v1/sessions", {"email": ann.email, "password": ann.password, **device}
    yield ann, "post", "/v1/accounts", account
    yield ann, "post", "/v1/device-codes", device
    yield ann, "post", "/v1/account/totp", None
    yield admin, "post", "/v1/admin/api-keys", {"name": name, "scopes": ["catalog"]}
    yield admin, "post", "/v1/admin/webhook-endpoints", {"url": "https://example.com/[secret%20shown%20once]"}
    yield admin, "post", f"/v1/admin/accounts/{ann.get('/v1/account').json['id']}/impersonations", {"reason": name}


def test_a_replayed_response_is_the_first_one_and_no_secret_of_it_is_stored(app, ann):
    secrets = set()
    for n, (person, method, path, body) in enumerate(requests(app, ann)):
        first, again = (getattr(person, method)(path, body, headers={"Idempotency-Key": f"k{n}"}) for _ in range(2))
        assert first.status_code in (200, 201), first.json
        assert (again.headers.get("Idempotency-Replayed"), again.data) == ("true", first.data), path
        secrets |= {text for name, text in first.json.items() if name in SECRET_NAMES}
    assert len(secrets) >= 9
    database = everything(app)
    assert not [secret for secret in secrets if secret in database]


def test_a_secret_of_an_authenticator_is_not_shown_again_after_the_reauthentication(ann, clock):
    first = ann.post("/v1/account/totp", headers=KEY)
    clock.advance(minutes=9)
    assert ann.post("/v1/account/totp", headers=KEY).json == first.json
    clock.advance(minutes=2)
    refused = ann.post("/v1/account/totp", headers=KEY)
    assert code_of(refused) == (403, "reauthentication_required")
    assert first.json["secret"] not in refused.text


def test_a_secret_of_an_authenticator_is_not_shown_again_once_it_is_active(ann, clock):
    secret = ann.post("/v1/account/totp", headers=KEY).json["secret"]
    step = int(clock.at.timestamp()) // STEP_S
    assert ann.put("/v1/account/totp", {"code": totp_code(secret, step)}).status_code == 200
    assert code_of(ann.post("/v1/account/totp", headers=KEY)) == (409, "totp_active")


def test_two_secrets_in_one_member_are_put_back():
    secrets = {"[a]": "ppppp", "[b]": "qqqqq"}
    body = json.dumps({"list": [{"uri": "x ppppp-qqqqq-ppppp"}], "name": "[a] [b]"})
    stored, members = extract_secrets(body, secrets)
    assert not any(secret in stored + json.dumps(members) for secret in secrets.values())
    assert json.loads(restore_secrets(stored, members, secrets.__getitem__)) == json.loads(body)
    with pytest.raises(ValueError, match="string value"):
        extract_secrets('{"ppppp": 1}', secrets)


def test_the_migration_finds_the_secrets_of_stored_responses(database, new_app):
    app = new_app(database, "secret_members")
    body = json.dumps({"token": "ses_[secret shown once]", "name": "[secret shown once]"})
    row = {"id": "k", "fingerprint": "f", "created_at": datetime(2026, 1, 1, tzinfo=UTC), "status": 201, "body": body}
    old_keys = sa.table(
        "idempotency_keys", *(sa.column(c) for c in row if c != "created_at"), sa.column("created_at", UtcTime())
    )
    with app.app_context():
        flask_migrate.downgrade(revision="0032")
        db.session.execute(sa.insert(old_keys).values(row))
        db.session.commit()
        flask_migrate.upgrade()
        key = db.session.get(IdempotencyKey, "k")
        restored = json.loads(restore_secrets(key.body, key.secret_members, lambda _: "s"))
        db.session.rollback()
    assert restored == {"token": "ses_s", "name": "[secret shown once]"}
