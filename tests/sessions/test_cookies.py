"""Cookie mode, for browsers."""

import pytest

from tests.worlds.sessions_steps import SECRET, Person, code_of, new_person, operator


@pytest.fixture
def browser(app, client):
    """Somebody signed in by cookie: no token in their hands."""
    new_person(client)
    browser = Person(app.test_client(use_cookies=False), "ann@example.com")
    answer = browser.sign_in(cookie=True)
    assert answer.status_code == 201 and "token" not in answer.json
    browser.cookie = answer.headers["Set-Cookie"]
    browser.csrf = answer.json["csrf_token"]
    browser.headers = {"Cookie": browser.cookie.split(";")[0]}
    return browser


def test_the_cookie_is_host_only_and_out_of_reach_of_scripts(browser):
    name, *attributes = browser.cookie.split("; ")
    assert name.startswith("__Host-sst=sst_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_a_visit_is_forgotten_with_the_window_also_under_a_new_token(app, browser):
    assert "Max-Age=34560000" in browser.cookie
    visitor = Person(app.test_client(use_cookies=False), "ann@example.com")
    told = visitor.sign_in(cookie=True, remember=False)
    cookies = [told.headers["Set-Cookie"]]
    visitor.headers = {"Cookie": cookies[0].split(";")[0], "X-CSRF-Token": told.json["csrf_token"]}
    again = visitor.post("/v1/sessions/current/reauthentication", {"password": SECRET})
    cookies.append(again.headers["Set-Cookie"])
    assert [("Max-Age" in cookie, "Expires" in cookie) for cookie in cookies] == [(False, False)] * 2


def test_the_cookie_alone_reads_and_changes_nothing_and_each_try_is_told(app, browser):
    told = browser.get("/v1/sessions/current")
    assert (told.status_code, told.json["csrf_token"]) == (200, browser.csrf)
    for answer in (
        browser.patch("/v1/account", {"name": "Eve"}),
        browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": "0" * 64}),
        browser.delete("/v1/sessions/current"),
    ):
        assert code_of(answer) == (403, "csrf_token_invalid")
    events = operator(app).get("/v1/admin/audit?action=authz_fail").json["items"]
    calls = [event["details"]["call"] for event in reversed(events)]
    assert calls == ["PATCH /v1/account", "DELETE /v1/sessions/current"], "once an hour each"


def test_with_the_token_that_was_handed_out_it_changes_what_it_asks_for(browser):
    headers = {"X-CSRF-Token": browser.csrf}
    assert browser.patch("/v1/account", {"name": "Ann"}, headers=headers).status_code == 200
    out = browser.delete("/v1/sessions/current", headers=headers)
    assert out.status_code == 204
    assert "__Host-sst=;" in out.headers["Set-Cookie"] and "Clear-Site-Data" in out.headers
    assert browser.get("/v1/sessions/current").status_code == 401


def test_another_sites_page_changes_nothing_even_with_the_token(browser):
    own = ["http://localhost", "http://127.0.0.1:8000"]  # as it was asked, and where the settings say it is reached
    strange = ["https://evil.example", "http://localhost:81", "http://localhost.evil.example", "null", ""]
    said = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": own[0]}]
    said += [{"Origin": one} for one in strange] + [{"Sec-Fetch-Site": "same-site", "Origin": strange[0]}]
    for headers in said:
        answer = browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": browser.csrf} | headers)
        assert code_of(answer) == (403, "csrf_token_invalid"), headers
        assert browser.get("/v1/account", headers=headers).status_code == 200
    said = [{"Sec-Fetch-Site": one} for one in ("same-origin", "none")] + [{"Origin": one} for one in own]
    for headers in [*said, {"Sec-Fetch-Site": "same-origin", "Origin": strange[0]}]:
        answer = browser.patch("/v1/account", {"name": "Ann"}, headers={"X-CSRF-Token": browser.csrf} | headers)
        assert answer.status_code == 200, headers


def test_the_token_of_one_session_does_not_serve_another(browser):
    other = Person(browser.client, browser.email)
    csrf = other.sign_in(cookie=True).json["csrf_token"]
    assert csrf != browser.csrf
    assert browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": csrf}).status_code == 403


def test_a_bearer_token_needs_no_csrf_token_and_goes_before_a_cookie(client, browser):
    bob = new_person(client, "bob")
    bob.headers = browser.headers
    assert bob.get("/v1/account").json["email"] == bob.email
    assert bob.patch("/v1/account", {"name": "Bob"}).status_code == 200


def test_a_repeated_sign_in_has_its_cookie_set_again(client, browser):
    body = {"email": browser.email, "password": SECRET, "cookie": True}
    cookies = [
        client.post("/v1/sessions", json=body, headers={"Idempotency-Key": "c"}).headers["Set-Cookie"].split(";")[0]
        for _ in range(2)
    ]
    assert cookies[0] == cookies[1]


def test_a_form_of_a_strange_page_signs_nobody_in(client, browser):
    answer = client.post("/v1/sessions", data={"email": browser.email, "password": SECRET})
    assert code_of(answer) == (415, "unsupported_media_type")
