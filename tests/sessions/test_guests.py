"""Guests: what they may use, and how what they saved moves into an account."""

import dataclasses
import threading

import pytest
import sqlalchemy as sa

from streamsvc.models import Account, AuditEvent, Device, Profile, Progress, Session, TitleRating, WatchlistItem
from streamsvc.models.progress import move_profile_items
from streamsvc.operations.accounts import guests
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.security import rate_limits
from streamsvc.storage.database import db
from tests.sessions.test_dpop import Key
from tests.worlds.playback_steps import World
from tests.worlds.sessions_steps import Person, code_of, mailed_token, new_person, operator, run_jobs, verify

NOON = "2026-01-15T12:00:00Z"
SEEN_BY_GUESTS = {"kind": "movie", "runtime_s": 6000, "age_rating": "DE:12"}
TITLES = (
    *({**SEEN_BY_GUESTS, "external_id": name, "title": f"The {name}"} for name in ("film", "other", "third")),
    {"external_id": "adult", "kind": "movie", "title": "For adults", "age_rating": "DE:16"},
    {"external_id": "unrated", "kind": "movie", "title": "Unrated"},
)


@pytest.fixture
def ids(app):
    """The ids of the titles, by external id."""
    world = World(app)
    world.put_titles(*TITLES)
    return world.ids


@pytest.fixture
def use_settings(app):
    """Change settings of the service until the end of the test."""
    former = app.extensions["settings"]
    yield lambda **changes: app.extensions.update(settings=dataclasses.replace(former, **changes))
    app.extensions["settings"] = former


class Saver(Person):
    """Somebody who saves titles in the selected profile."""

    def path(self, rest):
        return f"/v1/profiles/{self.get('/v1/sessions/current').json['profile']['id']}/{rest}"

    def add(self, title_id):
        assert self.put(self.path(f"watchlist/{title_id}")).status_code == 204

    def rate(self, title_id, rating):
        assert self.put(self.path(f"ratings/{title_id}"), {"rating": rating}).status_code == 204

    def watch(self, title_id, position_s, at):
        report = {"position_s": position_s, "duration_s": 6000, "at": at}
        assert self.put(self.path(f"progress/{title_id}"), report).status_code == 200

    def state(self, *title_ids):
        """[(position, whether it is on the watchlist, rating)] of each title."""
        items = self.get(self.path("state"), query_string={"ids": ",".join(title_ids)}).json["items"]
        return [(i["progress"] and i["progress"]["position_s"], i["in_watchlist"], i["rating"]) for i in items]


def start_guest(app, **body):
    response = app.test_client(use_cookies=False).post("/v1/guests", json={"country": "DE", **body})
    assert response.status_code == 201, response.json
    return Saver(app.test_client(use_cookies=False), "", token=response.json["token"])


def member(app, name="ann"):
    return new_person(app.test_client(use_cookies=False), name)


def sign_in_with(person, guest):
    """The person on a device where the guest was before."""
    again = Saver(person.client, person.email, person.password, headers={"X-Guest-Token": guest.token})
    assert again.sign_in().status_code == 201
    return again


def rows_of(app, account_id):
    """How many rows of each table belong to the account."""
    with app.app_context():
        profiles = sa.select(Profile.id).where(Profile.account_id == account_id)
        owned = {model: model.account_id == account_id for model in (Session, Device, Profile)}
        owned |= {model: model.profile_id.in_(profiles) for model in (Progress, WatchlistItem, TitleRating)}
        owned[Account] = Account.id == account_id
        counts = {
            model.__tablename__: db.session.scalar(sa.select(sa.func.count()).select_from(model).where(condition))
            for model, condition in owned.items()
        }
        return {name: count for name, count in counts.items() if count}


def purge(app):
    """Run the purge as the worker does."""
    with app.app_context():
        guests.purge_guests({}, app.extensions["clock"]())
        db.session.commit()
    run_jobs(app)


