"""Sessions: sign-in, expiry, revocation and devices."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import Session
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.rate_limits import RateLimit
from streamsvc.schemas.sessions.sessions import CurrentSession, SignedIn
from streamsvc.security import viewers
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import SECRET, Person, code_of, everything, mailed_token, mails, new_person, operator


@pytest.fixture
def ann(client):
    return new_person(client)


def test_sessions_are_purged_a_month_after_their_longest_lifetime(app, ann, clock):
    clock.advance(days=399)
    ann.sign_in(device={"name": "Living room", "kind": "tv"})
    assert ann.post("/v1/sessions/current/reauthentication/passkey-options").status_code == 200
    left = sa.select(sa.func.count()).select_from(Session)
    for days, count in ((0, 2), (2, 1), (364, 1), (400, 1), (401, 0)):
        with app.app_context():
            purge_expired_data({}, clock.at + timedelta(days=days))
            db.session.commit()
            assert db.session.scalar(left) == count, days


def test_sign_up_responds_as_sign_in_does(client):
    ann = Person(client, "ann@example.com")
    sign_up, sign_in = ann.sign_up(), ann.sign_in()
    assert (sign_up.status_code, sign_in.status_code) == (201, 201)
    optional = {"csrf_token", "device_trust", "token_type"}
    assert sign_up.json.keys() == sign_in.json.keys() == set(SignedIn().fields) - optional


def test_one_call_returns_the_viewer_and_what_their_plan_allows(ann):
    current = ann.get("/v1/sessions/current").json
    assert set(current) == set(CurrentSession().fields) - {"csrf_token"}
    assert CurrentSession().validate({**current, "session": current["session"]}) == {}
    assert (current["account"]["email"], current["subscription"], current["entitlements"]["active"]) == (
        ann.email,
        None,
        False,
    )
    assert current["profile"] == current["profiles"][0]


def test_a_matching_etag_gets_304_and_an_ended_session_is_rejected(ann):
    etag = ann.get("/v1/sessions/current").headers["ETag"]

    def again():
        return ann.get("/v1/sessions/current", headers={"If-None-Match": etag})

    same = again()
    assert (same.status_code, same.get_data(), same.headers["ETag"]) == (304, b"", etag)
    ann.patch("/v1/account", {"name": "Ann"})
    assert again().json["account"]["name"] == "Ann"
    etag = again().headers["ETag"]
    ann.delete("/v1/sessions/current")
    assert again().status_code == 401


def test_the_credential_check_runs_one_query(ann, statements):
    statements.clear()
    assert ann.get("/v1/sessions/current").status_code == 200
    assert statements == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer sst_wrong"},
        {"Authorization": "Bearer sk_wrong"},
        {"Authorization": "Basic YTpi"},
    ],
)
def test_without_a_valid_token_requests_are_unauthenticated(client, headers):
    response = client.get("/v1/sessions/current", headers=headers)
    assert code_of(response) == (401, "not_signed_in")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/v1/sessions/current", "/v1/account"])
def test_the_challenge_of_a_401_tells_a_missing_token_from_an_invalid_one(client, path):
    def challenge(**headers):
        return client.get(path, headers=headers).headers["WWW-Authenticate"]

    assert challenge() == "Bearer"
    assert challenge(Authorization="Bearer sst_wrong") == 'Bearer error="invalid_token"'


def test_a_token_is_read_from_the_header_only(ann):
    assert ann.client.get(f"/v1/sessions/current?access_token={ann.token}").status_code == 422


def test_the_token_is_nowhere_in_the_database(app, ann):
    ann.sign_in()
    assert ann.token[4:] not in everything(app)
    assert SECRET not in everything(app)


def test_signing_out_takes_effect_with_the_next_request(ann):
    assert ann.delete("/v1/sessions/current").status_code == 204
    assert code_of(ann.get("/v1/sessions/current")) == (401, "not_signed_in")


def test_sessions_are_listed_with_their_devices(ann):
    ann.again().sign_in(device={"name": "Living room", "kind": "tv"})
    items = ann.get("/v1/sessions").json["items"]
    assert [(s["device"]["name"], s["device"]["kind"], s["current"]) for s in items] == [
        ("Living room", "tv", False),
        ("Unnamed device", "other", True),
    ]
    assert ann.get("/v1/sessions/current").json["session"]["current"] is True


def test_ending_one_session_keeps_the_others(ann):
    tv, phone = ann.again(), ann.again()
    tv_session = tv.sign_in().json["session"]["id"]
    phone.sign_in()
    assert ann.delete(f"/v1/sessions/{tv_session}").status_code == 204
    assert [person.get("/v1/sessions/current").status_code for person in (ann, tv, phone)] == [200, 401, 200]
    assert code_of(ann.delete(f"/v1/sessions/{tv_session}")) == (404, "not_found")


def test_all_other_sessions_are_ended_at_once(ann):
    others = [ann.again() for _ in range(3)]
    for other in others:
        other.sign_in()
    assert ann.delete("/v1/sessions").status_code == 204
    assert [person.get("/v1/sessions/current").status_code for person in (ann, *others)] == [200, 401, 401, 401]


def test_sessions_of_other_accounts_cannot_be_ended(client, ann):
    bob = new_person(client, "bob")
    foreign = bob.get("/v1/sessions/current").json["session"]["id"]
    rejected, missing = ann.delete(f"/v1/sessions/{foreign}"), ann.delete("/v1/sessions/ses_none")
    assert without_id(rejected.json) == without_id(missing.json)
    assert bob.get("/v1/sessions/current").status_code == 200


@pytest.mark.parametrize(
    "device, remember, idle, absolute",
    [
        ("tv", True, {"days": 60}, {"days": 365}),
        ("phone", True, {"days": 60}, {"days": 365}),
        ("web", True, {"days": 14}, {"days": 90}),
        ("web", False, {"hours": 2}, {"days": 1}),
    ],
)
def test_a_session_expires_when_unused_and_at_its_absolute_limit(
    app, client, clock, ann, device, remember, idle, absolute
):
    ann.sign_in(device={"kind": device}, remember=remember)
    clock.advance(**idle)
    assert ann.get("/v1/sessions/current").status_code == 401
    ann.sign_in(device={"kind": device}, remember=remember)
    start, step = clock.at, timedelta(**idle) / 2
    while clock.at - start < timedelta(**absolute) - step:
        assert ann.get("/v1/sessions/current").status_code == 200
        clock.at += step
    clock.at = start + timedelta(**absolute)
    assert ann.get("/v1/sessions/current").status_code == 401


def test_last_use_is_recorded_once_in_five_minutes(app, clock, ann):
    def last_seen():
        with app.app_context():
            return db.session.scalar(sa.select(Session.last_seen_at))

    first = last_seen()
    clock.advance(minutes=4)
    ann.get("/v1/sessions/current")
    assert last_seen() == first
    clock.advance(minutes=2)
    ann.get("/v1/sessions/current")
    assert last_seen() == clock.at
    [device] = ann.get("/v1/devices").json["items"]
    assert device["last_seen_at"] == "2026-01-15T12:06:00Z"  # its session's, which is later than its own


def test_a_higher_epoch_ends_every_session(database, new_app):
    app = new_app(database, "epoch")
    ann = new_person(app.test_client())
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.replace(session_epoch=1)
    assert ann.get("/v1/sessions/current").status_code == 401
    assert ann.sign_in().status_code == 201
    assert ann.get("/v1/sessions/current").status_code == 200


def test_a_known_device_keeps_its_id_and_an_unknown_id_is_replaced(app, client, ann):
    device = ann.sign_in(device={"name": "TV", "kind": "tv"}).json["session"]["device"]
    assert ann.sign_in(device={"id": device["id"], "kind": "tv"}).json["session"]["device"] == device
    bob = new_person(client, "bob")
    assert bob.sign_in(device={"id": device["id"]}).json["session"]["device"]["id"] != device["id"]


def test_the_owner_is_notified_of_a_new_device(app, ann):
    device = ann.sign_in(device={"name": "TV", "kind": "tv"}).json["session"]["device"]
    assert "TV signed in" in mails(app, ann.email, "new_device")[0]["text"]
    ann.sign_in(device={"id": device["id"]})
    assert len(mails(app, ann.email, "new_device")) == 1


def device_of(response):
    assert response.status_code == 201, response.json
    return response.json["session"]["device"]["id"]


def test_signing_in_again_with_the_former_token_is_on_the_same_device(app, client, ann):
    tv = ann.again()
    device = device_of(tv.sign_in(device={"name": "TV", "kind": "tv"}))
    bearer = {"Authorization": f"Bearer {tv.token}"}
    assert device_of(ann.again(headers=bearer).sign_in(device={"name": "Renamed", "kind": "tv"})) == device
    assert tv.delete("/v1/sessions/current").status_code == 204
    assert device_of(ann.again(headers=bearer).sign_in()) == device
    assert len(mails(app, ann.email, "new_device")) == 1
    assert len(ann.get("/v1/devices").json["items"]) == 2
    bob = new_person(client, "bob")
    assert device_of(bob.again(headers=bearer).sign_in()) != device


def test_a_device_that_only_looks_known_is_listed_once_and_trusted_with_nothing(app, ann, clock):
    look = {"device": {"name": "TV", "kind": "tv"}}
    tv = ann.again(headers={"User-Agent": "Telly/1"})
    device = device_of(tv.sign_in(**look))
    assert device_of(ann.again(headers={"User-Agent": "Telly/1"}).sign_in(**look)) != device  # two in use at once
    assert ann.delete("/v1/sessions").status_code == 204
    clock.advance(days=1)
    others = (
        {"headers": {"User-Agent": "Telly/2"}, **look},
        {"headers": {"User-Agent": "Telly/1"}, "device": {"name": "TV 2", "kind": "tv"}},
        {"headers": {"User-Agent": "Telly/1"}, "device": {"name": "TV", "kind": "web"}},
        {"headers": {"User-Agent": "Telly/1"}},
    )
    known = {item["id"] for item in ann.get("/v1/devices").json["items"]}
    for other in others:
        assert device_of(ann.again(headers=other.pop("headers")).sign_in(**other)) not in known
    sent = len(mails(app, ann.email, "new_device"))
    again = ann.again(headers={"User-Agent": "Telly/1"})
    assert device_of(again.sign_in(**look)) in known
    assert len(mails(app, ann.email, "new_device")) == sent + 1
    token = mailed_token(app, ann.email, "new_device")
    preview = ann.client.post("/v1/access-revocation-previews", json={"token": token}).json
    assert preview["since"] == again.get("/v1/sessions/current").json["session"]["created_at"]


def test_disowning_a_new_device_signs_it_out_and_clears_the_password(app, ann):
    thief, tv = ann.again(), ann.again()
    tv.sign_in(device={"name": "TV", "kind": "tv"})
    forged = {"name": "A laptop\n\nhttps://elsewhere.example", "kind": "web"}
    assert code_of(thief.sign_in(device=forged)) == (422, "invalid")
    assert thief.sign_in(device=forged | {"name": "A laptop <a href=x>Continue</a>"}).status_code == 201
    mail = mails(app, ann.email, "new_device")[0]
    assert "A laptop" in mail["text"] and "<a href=x>" not in mail["html"]
    token = mailed_token(app, ann.email, "new_device")
    statuses = [ann.client.put("/v1/devices/disowned", json={"token": token}).status_code for _ in range(2)]
    assert statuses == [204, 422]
    assert [person.get("/v1/sessions/current").status_code for person in (ann, tv, thief)] == [200, 200, 401]
    assert code_of(thief.sign_in()) == (401, "invalid_credentials")
    reset = mailed_token(app, ann.email, "password_reset")
    assert (
        ann.client.put("/v1/password-resets", json={"token": reset, "password": "another secret 8"}).status_code == 204
    )


def test_a_removed_device_is_signed_out_and_unknown(ann):
    tv = ann.again()
    device = tv.sign_in(device={"name": "TV", "kind": "tv"}).json["session"]["device"]["id"]
    assert ann.patch(f"/v1/devices/{device}", {"name": "Big TV"}).json["name"] == "Big TV"
    assert ann.delete(f"/v1/devices/{device}").status_code == 204
    assert tv.get("/v1/sessions/current").status_code == 401
    assert device not in [d["id"] for d in ann.get("/v1/devices").json["items"]]
    assert tv.sign_in(device={"id": device}).json["session"]["device"]["id"] != device


def test_a_retried_sign_in_gets_the_same_token_and_it_is_not_stored(app, ann):
    headers = {"Idempotency-Key": "one"}
    first = Person(ann.client, ann.email, headers=headers).sign_in()
    again = Person(ann.client, ann.email, headers=headers).sign_in()
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json["token"][4:] not in everything(app)
    assert len(ann.get("/v1/sessions").json["items"]) == 2
    other = Person(ann.client, ann.email, "another password", headers=headers).sign_in()
    assert code_of(other) == (422, "idempotency_key_reused")


def test_a_retried_sign_in_survives_a_new_signing_key(app, ann):
    headers = {"Idempotency-Key": "rotated"}
    first = Person(ann.client, ann.email, headers=headers).sign_in()
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.replace(secret_key=("n" * 40, *settings.secret_key))
    try:
        again = Person(ann.client, ann.email, headers=headers).sign_in()
    finally:
        app.extensions["settings"] = settings
    assert again.json["token"] == first.json["token"]


def test_the_token_of_an_api_key_is_shown_once_and_not_stored(app):
    admin = operator(app)
    created = admin.post("/v1/admin/api-keys", {"name": "cms", "scopes": ["catalog"]}, headers={"Idempotency-Key": "k"})
    assert created.status_code == 201
    assert created.json["token"][3:] not in everything(app)
    key = Person(admin.client, "cms", token=created.json["token"])
    assert code_of(key.get("/v1/admin/api-keys")) == (403, "insufficient_scope")
    assert admin.delete(f"/v1/admin/api-keys/{created.json['id']}").status_code == 204
    assert code_of(key.get("/v1/admin/api-keys")) == (401, "not_signed_in")


def test_two_keys_are_valid_during_rotation_and_each_reports_its_last_use(app, clock):
    old, new = operator(app), operator(app)
    assert [key.get("/v1/admin/api-keys").status_code for key in (old, new)] == [200, 200]
    clock.advance(minutes=6)
    used = {key["last_used_at"] for key in new.get("/v1/admin/api-keys").json["items"]}
    assert used == {"2026-01-15T12:00:00Z", "2026-01-15T12:06:00Z"}


def without_id(problem):
    return {k: v for k, v in problem.items() if k != "request_id"}


def test_sessions_that_become_active_at_once_are_not_all_recorded(app, client, clock, statements, monkeypatch):
    """Each at a later request, and before it would expire much earlier than it would if recorded."""
    monkeypatch.setattr(viewers, "SESSION_USES", RateLimit("sessions.uses first", 2, 3600))
    people = [new_person(client, f"viewer{number}") for number in range(5)]
    visit = {"email": people[0].email, "password": SECRET, "remember": False}
    visitor = client.post("/v1/sessions", json=visit).json["token"]
    clock.advance(minutes=70)

    def count_writes(token, path="/v1/sessions/current"):
        statements.clear()
        assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        return sum(text.startswith("UPDATE sessions SET last_seen_at") for text in statements)

    assert [count_writes(person.token) for person in people] == [1, 1, 0, 0, 0]
    assert count_writes(visitor) == 1, "a sixteenth of two hours has passed"
    monkeypatch.setattr(viewers, "SESSION_USES", RateLimit("sessions.uses later", 2, 3600))
    assert [count_writes(person.token, "/v1/sessions") for person in people] == [0, 0, 1, 1, 0]
    assert count_writes(people[4].token) == 0
