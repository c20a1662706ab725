"""Every change by an operator leaves one event with the resource, its old and new members, the amount and the reason.

The walk sends the request of each of the matrix's rows that changes something, as an admin who is signed in. A new
route fails it until its view is `@audited`.
"""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from streamsvc.models import AuditEvent, WebhookDelivery
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.accounts.personal_data import erase_personal_data
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import MAX_VALUE_LENGTH
from streamsvc.storage.database import SAFE_METHODS, db
from tests.worlds.access_world import AccessWorld, load_access_matrix
from tests.worlds.operator_steps import PASSWORD
from tests.worlds.plans import query_plan
from tests.worlds.playback_steps import FEATURES
from tests.worlds.sessions_steps import Person, code_of, operator, run_jobs

pytestmark = pytest.mark.either_database

_, ROWS = load_access_matrix()
NOT_AUDITED = {
    ("POST", "/v1/admin/accounts/<account_id>/exports"): "changes nothing: account_exported",
    ("POST", "/v1/admin/accounts/<account_id>/password-resets"): "changes nothing: authn_password_reset_asked",
    ("POST", "/v1/admin/explain"): "changes nothing",
    ("POST", "/v1/admin/invoice-previews"): "changes nothing",
    (
        "POST",
        "/v1/admin/subscriptions/<subscription_id>/refresh",
    ): "asks a store: tests/subscriptions/test_store_purchases.py",
    ("POST", "/v1/admin/sessions"): "nobody is signed in yet: authn_login_success",
    ("POST", "/v1/admin/invitations"): "nobody is signed in yet, and nothing takes effect before the PUT",
    ("PUT", "/v1/admin/invitations"): "nobody is signed in yet: operator_enrolled",
    ("POST", "/v1/admin/sessions/current/reauthentication"): "changes no resource: reauthn_success",
}
"""Each with the reason, and with the event that it records instead."""
WRITES = [
    row
    for row in ROWS
    if row.rule.startswith(("/v1/admin", "/v1/operators"))
    and row.method not in SAFE_METHODS
    and row.key not in NOT_AUDITED
]
PRINCIPAL = "admin session"
HIDDEN_COLUMNS = ("_hash", "_encrypted", "_ciphertext", "request_key", "fingerprint")
SECRET_MEMBERS = {
    "token",
    "secret",
    "otpauth_uri",
    "recovery_codes",
    "password",
    "current_password",
    "password_hash",
    "code",
}
PERSONAL = (
    "a@example.com",
    "moved@example.com",
    "Somebody New",
    "chargebacks",
    "a lost evening",
    "asked by phone",
    "a thief",
    "sorry",
)
"""Personal data and reasons in the walk's requests: erased with the account, so never in an event without one."""
PUBLIC_CODES = {"SAVE", "KEPT", "standard", "extra", "another", "favourites", "acme"}
"""Values of `code` that are no secret: of coupons, plans, collections and legal entities."""


@pytest.fixture
def world(app):
    return AccessWorld.for_app(app)


@dataclass
class Request:
    """What the walk sends instead of the matrix's request: it succeeds, and changes something."""

    body: dict | None = None
    headers: dict = field(default_factory=dict)
    ids: dict = field(default_factory=dict)


def now(world):
    return world.app.extensions["clock"]()


def edit_row(world, model, key, **values):
    """Bring a row into a state that would take the walk months of the service's time."""
    with world.app.app_context():
        row = db.session.get(model, key)
        for name, value in values.items():
            setattr(row, name, value)
        db.session.commit()


def open_invoice(world):
    """An invoice of an account without a payment method."""
    body = {"account_id": world.shared_ids["unverified_account"], "amount_minor": 700, "currency": "EUR"}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    created = world.admin.post("/v1/admin/invoices", {**body, "description": "A poster"}, headers=headers)
    assert (created.status_code, created.json["status"]) == (201, "open")
    return {"invoice": created.json["id"]}


def draft(world, is_held=False):
    ids = open_invoice(world)
    edit_row(world, Invoice, ids["invoice"], status="draft", number=None, finalizes_at=None if is_held else now(world))
    return ids


def parked(world):
    subscription_id = world.ids_by_household["A"]["subscription"]
    edit_row(world, Subscription, subscription_id, billing_held_at=now(world), billing_hold_reason="a difference")
    return Request()


def delivered(world):
    """A delivery to an endpoint that receives events of all kinds."""
    assert world.admin.post("/v1/admin/webhook-endpoints", {"url": "https://example.com/all"}).status_code == 201
    path = f"/v1/admin/subscriptions/{world.ids_by_household['A']['subscription']}/cancellation"
    assert world.admin.post(path, {}, headers={"Idempotency-Key": secrets.token_hex(8)}).status_code == 200
    return Request(ids={"delivery": world.admin.get("/v1/admin/webhook-deliveries").json["items"][0]["id"]})