def test_a_guest_has_a_session_and_a_profile_but_no_address(app):
    response = app.test_client().post("/v1/guests", json={"country": "AT", "device": {"name": "Tab", "kind": "web"}})
    assert (response.json["guest"], response.json["account"]["email"]) == (True, None)
    assert (response.json["profile"]["max_age"], response.json["account"]["country"]) == (12, "AT")
    assert response.json["session"]["expires_at"] == "2026-02-14T12:00:00Z"
    assert member(app).get("/v1/sessions/current").json["guest"] is False
    assert code_of(app.test_client().post("/v1/guests", json={})) == (422, "invalid")


def test_a_service_without_guests_starts_none_and_knows_none(app, ids, use_settings):
    guest = start_guest(app)
    guest.add(ids["film"])
    use_settings(guests=False)
    assert code_of(app.test_client().post("/v1/guests", json={"country": "DE"})) == (404, "not_found")
    assert code_of(guest.get("/v1/sessions/current")) == (401, "not_signed_in")
    assert sign_in_with(member(app), guest).state(ids["film"]) == [(None, True, None)]


def test_a_guest_browses_within_the_age_limit_and_cannot_play_without_a_subscription(app, ids):
    guest = start_guest(app)
    assert {item["id"] for item in guest.get("/v1/catalog/titles").json["items"]} == {
        ids["film"],
        ids["other"],
        ids["third"],
    }
    for name in ("adult", "unrated"):
        assert code_of(guest.get(f"/v1/catalog/titles/{ids[name]}")) == (404, "not_found"), name
        assert code_of(guest.put(guest.path(f"watchlist/{ids[name]}"))) == (404, "not_found"), name
    assert code_of(guest.post("/v1/playback", {"item_id": ids["film"]})) == (403, "subscription_required")


def test_everything_else_requires_a_guest_to_sign_up(app):
    guest = start_guest(app)
    for method, path in (
        ("get", "/v1/account"),
        ("get", "/v1/profiles"),
        ("get", "/v1/devices"),
        ("get", "/v1/account/export"),
        ("delete", "/v1/account"),
        ("patch", "/v1/sessions/current"),
        ("post", "/v1/subscriptions"),
        ("post", "/v1/sessions/current/reauthentication"),
    ):
        assert code_of(getattr(guest, method)(path)) == (403, "sign_up_required"), path


def test_what_a_guest_saved_moves_into_the_new_account(app, ids):
    guest, bystander, bob = (
        start_guest(app),
        start_guest(app),
        Saver(app.test_client(use_cookies=False), "b@example.com"),
    )
    bob.sign_up()
    for person in (guest, bystander, bob):
        person.add(ids["film"])
        person.rate(ids["other"], "down")
        person.watch(ids["film"], 600, NOON)
    ann = Saver(guest.client, "ann@example.com", headers={"X-Guest-Token": guest.token})
    assert ann.sign_up().status_code == 201
    saved = [(600, True, None), (None, False, "down")]
    assert ann.state(ids["film"], ids["other"]) == saved
    assert [item["item_id"] for item in ann.get(ann.path("history")).json["items"]] == [ids["film"]]
    assert code_of(guest.get("/v1/sessions/current")) == (401, "not_signed_in")
    for other in (bystander, bob):
        assert other.state(ids["film"], ids["other"]) == saved
    again = sign_in_with(ann.again(), guest)
    assert again.state(ids["film"], ids["other"]) == saved, "a token that was used moves nothing"


def test_of_two_entries_the_newest_wins(app, ids, clock):
    """Both watched and rated two films: in each the other one was later."""
    guest, ann = start_guest(app), Saver(app.test_client(use_cookies=False), "ann@example.com")
    ann.sign_up()
    early, late = "2026-01-14T12:00:00Z", NOON
    ann.rate(ids["film"], "up")
    guest.rate(ids["other"], "up")
    ann.add(ids["third"])
    clock.advance(minutes=1)
    guest.rate(ids["film"], "down")
    ann.rate(ids["other"], "down")
    guest.add(ids["third"])
    ann.watch(ids["film"], 100, early)
    ann.watch(ids["other"], 200, late)
    guest.watch(ids["film"], 300, late)
    guest.watch(ids["other"], 400, early)
    signed_in = sign_in_with(ann, guest)
    assert signed_in.state(ids["film"], ids["other"], ids["third"]) == [
        (300, False, "down"),
        (200, False, "down"),
        (None, True, None),
    ]
    assert signed_in.get(signed_in.path("watchlist")).json["items"][0]["added_at"] == "2026-01-15T12:01:00Z"


