"""Sign-in by mail: a link that opens once, soon, and only where it was asked for."""

import pytest

from streamsvc.models import Account
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, code_of, everything, mailed_token, mails, new_person, operator, run_jobs

AWAY = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def binding(client, ann):
    """What the app holds that asked for a link to Ann."""
    return ask(client, ann.email).json["binding"]


def ask(client, email, **more):
    return client.post("/v1/magic-links", json={"email": email, **more})


def sign_in(client, token, binding=None, headers=None, **more):
    bound = {"binding": binding} if binding else {}
    return client.post("/v1/sessions/magic-link", json={"token": token, **bound, **more}, headers=headers)


def test_the_link_signs_in_where_it_was_asked_for(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    answer = sign_in(client, token, binding, device={"name": "Laptop", "kind": "web"})
    assert (answer.status_code, answer.json["account"]["email"]) == (201, ann.email)
    assert answer.json["session"]["device"]["name"] == "Laptop"
    assert Person(client, ann.email, token=answer.json["token"]).get("/v1/account").status_code == 200


def test_the_link_works_once(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    assert [code_of(sign_in(client, token, binding)) for _ in range(2)] == [(201, None), (422, "token_invalid")]


def test_the_link_works_for_ten_minutes(app, client, ann, binding, clock):
    token = mailed_token(app, ann.email, "magic_link")
    clock.advance(minutes=10)
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")


def test_a_link_opened_elsewhere_lets_nobody_in_and_still_works_at_home(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    stranger = ask(client, ann.email).json["binding"]
    for shown in (None, "x" * 43, stranger):
        assert code_of(sign_in(client, token, shown)) == (422, "token_invalid")
    assert sign_in(client, token, binding).status_code == 201


def test_asking_again_elsewhere_does_not_shut_the_first_link(app, client, ann, binding):
    first = mailed_token(app, ann.email, "magic_link")
    ask(client, ann.email, cookie=True)
    assert mailed_token(app, ann.email, "magic_link") != first
    assert sign_in(client, first, binding).status_code == 201


def test_a_browser_holds_the_binding_in_a_cookie_out_of_reach_of_scripts(app, ann):
    browser = app.test_client(use_cookies=False)
    asked = ask(browser, ann.email, cookie=True)
    assert asked.json == {"status": "accepted"}
    pair, *attributes = asked.headers["Set-Cookie"].split("; ")
    assert pair.startswith("__Host-ssb=") and {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(attributes)
    token = mailed_token(app, ann.email, "magic_link")
    assert code_of(sign_in(browser, token, cookie=True)) == (422, "token_invalid")
    answer = sign_in(browser, token, headers={"Cookie": pair}, cookie=True)
    assert answer.status_code == 201 and "token" not in answer.json
    assert answer.headers["Set-Cookie"].startswith("__Host-sst=sst_")


def test_two_tabs_of_one_browser_share_its_binding(app, ann):
    browser = app.test_client(use_cookies=False)
    pair = ask(browser, ann.email, cookie=True).headers["Set-Cookie"].split("; ")[0]
    again = browser.post("/v1/magic-links", json={"email": ann.email, "cookie": True}, headers={"Cookie": pair})
    assert again.headers["Set-Cookie"].split("; ")[0] == pair


def test_neither_the_mailed_secret_nor_the_binding_is_kept(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    with app.app_context():
        db.session.execute(db.metadata.tables["sandbox_emails"].delete())
        db.session.commit()
    kept = everything(app)
    assert [secret for secret in (token, binding) if secret in kept] == []


def test_an_unknown_address_hears_the_same_and_gets_no_mail(app, client, ann):
    known, unknown = ask(client, ann.email), ask(client, "nobody@example.com")
    assert (known.status_code, known.json.keys()) == (unknown.status_code, unknown.json.keys())
    assert (len(mails(app, ann.email, "magic_link")), mails(app, "nobody@example.com")) == (1, [])


def test_a_disabled_account_gets_no_link_and_an_old_one_opens_nothing(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")
    ask(client, ann.email)
    assert len(mails(app, ann.email, "magic_link")) == 1


def test_a_new_password_withdraws_open_links(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    change = {"current_password": ann.password, "password": "another secret 8"}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert code_of(sign_in(client, token, binding)) == (422, "token_invalid")


def test_the_mailbox_does_not_stand_for_the_authenticator(app, client, ann, binding, clock):
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


def test_whoever_used_the_link_has_confirmed_the_address(app, client, ann, binding):
    answer = sign_in(client, mailed_token(app, ann.email, "magic_link"), binding)
    assert answer.json["account"]["email_verified"] is True


def test_five_links_an_hour_go_to_one_address_and_the_rest_is_dropped_in_silence(app, client, ann):
    assert [ask(client, ann.email).status_code for _ in range(7)] == [202] * 7
    assert len(mails(app, ann.email, "magic_link")) == 5


def test_guessing_is_stopped_by_address(client):
    codes = [
        code_of(client.post("/v1/sessions/magic-link", json={"token": "x"}, environ_base=AWAY)) for _ in range(101)
    ]
    assert codes[99:] == [(422, "token_invalid"), (429, "too_many_attempts")]


def test_a_repeated_sign_in_hears_the_same_token(app, client, ann, binding):
    token = mailed_token(app, ann.email, "magic_link")
    answers = [sign_in(client, token, binding, headers={"Idempotency-Key": "m"}) for _ in range(2)]
    assert answers[0].json == answers[1].json and answers[1].headers["Idempotency-Replayed"] == "true"


def test_the_owner_is_told_of_the_new_device_and_the_log_of_the_way_in(app, client, ann, binding):
    sign_in(client, mailed_token(app, ann.email, "magic_link"), binding)
    assert len(mails(app, ann.email, "new_device")) == 1
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert event["details"]["method"] == "magic_link"


def test_an_account_without_a_password_comes_in_by_mail(app, client, ann):
    with app.app_context():
        db.session.query(Account).update({"password_hash": None})
        db.session.commit()
    binding = ask(client, ann.email).json["binding"]
    run_jobs(app)
    assert sign_in(client, mailed_token(app, ann.email, "magic_link"), binding).status_code == 201
