"""Sign-in by mailed link, which works once, for ten minutes, and only where it was requested."""

import pytest

from streamsvc.models import Account
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import (
    Person,
    code_of,
    everything,
    mailed_token,
    mails,
    new_person,
    operator,
    run_jobs,
    verify,
)

OTHER_ADDRESS = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def binding(client, ann):
    """The binding of the app that requested a link for Ann."""
    return request_link(client, ann.email).json["binding"]


def request_link(client, email, **more):
    return client.post("/v1/magic-links", json={"email": email, **more})


def sign_in(client, token, binding=None, headers=None, **more):
    fields = {"binding": binding} if binding else {}
    return client.post("/v1/sessions/magic-link", json={"token": token, **fields, **more}, headers=headers)


def test_the_link_signs_in_where_it_was_requested(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    response = sign_in(client, token, binding, device={"name": "Laptop", "kind": "web"})
    assert (response.status_code, response.json["account"]["email"]) == (201, ann.email)
    assert response.json["session"]["device"]["name"] == "Laptop"
    assert Person(client, ann.email, token=response.json["token"]).get("/v1/account").status_code == 200


def test_the_link_works_once(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    assert [code_of(sign_in(client, token, binding)) for _ in range(2)] == [(201, None), (422, "token_invalid")]


def test_a_browser_that_sends_the_link_twice_gets_the_same_session(app, ann):
    browser, other = app.test_client(), app.test_client()
    for client in (browser, other):
        asked = request_link(client, ann.email, cookie=True)
        cookie = {"Cookie": asked.headers["Set-Cookie"].partition(";")[0]}
        client.cookie = cookie
    token = mailed_token(app, ann.email, "magic_link")
    first, again = (sign_in(other, token, headers=other.cookie, cookie=True) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json and first.headers["Set-Cookie"] == again.headers["Set-Cookie"]
    assert code_of(sign_in(browser, token, headers=browser.cookie, cookie=True)) == (422, "token_invalid")


def test_the_link_is_valid_for_ten_minutes(app, client, ann, binding, clock):
    token = mailed_token(app, ann.email, "magic_link")
    clock.advance(minutes=10)
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")


def test_a_link_opened_elsewhere_fails_and_still_works_where_it_was_requested(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    other = request_link(client, ann.email).json["binding"]
    for wrong in (None, "x" * 43, other):
        assert code_of(sign_in(client, token, wrong)) == (422, "token_invalid")
    assert sign_in(client, token, binding).status_code == 201


def test_a_second_request_elsewhere_does_not_invalidate_the_first_link(app, client, ann, binding):
    first = mailed_token(app, ann.email, "magic_link")
    request_link(client, ann.email, cookie=True)
    assert mailed_token(app, ann.email, "magic_link") != first
    assert sign_in(client, first, binding).status_code == 201


def test_browsers_store_the_binding_in_a_cookie_inaccessible_to_scripts(app, ann):
    browser = app.test_client(use_cookies=False)
    requested = request_link(browser, ann.email, cookie=True)
    assert requested.json == {"status": "accepted"}
    cookie, *attributes = requested.headers["Set-Cookie"].split("; ")
    assert cookie.startswith("__Host-ssb=") and {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(attributes)
    token = mailed_token(app, ann.email, "magic_link")
    assert code_of(sign_in(browser, token, cookie=True)) == (422, "token_invalid")
    response = sign_in(browser, token, headers={"Cookie": cookie}, cookie=True)
    assert response.status_code == 201 and "token" not in response.json
    assert response.headers["Set-Cookie"].startswith("__Host-sst=sst_")


def test_two_tabs_of_one_browser_share_its_binding(app, ann):
    browser = app.test_client(use_cookies=False)
    cookie = request_link(browser, ann.email, cookie=True).headers["Set-Cookie"].split("; ")[0]
    again = browser.post("/v1/magic-links", json={"email": ann.email, "cookie": True}, headers={"Cookie": cookie})
    assert again.headers["Set-Cookie"].split("; ")[0] == cookie


def test_neither_the_mailed_secret_nor_the_binding_is_stored(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    with app.app_context():
        db.session.execute(db.metadata.tables["sandbox_emails"].delete())
        db.session.commit()
    stored = everything(app)
    assert [secret for secret in (token, binding) if secret in stored] == []


def test_an_unknown_address_gets_the_same_response_and_no_mail(app, client, ann):
    existing, unknown = request_link(client, ann.email), request_link(client, "nobody@example.com")
    assert (existing.status_code, existing.json.keys()) == (unknown.status_code, unknown.json.keys())
    assert (len(mails(app, ann.email, "magic_link")), mails(app, "nobody@example.com")) == (1, [])


def test_a_disabled_account_gets_no_link_and_earlier_links_fail(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")
    request_link(client, ann.email)
    assert len(mails(app, ann.email, "magic_link")) == 1


def test_a_new_password_revokes_open_links(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    change = {"current_password": ann.password, "password": "another secret 8"}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")


def test_a_link_does_not_replace_the_authenticator(app, client, ann, binding, clock):
    verify(app, ann)
    secret = ann.post("/v1/account/totp").json["secret"]
    assert ann.put("/v1/account/totp", {"code": totp_code(secret, step(clock))}).status_code == 200
    clock.advance(seconds=STEP_S)
    token = mailed_token(app, ann.email, "magic_link")
    missing = sign_in(client, token, binding)
    assert (code_of(missing), missing.json["methods"]) == ((401, "second_factor_required"), ["totp", "recovery_code"])
    assert code_of(sign_in(client, token, binding, totp="000000")) == (401, "second_factor_invalid")
    assert sign_in(client, token, binding, totp=totp_code(secret, step(clock))).status_code == 201


def step(clock):
    return int(clock.at.timestamp()) // STEP_S


def test_using_the_link_verifies_the_address(app, client, ann, binding):
    response = sign_in(client, mailed_token(app, ann.email, "magic_link"), binding)
    assert response.json["account"]["email_verified"] is True


def test_five_links_an_hour_are_mailed_to_one_address_and_the_rest_are_dropped_silently(app, client, ann):
    assert [request_link(client, ann.email).status_code for _ in range(7)] == [202] * 7
    assert len(mails(app, ann.email, "magic_link")) == 5


def test_guessing_links_is_rate_limited_by_address(client):
    codes = [
        code_of(client.post("/v1/sessions/magic-link", json={"token": "x"}, environ_base=OTHER_ADDRESS))
        for _ in range(101)
    ]
    assert codes[99:] == [(422, "token_invalid"), (429, "too_many_attempts")]


def test_a_retried_sign_in_gets_the_same_token(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    responses = [sign_in(client, token, binding, headers={"Idempotency-Key": "m"}) for _ in range(2)]
    assert responses[0].json == responses[1].json and responses[1].headers["Idempotency-Replayed"] == "true"


def test_the_owner_is_notified_of_the_new_device_and_the_method_is_audited(app, client, ann, binding):
    sign_in(client, mailed_token(app, ann.email, "magic_link"), binding)
    assert len(mails(app, ann.email, "new_device")) == 1
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert event["details"]["method"] == "magic_link"


def test_an_account_without_a_password_signs_in_by_link(app, client, ann):
    with app.app_context():
        db.session.query(Account).update({"password_hash": None})
        db.session.commit()
    binding = request_link(client, ann.email).json["binding"]
    run_jobs(app)
    assert sign_in(client, mailed_token(app, ann.email, "magic_link"), binding).status_code == 201