def test_an_item_hidden_as_a_guest_stays_hidden(app, ids, clock):
    guest, ann = start_guest(app), Saver(app.test_client(use_cookies=False), "ann@example.com")
    ann.sign_up()
    ann.watch(ids["film"], 100, "2026-01-14T12:00:00Z")
    for title in ("film", "other"):
        guest.watch(ids[title], 600, NOON)
    clock.advance(minutes=1)
    assert guest.delete(guest.path(f"continue-watching/{ids['film']}")).status_code == 204
    signed_in = sign_in_with(ann, guest)
    items = signed_in.get(signed_in.path("continue-watching")).json["items"]
    assert [item["item_id"] for item in items] == [ids["other"]]


def test_a_household_gets_it_in_a_profile_that_is_open_to_all(app, ids):
    ann = member(app)
    first = ann.get("/v1/sessions/current").json["profile"]["id"]
    assert ann.put(f"/v1/profiles/{first}/pin", {"pin": "4711"}).status_code == 204
    assert ann.post("/v1/profiles", {"name": "Kids", "kids": True}).status_code == 201
    third = ann.post("/v1/profiles", {"name": "Guests"}).json["id"]
    guest = start_guest(app)
    guest.add(ids["film"])
    again = sign_in_with(ann, guest)
    assert [i["item_id"] for i in again.get(f"/v1/profiles/{third}/watchlist").json["items"]] == [ids["film"]]


def test_what_is_saved_while_the_guest_signs_in_follows(app, ids, clock):
    """A request that was authenticated before the sign-in may write after it."""
    guest, ann = start_guest(app), member(app)
    current = guest.get("/v1/sessions/current").json
    guest.add(ids["film"])
    signed_in = sign_in_with(ann, guest)
    assert signed_in.delete(signed_in.path(f"watchlist/{ids['film']}")).status_code == 204
    run_jobs(app)
    with app.app_context():
        late = {"profile_id": current["profile"]["id"], "title_id": ids["other"], "added_at": clock()}
        db.session.execute(sa.insert(WatchlistItem).values(late))
        db.session.commit()
    clock.advance(minutes=6)
    run_jobs(app)
    assert signed_in.state(ids["film"], ids["other"]) == [(None, False, None), (None, True, None)]
    assert rows_of(app, current["account"]["id"]) == {}


def test_a_browser_proves_the_guest_by_the_csrf_token(app, ids):
    client = app.test_client()
    csrf = client.post("/v1/guests", json={"country": "DE", "cookie": True}).json["csrf_token"]
    profile = client.get("/v1/sessions/current").json["profile"]["id"]
    assert client.put(f"/v1/profiles/{profile}/watchlist/{ids['film']}").status_code == 403
    headers = {"X-CSRF-Token": csrf}
    assert client.put(f"/v1/profiles/{profile}/watchlist/{ids['film']}", headers=headers).status_code == 204
    member(app)
    body = {"email": "ann@example.com", "password": "a long secret 7"}
    for wrong in ({}, {"X-CSRF-Token": "0" * 64}, headers | {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/v1/sessions", json=body, headers=wrong).status_code == 201
        assert client.get("/v1/sessions/current").json["guest"] is True
    client.post("/v1/sessions", json=body | {"cookie": True}, headers=headers)
    profile = client.get("/v1/sessions/current").json["profile"]["id"]
    assert [i["item_id"] for i in client.get(f"/v1/profiles/{profile}/watchlist").json["items"]] == [ids["film"]]


def test_a_guest_who_follows_a_mailed_link_or_uses_a_television_keeps_the_list(app, ids):
    ann, (by_link, on_tv) = member(app), [start_guest(app) for _ in range(2)]
    verify(app, ann)
    by_link.add(ids["film"])
    on_tv.add(ids["other"])
    client = app.test_client(use_cookies=False)
    binding = client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
    link = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}
    headers = {"X-Guest-Token": by_link.token}
    signed_in = client.post("/v1/sessions/magic-link", json=link, headers=headers)
    assert signed_in.status_code == 201
    codes = client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    assert ann.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True}).status_code == 204
    form = {"grant_type": GRANT_TYPE, "device_code": codes["device_code"], "client_id": "tv"}
    tv = client.post("/v1/token", data=form, headers={"X-Guest-Token": on_tv.token})
    assert tv.status_code == 200
    viewer = Saver(client, ann.email, token=tv.json["access_token"])
    assert viewer.state(ids["film"], ids["other"]) == [(None, True, None)] * 2


