"""Revocation takes effect with the very next request, in every web process."""

import pytest

from streamsvc.app import create_app
from streamsvc.security import viewers
from tests.conftest import close_app
from tests.worlds.sessions_steps import Person, new_person, operator


@pytest.fixture
def other_app(app):
    """Simulates a second web process: another app on the same database, with the same clock."""
    other = create_app(app.extensions["settings"], now=app.extensions["clock"])
    yield other
    close_app(other)


@pytest.fixture
def elsewhere(other_app):
    return other_app.test_client(use_cookies=False)


def sign_out(ann, watcher, support):
    return watcher.delete("/v1/sessions/current")


def end_from_another_session(ann, watcher, support):
    return ann.delete(f"/v1/sessions/{watcher.get('/v1/sessions/current').json['session']['id']}")


def end_all_others(ann, watcher, support):
    return ann.delete("/v1/sessions")


def remove_its_device(ann, watcher, support):
    device = watcher.get("/v1/sessions/current").json["session"]["device"]["id"]
    return ann.delete(f"/v1/devices/{device}")


def change_the_password(ann, watcher, support):
    return ann.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"})


def operator_ends_all(ann, watcher, support):
    return support.delete(f"/v1/admin/accounts/{account_of(ann)}/sessions")


def operator_disables_the_account(ann, watcher, support):
    return support.patch(f"/v1/admin/accounts/{account_of(ann)}", {"status": "disabled"})


def account_of(person):
    return person.get("/v1/account").json["id"]


REVOCATIONS = [
    sign_out,
    end_from_another_session,
    end_all_others,
    remove_its_device,
    change_the_password,
    operator_ends_all,
    operator_disables_the_account,
]


def status_elsewhere(app, client, elsewhere, revoke):
    """The other process's status for a token that it has just accepted, right after `revoke`."""
    ann = new_person(client)
    watcher = ann.again()
    watcher.sign_in(device={"name": "Watcher", "kind": "tv"})
    same_session = Person(elsewhere, ann.email, token=watcher.token)
    assert same_session.get("/v1/sessions/current").status_code == 200
    assert revoke(ann, watcher, operator(app, "support")).status_code in (200, 204)
    return same_session.get("/v1/sessions/current").status_code


@pytest.mark.parametrize("revoke", REVOCATIONS)
def test_a_session_ended_in_one_process_is_rejected_by_the_other_at_once(app, client, elsewhere, revoke):
    assert status_elsewhere(app, client, elsewhere, revoke) == 401


def test_a_revoked_api_key_is_rejected_by_the_other_process_at_once(app, elsewhere):
    admin = operator(app, "admin")
    key = admin.post("/v1/admin/api-keys", {"name": "short-lived", "scopes": ["catalog"]}).json
    same_session = Person(elsewhere, "key", token=key["token"])
    assert same_session.get("/v1/admin/coverage").status_code == 200
    assert admin.delete(f"/v1/admin/api-keys/{key['id']}").status_code == 204
    assert same_session.get("/v1/admin/coverage").status_code == 401


def test_the_check_detects_a_cache(app, client, elsewhere, monkeypatch):
    """Inject an error: valid tokens stay valid in memory."""
    find_viewer, cache = viewers.find_viewer, {}

    def find_cached(token, *args):
        cache[token] = find_viewer(token, *args) or cache.get(token)
        return cache[token]

    monkeypatch.setattr(viewers, "find_viewer", find_cached)
    assert status_elsewhere(app, client, elsewhere, sign_out) == 200