def given_up(world):
    """A delivery that was given up, and not redelivered since."""
    edit_row(world, WebhookDelivery, delivered(world).ids["delivery"], status="failed")
    return Request()


def new_authenticator(world):
    staff = world.staff["admin"]
    secret = staff.post("/v1/admin/credentials/totp").json["secret"]
    return Request({"code": replace(staff, secret=secret).code()})


def another_session(world):
    staff = replace(world.staff["admin"])  # whose own token stays that of the first session
    signed_in = staff.try_to_sign_in(recovery_code=staff.codes[0])
    assert signed_in.status_code == 201, signed_in.json
    return Request(ids={"operator_session": signed_in.json["session"]["id"]})


def signed_in_operator(world):
    return Request(ids={"operator": world.operator_ids["support"]})


def configured_home(world):
    rows = {"items": [{"kind": "new", "title": "Fresh"}]}
    assert world.admin.put("/v1/admin/home", rows).status_code == 200
    return Request()


def new_account(world):
    imported = {"email": "moved@example.com", "country": "DE", "name": "Somebody New"}
    return Request(imported | {"password_hash": PasswordHasher(1, 8, 1).hash("a password from elsewhere")})


REQUESTS = {
    "POST /v1/admin/accounts": new_account,
    "PATCH /v1/admin/accounts/<account_id>": Request({"status": "disabled", "reason": "chargebacks"}),
    "POST /v1/admin/accounts/<account_id>/recoveries": lambda world: Request(
        {"reason": "cannot sign in"}, ids={"account": world.shared_ids["unverified_account"]}
    ),
    "POST /v1/admin/accounts/<account_id>/credits": Request(
        {"amount_minor": 250, "currency": "EUR", "reason": "a lost evening"}
    ),
    "PUT /v1/admin/collections/<code>": Request({"title": "Favorites", "items": ["show", "film"]}),
    "PUT /v1/admin/coupons/<code>": Request({"percent_off": 10, "duration": "once", "max_redemptions": 5}),
    "PUT /v1/admin/credentials/password": Request({"current_password": PASSWORD, "password": "eight blue herons"}),
    "PUT /v1/admin/credentials/totp": new_authenticator,
    "POST /v1/admin/gift-codes": Request({"currency": "EUR", "amount_minor": 900, "code": "WORTH-NINE-EUROS"}),
    "PUT /v1/admin/home": Request({"items": [{"kind": "new", "title": "Fresh"}]}),
    "DELETE /v1/admin/home": configured_home,
    "PUT /v1/admin/invoices/<invoice_id>/hold": lambda world: Request(ids=draft(world)),
    "DELETE /v1/admin/invoices/<invoice_id>/hold": lambda world: Request(ids=draft(world, is_held=True)),
    "POST /v1/admin/invoices/<invoice_id>/lines": lambda world: Request(
        {"amount_minor": 100, "description": "A poster"}, ids=draft(world)
    ),
    "POST /v1/admin/invoices/<invoice_id>/payments": lambda world: Request(
        {"amount_minor": 100, "reference": "RF18 5390"}, ids=open_invoice(world)
    ),
    "POST /v1/admin/invoices/<invoice_id>/void": lambda world: Request(ids=open_invoice(world)),
    "POST /v1/admin/invoices/<invoice_id>/write-off": lambda world: Request(ids=open_invoice(world)),
    "DELETE /v1/admin/operators/<operator_id>/sessions": signed_in_operator,
    "POST /v1/admin/operators/<operator_id>/reset": signed_in_operator,
    "DELETE /v1/admin/sessions/<session_id>": another_session,
    "POST /v1/admin/subscriptions": Request(
        {"account_id": "{unverified_account}", "price_id": "{price}", "paid_through": "2026-03-01"}
    ),
    "POST /v1/admin/subscriptions/<subscription_id>/cancellation": Request(
        {"when": "period_end", "reason": "asked by phone"}
    ),
    "DELETE /v1/admin/subscriptions/<subscription_id>/parking": parked,
    "POST /v1/admin/subscriptions/<subscription_id>/transfer": Request({"account_id": "{unverified_account}"}),
    "PATCH /v1/admin/titles/<path:external_id>": Request({"year": 1999}, {"If-Match": "*"}),
    "POST /v1/admin/webhook-deliveries/<delivery_id>/redelivery": delivered,
    "POST /v1/admin/webhook-redeliveries": given_up,
}
"""For each row whose request in the matrix is not successful, changes nothing or gives no reason."""


