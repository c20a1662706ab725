"""Sign-in with an account at another provider, against one that answers over HTTP."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from streamsvc.gateways import oidc
from streamsvc.models import PendingFlow
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.conftest import Clock, delete_all_rows
from tests.worlds import oidc_provider
from tests.worlds.oidc_provider import CLIENT
from tests.worlds.sessions_steps import Person, code_of, everything, mails, new_person, operator

SIGN_UP = {"country": "DE"}


@pytest.fixture(scope="module")
def running():
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture
def provider(running):
    running.reset()
    oidc._document_cache.clear()
    return running


@pytest.fixture(scope="module")
def apps():
    return {}


@pytest.fixture
def app(database, apps, new_app, provider):
    """The service with one provider, on an empty database."""
    if database not in apps:
        entry = {"issuer": provider.issuer, "client_id": CLIENT[0], "client_secret": CLIENT[1]}
        apps[database] = new_app(database, "oidc", clock=Clock(), oidc_providers=json.dumps({"example": entry}))
    app = apps[database]
    app.extensions["clock"].__init__()
    with app.app_context():
        delete_all_rows(db.engine)
    yield app
    with app.app_context():
        db.session.remove()


def begin(client, **more):
    return client.post("/v1/sessions/oidc-options", json={"provider": "example", **more})


def finish(client, carried, **more):
    return client.post("/v1/sessions/oidc", json={**carried, **more})


def sign_in(client, provider, sign_up=None, **more):
    begun = begin(client, **({"sign_up": sign_up} if sign_up else {})).json
    return finish(client, provider.consent(begun["authorization_url"]), binding=begun["binding"], **more)


def link(person, provider):
    url = person.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    return person.post("/v1/identities", provider.consent(url))


@pytest.fixture
def ann(client, provider):
    """Ann, who has an account here and linked the one that she has there."""
    ann = new_person(client)
    assert link(ann, provider).status_code == 201
    return ann


def test_the_providers_are_listed(client):
    assert client.get("/v1/identity-providers").json == {"items": [{"name": "example"}], "next_cursor": None}
    assert begin(client, provider="other").status_code == 404


def test_what_goes_to_the_provider_is_the_code_flow_with_pkce_state_and_nonce(client, provider):
    url = begin(client).json["authorization_url"]
    asked = parse_qs(urlsplit(url).query)
    assert asked.keys() == {
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert asked["redirect_uri"] == ["http://127.0.0.1:8000/"]
    assert min(len(asked[name][0]) for name in ("state", "nonce", "code_challenge")) >= 43


def test_a_linked_identity_signs_in(app, client, provider, ann):
    answer = sign_in(client, provider, device={"name": "Laptop", "kind": "web"})
    assert (answer.status_code, answer.json["account"]["email"]) == (201, ann.email)
    assert Person(client, "", token=answer.json["token"]).get("/v1/account").status_code == 200
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert event["details"]["method"] == "example"
    assert len(mails(app, ann.email, "factor_added")) == len(mails(app, ann.email, "new_device")) == 1


def test_the_same_e_mail_alone_opens_nothing(client, provider):
    person = new_person(client, "ann")
    provider.user["email"] = person.email
    assert code_of(sign_in(client, provider)) == (409, "identity_unknown")
    assert code_of(sign_in(client, provider, SIGN_UP)) == (409, "email_taken")


def test_who_signs_in_is_the_subject_whatever_e_mail_it_has(client, provider, ann):
    bob = new_person(client, "bob")
    provider.user["email"] = bob.email
    assert sign_in(client, provider).json["account"]["email"] == ann.email


def test_a_sign_up_opens_an_account_without_a_password(app, client, provider):
    answer = sign_in(client, provider, SIGN_UP)
    told = answer.json["account"]
    assert (answer.status_code, told["email"], told["email_verified"]) == (201, "ann@example.org", True)
    assert sign_in(client, provider, SIGN_UP).json["account"]["id"] == told["id"]
    assert code_of(Person(client, "ann@example.org", "any password").sign_in()) == (401, "invalid_credentials")


def test_an_e_mail_that_the_provider_did_not_confirm_signs_nobody_up(client, provider):
    for claim in (False, "true", None):
        provider.user["email_verified"] = claim
        assert code_of(sign_in(client, provider, SIGN_UP)) == (409, "email_unverified")


def test_it_ends_where_it_began(client, provider, ann):
    begun = begin(client).json
    carried = provider.consent(begun["authorization_url"])
    other = begin(client).json["binding"]
    for binding in ("x" * 43, other):
        assert code_of(finish(client, carried, binding=binding)) == (422, "token_invalid")
    assert code_of(finish(client, carried)) == (422, "token_invalid")
    assert provider.exchanges == 1  # Ann's link: no stranger makes us ask
    assert finish(client, carried, binding=begun["binding"]).status_code == 201


def test_a_browser_is_known_by_its_cookie(app, provider, ann):
    browser = app.test_client(use_cookies=False)
    asked = begin(browser, cookie=True)
    pair = asked.headers["Set-Cookie"].split("; ")[0]
    body = {**provider.consent(asked.json["authorization_url"]), "cookie": True}
    assert "binding" not in asked.json
    assert code_of(browser.post("/v1/sessions/oidc", json=body)) == (422, "token_invalid")
    answer = browser.post("/v1/sessions/oidc", json=body, headers={"Cookie": pair})
    assert answer.status_code == 201 and "token" not in answer.json


def test_it_ends_once_and_soon(client, provider, ann, clock):
    begun = begin(client).json
    carried = provider.consent(begun["authorization_url"])
    codes = [finish(client, carried, binding=begun["binding"]).status_code for _ in range(2)]
    assert codes == [201, 422]
    begun = begin(client).json
    carried = provider.consent(begun["authorization_url"])
    clock.advance(minutes=10)
    assert code_of(finish(client, carried, binding=begun["binding"])) == (422, "token_invalid")


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
def test_an_id_token_that_is_not_for_this_sign_in_proves_nothing(app, client, provider, ann, twist):
    provider.twist = twist
    assert code_of(sign_in(client, provider)) == (422, "token_invalid")
    [event] = operator(app).get("/v1/admin/audit?action=authn_login_fail").json["items"]
    assert event["details"]["method"] == "example"


def test_a_key_that_the_provider_does_not_publish_proves_nothing(client, provider, ann):
    published = provider.keys()
    provider.reset()
    provider.keys = lambda: published
    assert code_of(sign_in(client, provider)) == (422, "token_invalid")
    del provider.keys


def test_a_new_key_is_found_when_it_comes(client, provider, ann):
    assert sign_in(client, provider).status_code == 201
    provider.reset()
    provider.kid = "second"
    assert sign_in(client, provider).status_code == 201


def test_an_answer_of_another_provider_is_not_taken_for_this_one(client, provider, ann):
    for named in ({"iss": "https://evil.example"}, {"iss": None}):
        begun = begin(client).json
        carried = provider.consent(begun["authorization_url"]) | named
        carried = {name: value for name, value in carried.items() if value}
        assert code_of(finish(client, carried, binding=begun["binding"])) == (422, "token_invalid")


def test_a_code_of_another_sign_in_is_refused_by_pkce(client, provider, ann):
    mine, other = begin(client).json, begin(client).json
    stolen = provider.consent(other["authorization_url"])["code"]
    carried = provider.consent(mine["authorization_url"]) | {"code": stolen}
    assert code_of(finish(client, carried, binding=mine["binding"])) == (422, "token_invalid")


def test_a_second_factor_is_asked_for_and_the_code_is_not_spent_twice(client, provider, ann, clock):
    secret = ann.post("/v1/account/totp").json["secret"]
    ann.put("/v1/account/totp", {"code": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    clock.advance(seconds=STEP_S)
    begun, before = begin(client).json, provider.exchanges
    whole = {**provider.consent(begun["authorization_url"]), "binding": begun["binding"]}
    assert code_of(finish(client, whole)) == (401, "second_factor_required")
    totp = totp_code(secret, int(clock.at.timestamp()) // STEP_S)
    assert (finish(client, whole, totp=totp).status_code, provider.exchanges) == (201, before + 1)


def test_an_identity_opens_one_account(client, provider, ann):
    bob = new_person(client, "bob")
    assert code_of(link(bob, provider)) == (409, "identity_taken")
    assert code_of(link(ann, provider)) == (409, "identity_taken")


def test_a_link_ends_in_the_session_that_began_it(client, provider):
    ann, eve = new_person(client), new_person(client, "eve")
    url = eve.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    carried = provider.consent(url)
    assert code_of(ann.post("/v1/identities", carried)) == (422, "token_invalid")
    assert code_of(finish(client, carried, binding="x" * 43)) == (422, "token_invalid")
    assert eve.post("/v1/identities", carried).status_code == 201


def test_an_unlinked_identity_opens_nothing_and_a_stranger_unlinks_none(app, client, provider, ann):
    [linked] = ann.get("/v1/identities").json["items"]
    assert (linked["provider"], linked["email"]) == ("example", "ann@example.org")
    bob = new_person(client, "bob")
    assert bob.get("/v1/identities").json["items"] == []
    assert code_of(bob.delete(f"/v1/identities/{linked['id']}")) == (404, "not_found")
    assert ann.delete(f"/v1/identities/{linked['id']}").status_code == 204
    assert code_of(sign_in(client, provider)) == (409, "identity_unknown")
    assert len(mails(app, ann.email, "factor_removed")) == 1


def test_linking_and_unlinking_need_a_recent_proof(client, provider, ann, clock):
    url = ann.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    [linked] = ann.get("/v1/identities").json["items"]
    clock.advance(minutes=11)
    for answer in (
        ann.post("/v1/identities/options", {"provider": "example"}),
        ann.post("/v1/identities", provider.consent(url)),
        ann.delete(f"/v1/identities/{linked['id']}"),
    ):
        assert code_of(answer) == (403, "reauthentication_required")


def test_a_disabled_account_is_not_opened(app, client, provider, ann):
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, provider)) == (401, "invalid_credentials")


def test_a_provider_that_is_away_is_told_as_that(client, provider, ann):
    begun = begin(client).json
    carried = provider.consent(begun["authorization_url"])
    provider.token = lambda *args: (503, {})
    assert code_of(finish(client, carried, binding=begun["binding"])) == (503, "unavailable")
    del provider.token
    assert finish(client, carried, binding=begun["binding"]).status_code == 201
    oidc._document_cache.clear()
    provider.metadata = lambda: {"issuer": "https://evil.example"}
    assert code_of(begin(client)) == (503, "unavailable")
    del provider.metadata


def test_no_secret_of_a_sign_in_is_kept(app, client, provider, ann):
    begun = begin(client).json
    carried = provider.consent(begun["authorization_url"])
    kept = everything(app)
    assert [each for each in (carried["state"], begun["binding"]) if each in kept] == []


def test_a_finished_sign_in_leaves_nothing_of_what_the_provider_told(app, client, provider, ann):
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
def test_a_provider_that_cannot_be_is_refused_at_the_start(text):
    with pytest.raises(SettingsError, match="STREAMSVC_OIDC_PROVIDERS"):
        Settings.from_env({"STREAMSVC_OIDC_PROVIDERS": text})


@pytest.fixture
def by_form(app, monkeypatch):
    """The provider answers by form post."""
    told = json.loads(app.extensions["settings"].oidc_providers)
    told["example"]["response_mode"] = "form_post"
    page = "https://video.example/signed-in"
    changed = app.extensions["settings"].replace(oidc_providers=json.dumps(told), oidc_redirect_url=page)
    monkeypatch.setitem(app.extensions, "settings", changed)
    return page


def test_an_answer_by_form_post_is_carried_on_to_the_front_end_and_signs_in(client, provider, by_form):
    begun = begin(client, sign_up=SIGN_UP).json
    asked = parse_qs(urlsplit(begun["authorization_url"]).query)
    assert asked["response_mode"] == ["form_post"]
    assert asked["redirect_uri"] == ["http://127.0.0.1:8000/v1/sessions/oidc-callback"]
    form = provider.consent(begun["authorization_url"]) | {"user": '{"name": {"firstName": "Ann"}}'}
    answer = client.post("/v1/sessions/oidc-callback", data=form, headers={"Origin": provider.issuer})
    page, _, carried = answer.headers["Location"].partition("#")
    assert (answer.status_code, page) == (303, by_form)
    carried = {name: value for name, [value] in parse_qs(carried).items()}
    assert carried == {name: form[name] for name in ("code", "state", "iss")}
    assert code_of(finish(client, carried)) == (422, "token_invalid")
    assert finish(client, carried, binding=begun["binding"]).status_code == 201


def test_a_no_at_the_provider_reaches_the_front_end_and_a_broken_form_does_not(client, by_form):
    said_no = client.post("/v1/sessions/oidc-callback", data={"state": "x", "error": "user_cancelled_authorize"})
    assert said_no.headers["Location"] == f"{by_form}#state=x&error=user_cancelled_authorize"
    assert client.post("/v1/sessions/oidc-callback", data={"code": "x"}).status_code == 422
