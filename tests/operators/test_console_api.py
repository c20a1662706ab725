"""What the console reads and does over the API: sign-in by cookie, finding viewers, timelines, changes for them."""

import re
import secrets

import pytest
import sqlalchemy as sa

from streamsvc.models import Account, AuditEvent
from streamsvc.operations.console import account_search, disputes, title_search
from streamsvc.security.authentication import OPERATOR_COOKIE
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.catalog_world import Catalog
from tests.worlds.operator_steps import enrolled, new_operator
from tests.worlds.sessions_steps import code_of, mails, new_person, operator

CURRENT = "/v1/admin/sessions/current"


@pytest.fixture
def admin(app):
    return operator(app)


def keyed():
    return {"Idempotency-Key": secrets.token_hex(8)}


# --- sign-in by cookie ------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(app):
    """A browser in which an admin is signed in by cookie, and the CSRF token of the session."""
    staff = enrolled(app, "admin")
    response = staff.sign_in(cookie=True)
    assert (response.status_code, "token" in response.json) == (201, False)
    return staff.client, response.json["csrf_token"]


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(app):
    cookie = enrolled(app, "admin").sign_in(cookie=True).headers["Set-Cookie"]
    assert cookie.startswith(f"{OPERATOR_COOKIE}=ops_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Set-Cookie" not in enrolled(app, "support").sign_in().headers


def test_a_change_by_cookie_needs_the_csrf_token_and_a_read_does_not(app, browser):
    client, csrf_token = browser
    assert client.get(CURRENT).json["csrf_token"] == csrf_token
    assert client.get("/v1/admin/accounts").status_code == 200
    body = {"name": "nightly", "scopes": ["billing"]}
    for headers in ({}, {"X-CSRF-Token": "wrong"}):
        assert code_of(client.post("/v1/admin/api-keys", json=body, headers=headers)) == (403, "csrf_token_invalid")
    assert client.post("/v1/admin/api-keys", json=body, headers={"X-CSRF-Token": csrf_token}).status_code == 201


@pytest.mark.parametrize("sent", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://app.example"}])
def test_the_cookie_does_not_count_for_pages_of_other_hosts_even_of_allowed_origins(app, browser, monkeypatch, sent):
    client, csrf_token = browser
    settings = app.extensions["settings"].replace(cors_origins=("https://app.example",))
    monkeypatch.setitem(app.extensions, "settings", settings)
    for method, path in (("GET", CURRENT), ("GET", "/v1/admin/accounts"), ("DELETE", CURRENT)):
        response = client.open(path, method=method, headers=sent | {"X-CSRF-Token": csrf_token})
        assert code_of(response) == (401, "not_signed_in")
    assert client.get(CURRENT, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_the_cookie_counts_under_v1_admin_alone_and_leaves_a_viewers_session_as_it_is(app, browser):
    client, _ = browser
    assert client.get("/v1/catalog/titles").status_code == 401
    body = {"email": "eve@example.com", "password": "a long secret 7", "country": "DE", "cookie": True}
    assert client.post("/v1/accounts", json=body).status_code == 201
    assert client.get("/v1/sessions/current").json["account"]["email"] == "eve@example.com"
    assert client.get(CURRENT).json["operator"]["role"] == "admin"


def test_signing_out_ends_the_session_and_deletes_the_cookie(app, browser):
    client, csrf_token = browser
    value = client.get_cookie(OPERATOR_COOKIE).value
    response = client.delete(CURRENT, headers={"X-CSRF-Token": csrf_token})
    assert (response.status_code, client.get_cookie(OPERATOR_COOKIE)) == (204, None)
    client.set_cookie(OPERATOR_COOKIE, value)
    assert client.get(CURRENT).status_code == 401


def test_an_invitation_leads_to_the_console_unless_it_is_off(app, admin, monkeypatch):
    for is_on, page in ((True, "/console#/operator-invitation?token="), (False, "/#/operator-invitation?token=")):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(console=is_on))
        email = f"bob{is_on}@example.com"
        assert admin.post("/v1/admin/operators", {"email": email, "name": "B", "role": "support"}).status_code == 201
        text = mails(app, email, "operator_invitation")[0]["text"]
        assert app.extensions["settings"].public_url + page in text
        token = re.search(r"token=([\w-]+)", text)[1]
        invitation = app.test_client().post("/v1/admin/invitations", json={"token": token}).json
        assert invitation["qr_code"].startswith("data:image/svg+xml")
        assert app.test_client().get("/console").status_code == (200 if is_on else 404)


# --- finding viewers --------------------------------------------------------------------------------------------------


def found(caller, q, **more):
    response = caller.get("/v1/admin/accounts", query_string={"q": q, **more})
    assert response.status_code == 200, response.json
    return [item["email"] for item in response.json["items"]]


def test_a_viewer_is_found_by_any_part_of_email_or_name_ignoring_case_and_accents(app, admin):
    for name, text in (("ann", "Ånn Ångström"), ("bob", "Robert")):
        assert new_person(app.test_client(), name).patch("/v1/account", {"name": text}).status_code == 200
    assert found(admin, "ANGST") == found(admin, "nn@exam") == found(admin, "ann@example.com") == ["ann@example.com"]
    assert found(admin, "example") == ["bob@example.com", "ann@example.com"]
    assert found(admin, "%") == found(admin, "_") == found(admin, "nobody") == []
    both = admin.get("/v1/admin/accounts", query_string={"q": "x", "email": "ann@example.com"})
    assert code_of(both) == (422, "invalid")


def test_a_viewer_is_found_by_ids_an_invoice_number_and_the_cards_last_digits(app, admin):
    world = World(app)
    price = world.plan("standard", 999)
    buyer, other = world.person(), world.person()
    subscription = buyer.subscribe(price).json
    [invoice] = buyer.invoices()
    email = admin.get(f"/v1/admin/accounts/{buyer.id}").json["email"]
    clues = [buyer.id, subscription["id"], invoice["id"], invoice["number"], invoice["payments"][0]["id"]]
    assert [found(admin, clue) for clue in clues] == [[email]] * len(clues)
    last4 = buyer.get("/v1/payment-methods").json["items"][0]["last4"]
    assert {email} <= set(found(admin, last4)) and len(found(admin, last4)) == 2
    assert found(admin, "0000") == [] and other.id != buyer.id
    assert found(admin, "acc_" + "0" * 26) == []


def test_a_search_continues_where_it_stopped_though_nothing_fitted(app, admin, monkeypatch):
    monkeypatch.setattr(account_search, "MAX_SCANNED", 2)
    for name in ("ann", "bob", "cleo", "dora", "eva"):
        new_person(app.test_client(), name)
    pages, cursor = [], None
    while True:
        query = {"q": "ann@", **({"cursor": cursor} if cursor else {})}
        page = admin.get("/v1/admin/accounts", query_string=query).json
        pages.append([item["email"] for item in page["items"]])
        if not (cursor := page["next_cursor"]):
            break
    assert pages == [[], [], ["ann@example.com"]]


def test_titles_are_found_by_part_of_their_name_or_an_id_whether_or_not_they_may_be_watched(app, admin, monkeypatch):
    catalog = Catalog(app)
    for name in ("The Long Road", "Zoë's Holiday", "Another Road"):
        catalog.put(name, windows=[])
    names = lambda q: [item["title"] for item in admin.get("/v1/admin/titles", query_string={"q": q}).json["items"]]  # noqa: E731
    assert names("road") == ["Another Road", "The Long Road"] and names("zoe") == ["Zoë's Holiday"]
    [item] = admin.get("/v1/admin/titles?q=zoe").json["items"]
    assert names(item["id"]) == names(item["external_id"]) == ["Zoë's Holiday"]
    monkeypatch.setattr(title_search, "MAX_SCANNED", 1)
    page = admin.get("/v1/admin/titles?q=zoe").json
    assert (page["items"], page["next_cursor"] is None) == ([], False)


# --- timeline ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def customer(app):
    """A subscriber, and an operator per role."""
    world = World(app)
    world.prices = world.plan("standard", 999, 1999)
    buyer = world.person()
    assert buyer.subscribe(world.prices[0]).status_code == 201
    return world, buyer


def timeline(caller, account_id, **query):
    entries, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = caller.get(f"/v1/admin/accounts/{account_id}/timeline", query_string={"limit": 3, **query, **more})
        assert page.status_code == 200, page.json
        entries += page.json["items"]
        if not (cursor := page.json["next_cursor"]):
            return entries


def test_a_timeline_merges_all_sources_newest_first_and_pages_without_gaps(app, admin, customer):
    world, buyer = customer
    world.clock.advance(minutes=1)
    assert admin.patch(f"/v1/admin/accounts/{buyer.id}", {"status": "disabled", "reason": "asked"}).status_code == 200
    entries = timeline(admin, buyer.id)
    whole = admin.get(f"/v1/admin/accounts/{buyer.id}/timeline?limit=100").json
    assert (entries, whole["next_cursor"]) == (whole["items"], None)
    assert [entry["at"] for entry in entries] == sorted((entry["at"] for entry in entries), reverse=True)
    assert len({(entry["kind"], entry["id"]) for entry in entries}) == len(entries)
    assert {"audit", "device", "event", "invoice", "payment", "sign_in"} <= {entry["kind"] for entry in entries}
    disabled = next(entry for entry in entries if entry["what"] == "account_disabled")
    assert disabled["details"]["old"]["status"] == "active" and disabled["details"]["new"]["status"] == "disabled"
    assert {entry["kind"] for entry in timeline(admin, buyer.id, kind="payment")} == {"payment"}
    other = world.person()
    assert not {entry["id"] for entry in timeline(admin, other.id)} & {entry["id"] for entry in entries}


def test_a_timeline_has_only_what_the_role_may_read(app, admin, customer):
    _, buyer = customer
    admin.patch(f"/v1/admin/accounts/{buyer.id}", {"status": "disabled"})
    seen = {}
    for role in ("support", "billing", "auditor"):
        entries = timeline(new_operator(app, role), buyer.id)
        seen[role] = {entry["kind"] for entry in entries}
        shown = [entry["details"] for entry in entries if entry["kind"] == "audit"]
        assert any(shown) == (role == "auditor")
    assert not seen["support"] & {"invoice", "payment"} and {"invoice", "payment"} <= seen["billing"]
    assert code_of(new_operator(app, "catalog").get(f"/v1/admin/accounts/{buyer.id}/timeline"))[0] == 403


# --- changes on a viewer's behalf -------------------------------------------------------------------------------------


def audit_actions(app):
    with app.app_context():
        return list(db.session.scalars(sa.select(AuditEvent.action).order_by(AuditEvent.seq.desc()).limit(4)))


def test_a_plan_change_is_previewed_to_the_cent_then_made_with_the_operator_as_its_author(app, admin, customer):
    world, buyer = customer
    subscription, before = buyer.subscription(), buyer.invoices()
    body = {"price_id": world.prices[1], "when": "now"}
    asked = {"account_id": buyer.id, "subscription_id": subscription["id"]} | body
    preview = admin.post("/v1/admin/invoice-previews", asked).json
    assert buyer.subscription() == subscription and buyer.invoices() == before
    path = f"/v1/admin/subscriptions/{subscription['id']}/plan-change"
    changed = admin.post(path, body, headers=keyed())
    assert (changed.status_code, changed.json["price"]["id"]) == (200, world.prices[1])
    [invoice] = [invoice for invoice in buyer.invoices() if invoice not in before]
    assert invoice["total_minor"] == preview["total_minor"] and world.charges()[-1] == preview["amount_due_minor"]
    assert "plan_changed" in audit_actions(app) and world.differences() == []
    stranger = {**asked, "account_id": world.person().id}
    assert admin.post("/v1/admin/invoice-previews", stranger).status_code == 404


def test_a_declined_plan_change_changes_nothing(app, admin, customer):
    world, buyer = customer
    world.next_charge("decline")
    subscription = buyer.subscription()
    path = f"/v1/admin/subscriptions/{subscription['id']}/plan-change"
    response = admin.post(path, {"price_id": world.prices[1], "when": "now"}, headers=keyed())
    assert code_of(response) == (402, "payment_failed")
    assert buyer.subscription()["price"] == subscription["price"]


def test_a_subscription_on_hold_is_not_billed_until_it_is_released(app, admin, customer):
    world, buyer = customer
    path = f"/v1/admin/subscriptions/{buyer.subscription()['id']}/parking"
    held = admin.put(path, {"reason": "card tested by a thief"})
    assert (held.status_code, held.json["parked_reason"]) == (200, "card tested by a thief")
    assert code_of(admin.put(path, {"reason": "again"})) == (409, "wrong_state")
    charged = world.charges()
    world.go_to("2026-02-20")
    assert world.charges() == charged
    assert admin.delete(path).status_code == 200
    world.go_to("2026-02-21")
    assert len(world.charges()) == len(charged) + 1 and world.differences() == []


def test_a_reset_is_mailed_to_the_account_itself_and_not_for_a_disabled_one(app, admin):
    ann = new_person(app.test_client(), "ann")
    account_id = ann.get("/v1/account").json["id"]
    path = f"/v1/admin/accounts/{account_id}/password-resets"
    assert admin.post(path).status_code == 202
    [mail] = mails(app, ann.email, "password_reset")
    token = re.search(r"token=([\w-]+)", mail["text"])[1]
    body = {"token": token, "password": "another secret 8"}
    assert app.test_client().put("/v1/password-resets", json=body).status_code == 204
    admin.patch(f"/v1/admin/accounts/{account_id}", {"status": "disabled"})
    assert code_of(admin.post(path)) == (409, "account_not_active")
    assert len(mails(app, ann.email, "password_reset")) == 1


def test_an_export_is_what_the_owner_gets_and_is_recorded(app, admin):
    ann = new_person(app.test_client(), "ann")
    own = ann.get("/v1/account/export").json["tables"]
    account_id = ann.get("/v1/account").json["id"]
    export = admin.post(f"/v1/admin/accounts/{account_id}/exports")
    assert export.status_code == 200 and export.json["tables"].keys() == own.keys()
    assert export.json["tables"]["accounts"] == own["accounts"]
    assert "account_exported" in audit_actions(app)


def test_an_account_is_closed_as_by_its_owner_and_can_be_restored(app, admin):
    ann, bob = (new_person(app.test_client(), name) for name in ("ann", "bob"))
    account_id = ann.get("/v1/account").json["id"]
    assert admin.delete(f"/v1/admin/accounts/{account_id}").status_code == 204
    assert ann.get("/v1/account").status_code == 401 and bob.get("/v1/account").status_code == 200
    assert code_of(admin.delete(f"/v1/admin/accounts/{account_id}")) == (409, "account_not_active")
    token = re.search(r"token=([\w-]+)", mails(app, ann.email, "account_restoration")[0]["text"])[1]
    assert app.test_client().put("/v1/account-restorations", json={"token": token}).status_code == 204
    assert ann.sign_in().status_code == 201


def test_exporting_and_closing_need_a_recent_code_of_a_person(app, clock):
    ada, ann = new_operator(app, "admin", "ada"), new_person(app.test_client(), "ann")
    account_id = ann.get("/v1/account").json["id"]
    clock.advance(minutes=11)
    for method, path in (("post", "/exports"), ("delete", "")):
        response = getattr(ada, method)(f"/v1/admin/accounts/{account_id}{path}")
        assert code_of(response) == (403, "reauthentication_required")
    ada.prove()
    assert ada.delete(f"/v1/admin/accounts/{account_id}").status_code == 204


# --- figures, settings, lists -----------------------------------------------------------------------------------------


def test_the_overview_has_the_parts_that_the_role_may_read(app, customer):
    billing = {"subscriptions", "subscriptions_by_source", "payments"}
    everything = billing | {"sign_ups", "live_streams", "jobs", "webhooks"}
    parts = {
        "admin": everything,
        "auditor": everything,
        "billing": billing | {"sign_ups"},
        "support": {"sign_ups", "live_streams"},
        "catalog": set(),
    }
    for role, expected in parts.items():
        body = new_operator(app, role).get("/v1/admin/overview").json
        assert {name for name, part in body.items() if part is not None} - {"at"} == expected, role
    figures = new_operator(app, "admin", "ada").get("/v1/admin/overview").json
    assert figures["subscriptions"] == {"active": 1} and figures["payments"]["failed"] == 0
    assert figures["subscriptions_by_source"] == {"sandbox": {"active": 1}}
    assert (figures["sign_ups"]["total"], figures["sign_ups"]["days"][-1]["count"]) == (1, 1)
    assert operator(app).get("/v1/admin/overview").status_code == 401  # a machine has no console


def test_settings_are_listed_with_secrets_masked(app, admin):
    items = {item["name"]: item for item in admin.get("/v1/admin/settings").json["items"]}
    assert items["STREAMSVC_SECRET_KEY"]["value"] == "(set)" and items["STREAMSVC_CONSOLE"]["value"] == "1"
    text = admin.get("/v1/admin/settings").text
    assert not any(secret in text for secret in app.extensions["settings"].secret_key)
    assert code_of(operator(app, "support").get("/v1/admin/settings")) == (403, "insufficient_scope")


def test_coupons_gift_codes_and_tax_rates_are_listed_and_gift_codes_stay_secret(app, admin):
    assert admin.put("/v1/admin/coupons/SAVE", {"percent_off": 10, "duration": "once"}).status_code == 200
    gift = admin.post("/v1/admin/gift-codes", {"currency": "EUR", "amount_minor": 500}, headers=keyed()).json
    for country in ("FR", "DE"):
        assert admin.put(f"/v1/admin/tax-rates/{country}", {"percent": 19, "name": "VAT"}).status_code == 200
    assert [item["code"] for item in admin.get("/v1/admin/coupons").json["items"]] == ["SAVE"]
    listed = admin.get("/v1/admin/gift-codes")
    assert listed.json["items"][0]["amount_minor"] == 500 and gift["code"] not in listed.text
    assert [item["country"] for item in admin.get("/v1/admin/tax-rates").json["items"]] == ["DE", "FR"]


def test_disputed_payments_are_found_among_all(app, admin, customer, monkeypatch):
    world, buyer = customer
    assert admin.get("/v1/admin/disputes").json["items"] == []
    payment = buyer.invoices()[0]["payments"][0]
    assert admin.post(f"/v1/sandbox/payments/{payment['id']}/dispute", {}).status_code < 300
    world.person().subscribe(world.prices[0])
    monkeypatch.setattr(disputes, "MAX_SCANNED", 1)
    page = admin.get("/v1/admin/disputes").json
    assert page["items"] == [] and page["next_cursor"]
    page = admin.get("/v1/admin/disputes", query_string={"cursor": page["next_cursor"]}).json
    assert [item["id"] for item in page["items"]] == [payment["id"]]


def test_nobody_finds_a_guest(app, admin):
    with app.app_context():
        count = db.session.scalar(sa.select(sa.func.count()).select_from(Account))
    assert app.test_client().post("/v1/guests", json={"country": "DE"}).status_code == 201
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Account)) == count + 1
    assert found(admin, "guest") == found(admin, "acc") == []