def send_write(world, row):
    """Send a request of the row that succeeds; its body and the response."""
    request = REQUESTS.get(f"{row.method} {row.rule}", Request())
    request = request(world) if callable(request) else request
    if request.body is not None:
        row = replace(row, sends="json " + json.dumps(request.body))
    response = world.send_request(row, PRINCIPAL, request.ids, request.headers)
    assert response.status_code < 300, f"REQUESTS needs a request of {row.key} that succeeds: {response.text}"
    return json.loads(row.sends.removeprefix("json ")) if row.sends.startswith("json ") else {}, response


def list_audit_rows(after=0):
    return db.session.execute(sa.select(*AuditEvent.__table__.c).where(AuditEvent.seq > after)).all()


def find_fault(events, body):
    """What an auditor would miss in the events of one request; None if it is all there."""
    reporting = [event for event in events if "old" in event.details and "new" in event.details]
    if len(reporting) != 1:
        return f"{len(reporting)} events report the change: {[event.action for event in events]}"
    details = reporting[0].details
    if details["object"] != {"type": reporting[0].object_type, "id": reporting[0].object_id}:
        return "the object is missing"
    if not (details["old"] or details["new"]):
        return "nothing has changed"
    expected = {name: body[name] for name in ("amount_minor", "currency", "reason") if body.get(name) is not None}
    if "amount_minor" not in expected:
        expected.pop("currency", None)
    missing = {name: value for name, value in expected.items() if details.get(name) != value}
    return f"it lacks {missing}" if missing else None


def test_every_change_by_an_operator_reports_what_changed(app, world):
    faults = {}
    for row in WRITES:
        world.restore()
        with app.app_context():
            before = max(event.seq for event in list_audit_rows())
        body, _ = send_write(world, row)
        with app.app_context():
            events = [event for event in list_audit_rows(before) if event.actor == world.operator_ids["admin"]]
            events = [event for event in events if event.details["request_id"] == "the-same-for-all"]
            if fault := find_fault(events, body):
                faults[row.key] = fault
            assert audit.find_first_break() is None
    assert faults == {}
    assert len(WRITES) > 45


def secrets_in(value, name=None):
    """Yield the secrets of a JSON document: the strings in members of these names, at any depth."""
    if isinstance(value, dict):
        for inner_name, inner in value.items():
            yield from secrets_in(inner, inner_name)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_in(inner, name)
    elif isinstance(value, str) and name in SECRET_MEMBERS and value not in PUBLIC_CODES:
        yield value


def stored_secrets():
    """All hashes, encrypted values and gift codes in the database."""
    found = set()
    for table in db.metadata.sorted_tables:
        columns = [column for column in table.c if column.name.endswith(HIDDEN_COLUMNS)]
        columns += [column for column in table.c if (table.name, column.name) == ("gift_codes", "code")]
        for row in db.session.execute(sa.select(*columns)) if columns else ():
            found |= {value for value in row if isinstance(value, str)}
    return found


def test_the_audit_log_contains_no_secret_that_the_walk_produced(app, world):
    found, log = set(filter(None, world.tokens.values())), []
    for row in WRITES:
        world.restore()
        body, response = send_write(world, row)
        found |= {*secrets_in(body), *secrets_in(response.get_json(silent=True) or {})}
        with app.app_context():
            found |= stored_secrets()
            rows = list_audit_rows()
            log += [str(row._mapping) for row in rows]
            not_erasable = [str(row._mapping) for row in rows if row.account_id is None]
        assert not [text for text in not_erasable if any(word in text for word in PERSONAL)], row.key
    assert not {secret for secret in found for text in log if secret in text}
    assert {"WORTH-NINE-EUROS", PASSWORD, "eight blue herons"} < found
    assert len(found) > 80


# --- what is recorded ------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(app):
    return operator(app)


def newest(admin, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return admin.get(f"/v1/admin/audit?limit=1&{text}").json["items"][0]


def change_of(event):
    return {name: event["details"].get(name) for name in ("object", "old", "new")}


def test_only_the_members_that_changed_are_recorded(admin):
    admin.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "VAT"})
    assert change_of(newest(admin, object_id="DE")) == {
        "object": {"type": "tax_rate", "id": "DE"},
        "old": None,
        "new": {"country": "DE", "category": "standard", "percent": 19, "name": "VAT"},
    }
    admin.put("/v1/admin/tax-rates/DE", {"percent": "7.5", "name": "VAT"})
    assert change_of(newest(admin, object_id="DE"))["old"] == {"percent": 19}
    assert change_of(newest(admin, object_id="DE"))["new"] == {"percent": 7.5}
    admin.put("/v1/admin/tax-rates/DE", {"percent": "7.5", "name": "VAT"})
    assert change_of(newest(admin, object_id="DE")) | {"object": None} == {"object": None, "old": {}, "new": {}}