def test_a_guest_bound_to_a_key_moves_only_with_a_proof_of_it(app, ids, use_settings):
    use_settings(dpop=True)
    client, key, ann = app.test_client(use_cookies=False), Key(), member(app)
    headers = {"DPoP": key.proof("POST", "/v1/guests")}
    guest = client.post("/v1/guests", json={"country": "DE"}, headers=headers).json
    path = f"/v1/profiles/{guest['profile']['id']}/watchlist/{ids['film']}"
    proof = key.proof("PUT", path, guest["token"])
    headers = {"Authorization": f"DPoP {guest['token']}", "DPoP": proof}
    assert client.put(path, headers=headers).status_code == 204
    thief = sign_in_with(member(app, "thief"), Saver(client, "", token=guest["token"]))
    assert thief.state(ids["film"]) == [(None, False, None)]
    headers = {"X-Guest-Token": guest["token"], "DPoP": key.proof("POST", "/v1/sessions")}
    body = {"email": ann.email, "password": ann.password}
    assert client.post("/v1/sessions", json=body, headers=headers).status_code == 201
    assert [i["item_id"] for i in ann.get(Saver.path(ann, "watchlist")).json["items"]] == [ids["film"]]


def test_a_token_that_is_no_guests_does_not_matter(app, ids):
    ann, bob = Saver(app.test_client(use_cookies=False), "ann@example.com"), member(app, "bob")
    ann.sign_up()
    ann.add(ids["film"])
    for token in (ann.token, "sst_unknown", "x", operator(app).token):
        other = Saver(bob.client, bob.email, headers={"X-Guest-Token": token})
        assert other.sign_in().status_code == 201
        assert other.state(ids["film"]) == [(None, False, None)]
    assert ann.state(ids["film"]) == [(None, True, None)], "a member's token moves nothing and ends nothing"


def test_a_failed_sign_in_leaves_the_guest_alone(app, ids):
    guest = start_guest(app)
    guest.add(ids["film"])
    member(app)
    headers = {"X-Guest-Token": guest.token}
    body = {"email": "ann@example.com", "password": "wrong password"}
    assert guest.client.post("/v1/sessions", json=body, headers=headers).status_code == 401
    sign_up = {"email": "ann@example.com", "password": "a long secret 7", "country": "DE"}
    assert guest.client.post("/v1/accounts", json=sign_up, headers=headers).status_code == 409
    assert guest.state(ids["film"]) == [(None, True, None)]


