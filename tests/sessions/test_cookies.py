"""Cookie mode, for browsers."""

import pytest

from tests.worlds.sessions_steps import SECRET, Person, code_of, new_person, operator


@pytest.fixture
def browser(app, client):
    """A browser signed in by cookie, without a token."""
    new_person(client)
    browser = Person(app.test_client(use_cookies=False), "ann@example.com")
    response = browser.sign_in(cookie=True)
    assert response.status_code == 201 and "token" not in response.json
    browser.cookie = response.headers["Set-Cookie"]
    browser.csrf = response.json["csrf_token"]
    browser.headers = {"Cookie": browser.cookie.split(";")[0]}
    return browser


def test_the_cookie_is_host_only_and_inaccessible_to_scripts(browser):
    name, *attributes = browser.cookie.split("; ")
    assert name.startswith("__Host-sst=sst_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_without_remember_the_cookie_ends_with_the_browser_session_also_after_rotation(app, browser):
    assert "Max-Age=34560000" in browser.cookie
    visitor = Person(app.test_client(use_cookies=False), "ann@example.com")
    signed_in = visitor.sign_in(cookie=True, remember=False)
    cookies = [signed_in.headers["Set-Cookie"]]
    visitor.headers = {"Cookie": cookies[0].split(";")[0], "X-CSRF-Token": signed_in.json["csrf_token"]}
    rotated = visitor.post("/v1/sessions/current/reauthentication", {"password": SECRET})
    cookies.append(rotated.headers["Set-Cookie"])
    assert [("Max-Age" in cookie, "Expires" in cookie) for cookie in cookies] == [(False, False)] * 2
    bearer = Person(app.test_client(use_cookies=False), "ann@example.com")
    bearer.sign_in()
    body = {"password": SECRET, "rotate": True}
    rotated = bearer.post("/v1/sessions/current/reauthentication", body)
    assert rotated.json["token"] != bearer.token and "Set-Cookie" not in rotated.headers


def test_the_cookie_alone_only_reads_and_denied_writes_are_audited(app, browser):
    current = browser.get("/v1/sessions/current")
    assert (current.status_code, current.json["csrf_token"]) == (200, browser.csrf)
    for response in (
        browser.patch("/v1/account", {"name": "Eve"}),
        browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": "0" * 64}),
        browser.delete("/v1/sessions/current"),
    ):
        assert code_of(response) == (403, "csrf_token_invalid")
    events = operator(app).get("/v1/admin/audit?action=authz_fail").json["items"]
    calls = [event["details"]["call"] for event in reversed(events)]
    assert calls == ["PATCH /v1/account", "DELETE /v1/sessions/current"], "once an hour each"


def test_with_the_csrf_token_unsafe_requests_succeed(browser):
    headers = {"X-CSRF-Token": browser.csrf}
    assert browser.patch("/v1/account", {"name": "Ann"}, headers=headers).status_code == 200
    signed_out = browser.delete("/v1/sessions/current", headers=headers)
    assert signed_out.status_code == 204
    assert "__Host-sst=;" in signed_out.headers["Set-Cookie"] and "Clear-Site-Data" in signed_out.headers
    assert browser.get("/v1/sessions/current").status_code == 401


def test_cross_site_requests_are_denied_even_with_the_csrf_token(browser):
    own = ["http://localhost", "http://127.0.0.1:8000"]  # the requested host, and the public URL of the settings
    foreign = ["https://evil.example", "http://localhost:81", "http://localhost.evil.example", "null", ""]
    cross_site = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": own[0]}]
    cross_site += [{"Origin": origin} for origin in foreign]
    cross_site += [{"Sec-Fetch-Site": "same-site", "Origin": foreign[0]}]
    for headers in cross_site:
        response = browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": browser.csrf} | headers)
        assert code_of(response) == (403, "csrf_token_invalid"), headers
        assert browser.get("/v1/account", headers=headers).status_code == 200
    same_origin = [{"Sec-Fetch-Site": site} for site in ("same-origin", "none")]
    same_origin += [{"Origin": origin} for origin in own]
    for headers in [*same_origin, {"Sec-Fetch-Site": "same-origin", "Origin": foreign[0]}]:
        response = browser.patch("/v1/account", {"name": "Ann"}, headers={"X-CSRF-Token": browser.csrf} | headers)
        assert response.status_code == 200, headers


def test_a_csrf_token_is_valid_for_its_session_only(browser):
    other = Person(browser.client, browser.email)
    csrf = other.sign_in(cookie=True).json["csrf_token"]
    assert csrf != browser.csrf
    assert browser.patch("/v1/account", {"name": "Eve"}, headers={"X-CSRF-Token": csrf}).status_code == 403


def test_a_bearer_token_needs_no_csrf_token_and_takes_precedence_over_a_cookie(client, browser):
    bob = new_person(client, "bob")
    bob.headers = browser.headers
    assert bob.get("/v1/account").json["email"] == bob.email
    assert bob.patch("/v1/account", {"name": "Bob"}).status_code == 200


@pytest.mark.parametrize("header", ["Bearer sst_unknown", "Bearer nonsense", "Bearer", "Basic YW5uOng=", ""])
def test_an_invalid_authorization_header_is_rejected_in_spite_of_a_valid_cookie(browser, header):
    assert browser.get("/v1/account").status_code == 200
    response = browser.get("/v1/account", headers={"Authorization": header})
    assert code_of(response) == (401, "not_signed_in")


def test_a_retried_sign_in_sets_the_cookie_again(client, browser):
    body = {"email": browser.email, "password": SECRET, "cookie": True}
    cookies = [
        client.post("/v1/sessions", json=body, headers={"Idempotency-Key": "c"}).headers["Set-Cookie"].split(";")[0]
        for _ in range(2)
    ]
    assert cookies[0] == cookies[1]


def test_a_cross_site_form_cannot_sign_in(client, browser):
    response = client.post("/v1/sessions", data={"email": browser.email, "password": SECRET})
    assert code_of(response) == (415, "unsupported_media_type")