@pytest.mark.every_database
def test_a_replaced_plan_shows_its_old_and_new_prices(admin):
    price = {"currency": "EUR", "amount_minor": 999, "tax": "inclusive"}
    plan = {"name": "S", "features": FEATURES, "prices": [price]}
    admin.put("/v1/admin/plans/s", plan)
    admin.put("/v1/admin/plans/s", plan | {"prices": [price | {"amount_minor": 1299}]})
    change = change_of(newest(admin, object_type="plan", object_id="s"))
    assert {side: [price["amount_minor"] for price in change[side]["prices"]] for side in ("old", "new")} == {
        "old": [999],
        "new": [1299],
    }
    assert change["old"].keys() == {"prices"}


def test_a_deletion_has_no_new_members_and_a_rejected_change_is_not_recorded(admin):
    admin.put("/v1/admin/titles/film", {"external_id": "film", "kind": "movie", "title": "A Film"})
    assert admin.put("/v1/admin/titles/film", {"external_id": "film", "kind": "movie"}).status_code == 422
    created = newest(admin, object_id="film")
    assert (created["details"]["old"], created["details"]["new"]["title"]) == (None, "A Film")
    title_id = created["details"]["new"]["id"]
    assert admin.delete(f"/v1/admin/titles/{title_id}").status_code == 204  # by its other name
    deleted = newest(admin, object_id="film")
    assert (deleted["details"]["old"]["title"], deleted["details"]["new"]) == ("A Film", None)
    assert deleted["seq"] == created["seq"] + 1


def test_of_a_long_value_the_start_is_recorded_with_digest_and_length(admin):
    title = {"external_id": "film", "kind": "movie", "title": "A Film", "synopsis": "x" * MAX_VALUE_LENGTH}
    admin.put("/v1/admin/titles/film", title)
    recorded = newest(admin, object_id="film")["details"]["new"]["synopsis"]
    assert (recorded["length"], len(recorded["start"]), len(recorded["sha256"])) == (2002, 2000, 64)
    admin.put("/v1/admin/titles/film", title | {"synopsis": "y" * (MAX_VALUE_LENGTH - 2)})
    assert newest(admin, object_id="film")["details"]["new"] == {"synopsis": "y" * (MAX_VALUE_LENGTH - 2)}


def test_of_a_long_list_the_items_that_changed_are_recorded(admin):
    """Sixteen prices are longer than what is recorded of a value; the one that changed is the last."""
    currencies = [f"{a}{b}D" for a in "ABCD" for b in "SUZW"]
    prices = [{"currency": name, "amount_minor": 5000, "interval": "month"} for name in currencies]
    body = {"name": "Many", "prices": prices}
    assert admin.put("/v1/admin/plans/many", body).status_code == 200
    prices[-1]["amount_minor"] = 1
    assert admin.put("/v1/admin/plans/many", body).status_code == 200
    details = newest(admin)["details"]
    amounts = [[price["amount_minor"] for price in details[side]["prices"]] for side in ("old", "new")]
    assert amounts == [[5000], [1]]


def test_what_may_be_secret_in_a_url_is_not_recorded(admin):
    url = "https://user:hunter2@hooks.example/path?token=sesame"
    created = admin.post("/v1/admin/webhook-endpoints", {"url": url}).json
    events = [newest(admin)]
    assert admin.delete(f"/v1/admin/webhook-endpoints/{created['id']}").status_code == 204
    events.append(newest(admin))
    assert events[0]["details"]["new"]["url"] == "https://hooks.example/path"
    assert "hunter2" not in str(events) and "sesame" not in str(events)


def test_secrets_are_recorded_as_hidden(world, app):
    row = next(row for row in ROWS if row.key == ("PUT", "/v1/admin/credentials/password"))
    send_write(world, row)
    event = newest(world.admin, action="authn_password_change")
    assert (event["object_type"], event["object_id"]) == ("operator", world.operator_ids["admin"])
    assert event["details"]["old"] == event["details"]["new"] == {"password": "[hidden]"}