def test_two_sign_ins_at_once_move_everything_into_one_account(app, ids):
    guest, people = start_guest(app), [member(app, name) for name in ("ann", "bob", "cat")]
    for title in ("film", "other", "third"):
        guest.add(ids[title])
    again, barrier = [], threading.Barrier(len(people))

    def sign_in(person):
        barrier.wait()
        again.append(sign_in_with(person, guest))

    threads = [threading.Thread(target=sign_in, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = sorted(len(person.get(person.path("watchlist")).json["items"]) for person in again)
    assert counts == [0, 0, 3]


def test_moving_twice_changes_nothing(app, ids):
    guest, ann = start_guest(app), Saver(app.test_client(use_cookies=False), "ann@example.com")
    ann.sign_up()
    guest.add(ids["film"])
    profiles = [person.get("/v1/sessions/current").json["profile"]["id"] for person in (guest, ann)]
    with app.app_context():
        moved = [move_profile_items(*profiles) for _ in range(2)]
        db.session.commit()
    assert [counts["watchlist"] for counts in moved] == [1, 0]
    assert ann.state(ids["film"]) == [(None, True, None)]


def test_a_guest_expires_and_is_purged_with_everything_in_chunks(app, ids, clock, monkeypatch):
    monkeypatch.setattr(guests, "PURGE_BATCH_SIZE", 2)
    gone, signed_out, idle, ann = [start_guest(app) for _ in range(3)], start_guest(app), start_guest(app), member(app)
    for person in (*gone, idle):
        person.add(ids["film"])
        person.watch(ids["film"], 600, NOON)
    account_ids = [person.get("/v1/sessions/current").json["account"]["id"] for person in (*gone, signed_out, idle)]
    assert signed_out.delete("/v1/sessions/current").status_code == 204
    ann_id = ann.get("/v1/sessions/current").json["account"]["id"]
    clock.advance(days=29)
    assert idle.get("/v1/sessions/current").status_code == 200
    purge(app)
    assert [bool(rows_of(app, account_id)) for account_id in account_ids] == [True, True, True, False, True]
    clock.advance(days=1)
    assert code_of(gone[0].get("/v1/sessions/current")) == (401, "not_signed_in")
    clock.advance(hours=2)
    purge(app)
    assert [bool(rows_of(app, account_id)) for account_id in account_ids] == [False, False, False, False, True]
    assert rows_of(app, account_ids[4])["watchlist"] == 1
    assert rows_of(app, ann_id)["profiles"] == 1
    with app.app_context():
        events = list(db.session.scalars(sa.select(AuditEvent).where(AuditEvent.account_id == account_ids[0])))
        assert [event.action for event in events] == ["guest_started"]
        assert events[0].details is None


def test_operators_find_no_guests(app):
    guest, support = start_guest(app), operator(app)
    guest_id = guest.get("/v1/sessions/current").json["account"]["id"]
    ann_id = member(app).get("/v1/sessions/current").json["account"]["id"]
    assert [item["id"] for item in support.get("/v1/admin/accounts").json["items"]] == [ann_id]
    path = f"/v1/admin/accounts/{guest_id}"
    for response in (
        support.get(path),
        support.patch(path, {"status": "disabled"}),
        support.get(f"{path}/sessions"),
        support.delete(f"{path}/sessions"),
        support.post(f"{path}/impersonations", {"reason": "to look"}),
        support.post(f"{path}/credits", {"amount_minor": 100, "currency": "EUR", "reason": "sorry"}),
    ):
        assert code_of(response) == (404, "not_found")
    assert guest_id not in support.get("/v1/admin/exports/accounts.ndjson").text
    assert guest.delete("/v1/sessions/current").status_code == 204
    events = support.get("/v1/admin/events", query_string={"account_id": guest_id}).json["items"]
    assert events == []


def test_nobody_signs_in_to_a_guest_by_its_placeholder(app):
    guest_id = start_guest(app).get("/v1/sessions/current").json["account"]["id"]
    client, email = app.test_client(), f"{guest_id}@guest.invalid"
    assert client.post("/v1/magic-links", json={"email": email}).status_code == 202
    assert client.post("/v1/password-resets", json={"email": email}).status_code == 202
    run_jobs(app)
    assert operator(app).get("/v1/sandbox/emails", query_string={"to": email}).json["items"] == []


def test_guests_from_one_network_are_limited(app):
    client, network = app.test_client(), {"REMOTE_ADDR": "198.51.100.7"}
    with app.app_context():
        for _ in range(limits.GUEST_ADDRESS.max_attempts):
            rate_limits.hit(limits.GUEST_ADDRESS, "198.51.100.7")
    body = {"country": "DE"}
    assert code_of(client.post("/v1/guests", json=body, environ_base=network)) == (429, "too_many_attempts")
    assert client.post("/v1/guests", json=body).status_code == 201
