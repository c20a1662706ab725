"""Sign-in with an OpenID Connect provider, against a provider over HTTP."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from streamsvc.gateways import oidc
from streamsvc.http import idempotency
from streamsvc.models import PendingFlow
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.oidc_provider import CLIENT
from tests.worlds.sessions_steps import Person, code_of, everything, mails, new_person, operator

SIGN_UP = {"country": "DE"}


@pytest.fixture
def app(app_with_provider):
    return app_with_provider


def start(client, **more):
    return client.post("/v1/sessions/oidc-options", json={"provider": "example", **more})


def complete(client, redirect, **more):
    return client.post("/v1/sessions/oidc", json={**redirect, **more})


def sign_in(client, provider, sign_up=None, **more):
    started = start(client, **({"sign_up": sign_up} if sign_up else {})).json
    return complete(client, provider.consent(started["authorization_url"]), binding=started["binding"], **more)


def link(person, provider):
    url = person.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    return person.post("/v1/identities", provider.consent(url))


@pytest.fixture
def ann(client, provider):
    """Ann, whose account is linked to her identity at the provider."""
    ann = new_person(client)
    assert link(ann, provider).status_code == 201
    return ann


def test_the_providers_are_listed(client):
    assert client.get("/v1/identity-providers").json == {"items": [{"name": "example"}], "next_cursor": None}
    assert start(client, provider="other").status_code == 404


def test_the_authorization_request_uses_the_code_flow_with_pkce_state_and_nonce(client, provider):
    url = start(client).json["authorization_url"]
    query = parse_qs(urlsplit(url).query)
    assert query.keys() == {
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert query["redirect_uri"] == ["http://127.0.0.1:8000/"]
    assert min(len(query[name][0]) for name in ("state", "nonce", "code_challenge")) >= 43


def test_a_linked_identity_signs_in(app, client, provider, ann):
    response = sign_in(client, provider, device={"name": "Laptop", "kind": "web"})
    assert (response.status_code, response.json["account"]["email"]) == (201, ann.email)
    assert Person(client, "", token=response.json["token"]).get("/v1/account").status_code == 200
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert event["details"]["method"] == "example"
    assert len(mails(app, ann.email, "factor_added")) == len(mails(app, ann.email, "new_device")) == 1


def test_a_matching_email_does_not_sign_in(client, provider):
    person = new_person(client, "ann")
    provider.user["email"] = person.email
    assert code_of(sign_in(client, provider)) == (409, "identity_unknown")
    assert code_of(sign_in(client, provider, SIGN_UP)) == (409, "email_taken")


def test_the_subject_identifies_the_account_not_the_email(client, provider, ann):
    bob = new_person(client, "bob")
    provider.user["email"] = bob.email
    assert sign_in(client, provider).json["account"]["email"] == ann.email


def test_a_sign_up_creates_an_account_without_a_password(app, client, provider):
    response = sign_in(client, provider, SIGN_UP)
    account = response.json["account"]
    assert (response.status_code, account["email"], account["email_verified"]) == (201, "ann@example.org", True)
    assert sign_in(client, provider, SIGN_UP).json["account"]["id"] == account["id"]
    assert code_of(Person(client, "ann@example.org", "any password").sign_in()) == (401, "invalid_credentials")


def test_an_unverified_email_cannot_sign_up(client, provider):
    for claim in (False, "true", None):
        provider.user["email_verified"] = claim
        assert code_of(sign_in(client, provider, SIGN_UP)) == (409, "email_unverified")


def test_a_sign_in_completes_only_in_the_client_that_started_it(client, provider, ann):
    started = start(client).json
    redirect = provider.consent(started["authorization_url"])
    other = start(client).json["binding"]
    for binding in ("x" * 43, other):
        assert code_of(complete(client, redirect, binding=binding)) == (422, "token_invalid")
    assert code_of(complete(client, redirect)) == (422, "token_invalid")
    assert provider.exchanges == 1  # only Ann's link: other clients cause no exchange
    assert complete(client, redirect, binding=started["binding"]).status_code == 201


def test_a_browser_is_recognized_by_its_cookie(app, provider, ann):
    browser = app.test_client(use_cookies=False)
    options = start(browser, cookie=True)
    cookie = options.headers["Set-Cookie"].split("; ")[0]
    body = {**provider.consent(options.json["authorization_url"]), "cookie": True}
    assert "binding" not in options.json
    assert code_of(browser.post("/v1/sessions/oidc", json=body)) == (422, "token_invalid")
    response = browser.post("/v1/sessions/oidc", json=body, headers={"Cookie": cookie})
    assert response.status_code == 201 and "token" not in response.json


def test_a_sign_in_completes_within_ten_minutes(client, provider, ann, clock):
    started = start(client).json
    redirect = provider.consent(started["authorization_url"])
    clock.advance(minutes=10)
    assert code_of(complete(client, redirect, binding=started["binding"])) == (422, "token_invalid")


def test_a_sign_in_that_arrives_several_times_at_once_signs_in_once(app, client, provider, ann):
    started = start(client).json
    redirect, before = provider.consent(started["authorization_url"]), provider.exchanges
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(complete, app.test_client(), redirect, binding=started["binding"]) for _ in range(4)]
        responses = [future.result() for future in again]
    assert {response.status_code for response in responses} == {201}
    assert len({response.json["token"] for response in responses}) == 1
    assert provider.exchanges == before + 1
    assert len(Person(client, "", token=responses[0].json["token"]).get("/v1/sessions").json["items"]) == 2


def test_different_requests_for_one_sign_in_exchange_the_code_once_and_one_of_them_signs_in(app, provider, client, ann):
    started = start(client).json
    redirect, before = provider.consent(started["authorization_url"]), provider.exchanges
    more = {"binding": started["binding"]}
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(complete, app.test_client(), redirect, **more, remember=n % 2 == 0) for n in range(4)]
        codes = [code_of(future.result()) for future in again]
    assert set(codes) == {(201, None), (422, "token_invalid")} and provider.exchanges == before + 1


def test_a_sign_in_that_arrives_again_gets_the_same_session_for_a_minute_and_nobody_else_does(
    app, client, provider, ann, monkeypatch
):
    started = start(client).json
    redirect, binding = provider.consent(started["authorization_url"]), started["binding"]
    first, again = (complete(client, redirect, binding=binding) for _ in range(2))
    assert (again.status_code, again.json) == (201, first.json)
    for other in ({}, {"binding": start(client).json["binding"]}):
        assert code_of(complete(client, redirect, **other)) == (422, "token_invalid")
    assert first.json["token"] not in everything(app) and binding not in everything(app)
    monkeypatch.setattr(idempotency, "REPEAT_WINDOW", timedelta(0))
    assert code_of(complete(client, redirect, binding=binding)) == (422, "token_invalid")


@pytest.mark.parametrize(
    "twist",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT[0], "another client"]},
        {"aud": [CLIENT[0]], "azp": "another client"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": ""},
        {"sub": 7},
        {"alg": "none"},
        {"alg": "HS256"},
    ],
    ids=str,
)
def test_an_id_token_with_a_wrong_claim_is_rejected(app, client, provider, ann, twist):
    provider.twist = twist
    assert code_of(sign_in(client, provider)) == (422, "token_invalid")
    [event] = operator(app).get("/v1/admin/audit?action=authn_login_fail").json["items"]
    assert event["details"]["method"] == "example"


def test_an_unpublished_signing_key_is_rejected(client, provider, ann):
    published = provider.keys()
    provider.reset()
    provider.keys = lambda: published
    assert code_of(sign_in(client, provider)) == (422, "token_invalid")
    del provider.keys


def test_a_newly_published_key_is_accepted(client, provider, ann):
    assert sign_in(client, provider).status_code == 201
    provider.reset()
    provider.kid = "second"
    assert sign_in(client, provider).status_code == 201


def test_a_response_of_another_issuer_is_rejected(client, provider, ann):
    for named in ({"iss": "https://evil.example"}, {"iss": None}):
        started = start(client).json
        redirect = provider.consent(started["authorization_url"]) | named
        redirect = {name: value for name, value in redirect.items() if value}
        assert code_of(complete(client, redirect, binding=started["binding"])) == (422, "token_invalid")


def test_pkce_rejects_the_code_of_another_sign_in(client, provider, ann):
    own, other = start(client).json, start(client).json
    stolen = provider.consent(other["authorization_url"])["code"]
    redirect = provider.consent(own["authorization_url"]) | {"code": stolen}
    assert code_of(complete(client, redirect, binding=own["binding"])) == (422, "token_invalid")


def test_a_second_factor_is_required_without_exchanging_the_code_twice(client, provider, ann, clock):
    secret = ann.post("/v1/account/totp").json["secret"]
    ann.put("/v1/account/totp", {"code": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    clock.advance(seconds=STEP_S)
    started, before = start(client).json, provider.exchanges
    body = {**provider.consent(started["authorization_url"]), "binding": started["binding"]}
    assert code_of(complete(client, body)) == (401, "second_factor_required")
    totp = totp_code(secret, int(clock.at.timestamp()) // STEP_S)
    assert (complete(client, body, totp=totp).status_code, provider.exchanges) == (201, before + 1)


def test_an_identity_is_linked_to_one_account(client, provider, ann):
    bob = new_person(client, "bob")
    assert code_of(link(bob, provider)) == (409, "identity_taken")
    assert code_of(link(ann, provider)) == (409, "identity_taken")


def test_a_link_completes_only_in_the_session_that_started_it(client, provider):
    ann, eve = new_person(client), new_person(client, "eve")
    url = eve.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    redirect = provider.consent(url)
    assert code_of(ann.post("/v1/identities", redirect)) == (422, "token_invalid")
    assert code_of(complete(client, redirect, binding="x" * 43)) == (422, "token_invalid")
    assert eve.post("/v1/identities", redirect).status_code == 201


def test_an_unlinked_identity_cannot_sign_in_and_others_cannot_unlink_it(app, client, provider, ann):
    [linked] = ann.get("/v1/identities").json["items"]
    assert (linked["provider"], linked["email"]) == ("example", "ann@example.org")
    bob = new_person(client, "bob")
    assert bob.get("/v1/identities").json["items"] == []
    assert code_of(bob.delete(f"/v1/identities/{linked['id']}")) == (404, "not_found")
    assert ann.delete(f"/v1/identities/{linked['id']}").status_code == 204
    assert code_of(sign_in(client, provider)) == (409, "identity_unknown")
    assert len(mails(app, ann.email, "factor_removed")) == 1


def test_linking_and_unlinking_require_recent_authentication(client, provider, ann, clock):
    started = ann.post("/v1/identities/options", {"provider": "example"})
    assert started.status_code == 200
    url = started.json["authorization_url"]
    [linked] = ann.get("/v1/identities").json["items"]
    clock.advance(minutes=11)
    for response in (
        ann.post("/v1/identities/options", {"provider": "example"}),
        ann.post("/v1/identities", provider.consent(url)),
        ann.delete(f"/v1/identities/{linked['id']}"),
    ):
        assert code_of(response) == (403, "reauthentication_required")


def test_a_disabled_account_cannot_sign_in_with_an_identity(app, client, provider, ann):
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, provider)) == (401, "invalid_credentials")


def test_an_unavailable_provider_gets_its_own_error(client, provider, ann):
    started = start(client).json
    redirect = provider.consent(started["authorization_url"])
    provider.token = lambda *args: (503, {})
    assert code_of(complete(client, redirect, binding=started["binding"])) == (503, "unavailable")
    del provider.token
    assert complete(client, redirect, binding=started["binding"]).status_code == 201
    oidc._document_cache.clear()
    provider.metadata = lambda: {"issuer": "https://evil.example"}
    assert code_of(start(client)) == (503, "unavailable")
    del provider.metadata


def test_no_secret_of_a_sign_in_is_stored(app, client, provider, ann):
    started = start(client).json
    redirect = provider.consent(started["authorization_url"])
    stored = everything(app)
    assert [secret for secret in (redirect["state"], started["binding"]) if secret in stored] == []


def test_a_completed_sign_in_deletes_the_providers_claims(app, client, provider, ann):
    assert sign_in(client, provider).status_code == 201
    with app.app_context():
        assert [row.data for row in db.session.scalars(sa.select(PendingFlow)) if row.used_at] == [{}, {}]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"a": {}}',
        '{"a": {"issuer": "http://evil.example", "client_id": "x"}}',
        '{"a": {"issuer": 1, "client_id": "x"}}',
    ],
)
def test_an_invalid_provider_setting_prevents_the_start(text):
    with pytest.raises(SettingsError, match="STREAMSVC_OIDC_PROVIDERS"):
        Settings.from_env({"STREAMSVC_OIDC_PROVIDERS": text})


@pytest.fixture
def by_form(app, monkeypatch):
    """The provider responds by form post; returns the page of the front end."""
    providers = json.loads(app.extensions["settings"].oidc_providers)
    providers["example"]["response_mode"] = "form_post"
    page = "https://video.example/signed-in"
    changed = app.extensions["settings"].replace(oidc_providers=json.dumps(providers), oidc_redirect_url=page)
    monkeypatch.setitem(app.extensions, "settings", changed)
    return page


def test_a_form_post_response_is_redirected_to_the_front_end_and_signs_in(client, provider, by_form):
    started = start(client, sign_up=SIGN_UP).json
    query = parse_qs(urlsplit(started["authorization_url"]).query)
    assert query["response_mode"] == ["form_post"]
    assert query["redirect_uri"] == ["http://127.0.0.1:8000/v1/sessions/oidc-callback"]
    form = provider.consent(started["authorization_url"]) | {"user": '{"name": {"firstName": "Ann"}}'}
    response = client.post("/v1/sessions/oidc-callback", data=form, headers={"Origin": provider.issuer})
    page, _, redirect = response.headers["Location"].partition("#")
    assert (response.status_code, page) == (303, by_form)
    redirect = {name: value for name, [value] in parse_qs(redirect).items()}
    assert redirect == {name: form[name] for name in ("code", "state", "iss")}
    assert code_of(complete(client, redirect)) == (422, "token_invalid")
    assert complete(client, redirect, binding=started["binding"]).status_code == 201


def test_a_denied_consent_reaches_the_front_end_and_a_malformed_form_does_not(client, by_form):
    denied = client.post("/v1/sessions/oidc-callback", data={"state": "x", "error": "user_canceled_authorize"})
    assert denied.headers["Location"] == f"{by_form}#state=x&error=user_canceled_authorize"
    assert client.post("/v1/sessions/oidc-callback", data={"code": "x"}).status_code == 422


def test_a_sign_in_with_a_provider_asks_the_hook(app, client, ann, provider, monkeypatch):
    asked = []

    class Hook(LocalHandler):
        def do_POST(self):
            asked.append(json.loads(self.read_body())["data"])
            self.respond(200, {"allow": False})

    with local_server(Hook) as server:
        hook = {
            "sign_in_hook_url": server.url,
            "sign_in_hook_secret": "whsec_" + "dGVz" * 11,
            "webhooks_to_private": True,
        }
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**hook))
        assert code_of(sign_in(client, provider)) == (403, "sign_in_denied")
        provider.user["sub"] = "of someone else"
        assert code_of(sign_in(client, provider, SIGN_UP)) == (403, "sign_in_denied")
    assert [(data["method"], data["account_id"] is None) for data in asked] == [("example", False), ("example", True)]


def test_a_provider_that_an_intruder_linked_goes_with_the_intruders_device(app, client, provider):
    ann = new_person(client)
    eve = ann.again()
    eve.sign_in(device={"name": "A laptop", "kind": "web"})
    assert link(eve, provider).status_code == 201
    assert sign_in(client, provider).status_code == 201
    device = [mail for mail in mails(app, ann.email, "new_device") if "A laptop" in mail["text"]]
    token = re.search(r"token=([\w-]+)", device[0]["text"])[1]
    assert client.put("/v1/devices/disowned", json={"token": token}).status_code == 204
    assert code_of(sign_in(client, provider)) == (409, "identity_unknown")
    assert ann.get("/v1/account").status_code == 200