def test_an_import_records_its_file_and_then_its_counts(app, admin):
    headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/x-ndjson"}
    lines = '{"external_id": "film", "kind": "movie", "title": "A Film"}\nnonsense'
    imported = admin.client.post("/v1/admin/imports", data=lines, headers=headers).json
    details = newest(admin, object_id=imported["id"])["details"]
    assert (details["file_bytes"], len(details["file_sha256"])) == (len(lines), 64)
    run_jobs(app)
    finished = newest(admin, object_id=imported["id"])
    assert (finished["action"], finished["actor"]) == ("catalog_imported", None)
    counts = {name: finished["details"][name] for name in ("status", "added", "changed", "rejected", "removed")}
    assert counts == {"status": "done", "added": 1, "changed": 0, "rejected": 1, "removed": 0}


def test_credit_shows_the_balances_before_and_after(world):
    row = next(row for row in ROWS if row.key == ("POST", "/v1/admin/accounts/<account_id>/credits"))
    for _ in range(2):
        send_write(world, row)
    details = newest(world.admin, object_id=world.ids_by_household["A"]["account"])["details"]
    balances = [[{"currency": "EUR", "amount_minor": amount}] for amount in (251, 501)]
    assert [details[side]["credit_balances"] for side in ("old", "new")] == balances
    assert (details["amount_minor"], details["currency"], details["reason"]) == (250, "EUR", "a lost evening")


@pytest.mark.every_database
def test_concurrent_changes_report_what_each_of_them_replaced(app, admin):
    def put_rate(percent):
        body = {"percent": percent, "name": "VAT"}
        return Person(app.test_client(), "", token=admin.token).put("/v1/admin/tax-rates/DE", body).status_code

    assert put_rate(1) == 200
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(put_rate, range(2, 14))) <= {200, 503}
    events = admin.get("/v1/admin/audit?object_id=DE&limit=100").json["items"][::-1]
    changes = [(event["details"]["old"], event["details"]["new"]["percent"]) for event in events]
    assert len(changes) > 5
    assert changes[1:] == [({"percent": before}, after) for (_, before), (_, after) in pairwise(changes)]


@pytest.mark.every_database
def test_a_charge_that_commits_before_it_is_sent_has_the_whole_change_in_its_own_event(world):
    before = newest(world.admin)["seq"]
    world.send_request(next(row for row in ROWS if row.key == ("POST", "/v1/admin/invoices")), PRINCIPAL)
    events = world.admin.get("/v1/admin/audit?limit=9").json["items"]
    started, charged = [event for event in events if event["seq"] > before][::-1]
    assert started["account_id"] == charged["account_id"] is not None  # whose card was tried, also if it is declined
    assert (started["action"], started["details"]["amount_minor"], "new" in started["details"]) == (
        "operator_call",
        100,
        False,
    )
    assert (charged["action"], charged["details"]["old"], charged["details"]["new"]["status"]) == (
        "one_off_charged",
        None,
        "paid",
    )


def test_what_was_changed_is_erased_with_the_account(world, app):
    account_id = world.ids_by_household["A"]["account"]
    row = next(row for row in ROWS if row.key == ("POST", "/v1/admin/accounts/<account_id>/credits"))
    send_write(world, row)
    assert newest(world.admin, object_id=account_id)["details"]["reason"] == "a lost evening"
    with app.app_context():
        erase_personal_data(account_id, "a@example.com", app.extensions["clock"]())
        db.session.commit()
    erased = world.admin.get(f"/v1/admin/audit?object_id={account_id}").json["items"]
    assert erased and {event["details"] for event in erased} == {None}
    assert world.admin.get("/v1/admin/audit/chain").json["first_break"] is None


@pytest.mark.parametrize("values", [{"object_id": "FR"}, {"object_type": "plan"}, dict.fromkeys(("object_type",))])
def test_the_chain_covers_the_object(app, admin, values):
    admin.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "VAT"})
    seq = newest(admin, object_id="DE")["seq"]
    with app.app_context():
        db.session.execute(sa.update(AuditEvent).where(AuditEvent.seq == seq).values(**values))
        db.session.commit()
    assert admin.get("/v1/admin/audit/chain").json["first_break"] == seq


@pytest.mark.every_database
def test_events_are_found_by_their_object_over_an_index(app, admin):
    admin.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "VAT"})
    assert code_of(admin.get("/v1/admin/audit?object_type=plan")) == (422, "invalid")
    assert admin.get("/v1/admin/audit?object_type=plan&object_id=DE").json["items"] == []
    assert len(admin.get("/v1/admin/audit?object_type=tax_rate&object_id=DE").json["items"]) == 1
    with app.app_context():
        events = sa.select(AuditEvent).where(AuditEvent.object_id == "DE").order_by(AuditEvent.seq.desc()).limit(2)
        assert "ix_audit_events_object_id" in query_plan(events)
