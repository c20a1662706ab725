"""What is revoked is refused by the very next request, whichever web process hears it."""

import pytest

from streamsvc.app import create_app
from streamsvc.security import authentication
from tests.conftest import close_app
from tests.worlds.sessions_steps import Person, new_person, operator


@pytest.fixture
def other_app(app):
    """A second web process, as far as memory goes: another app on the same database, under the same clock."""
    made = create_app(app.extensions["settings"], now=app.extensions["clock"])
    yield made
    close_app(made)


@pytest.fixture
def elsewhere(other_app):
    return other_app.test_client(use_cookies=False)


def sign_out(ann, watcher, support):
    return watcher.delete("/v1/sessions/current")


def end_it_from_another_session(ann, watcher, support):
    return ann.delete(f"/v1/sessions/{watcher.get('/v1/sessions/current').json['session']['id']}")


def end_all_others(ann, watcher, support):
    return ann.delete("/v1/sessions")


def remove_its_device(ann, watcher, support):
    device = watcher.get("/v1/sessions/current").json["session"]["device"]["id"]
    return ann.delete(f"/v1/devices/{device}")


def change_the_password(ann, watcher, support):
    return ann.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"})


def have_an_operator_end_all(ann, watcher, support):
    return support.delete(f"/v1/admin/accounts/{account_of(ann)}/sessions")


def have_an_operator_disable_the_account(ann, watcher, support):
    return support.patch(f"/v1/admin/accounts/{account_of(ann)}", {"status": "disabled"})


def account_of(person):
    return person.get("/v1/account").json["id"]


WAYS = [
    sign_out,
    end_it_from_another_session,
    end_all_others,
    remove_its_device,
    change_the_password,
    have_an_operator_end_all,
    have_an_operator_disable_the_account,
]


def heard_elsewhere(app, client, elsewhere, revoke):
    """What the other process says of a token it has just accepted, right after `revoke` was answered."""
    ann = new_person(client)
    watcher = ann.again()
    watcher.sign_in(device={"name": "Watcher", "kind": "tv"})
    there = Person(elsewhere, ann.email, token=watcher.token)
    assert there.get("/v1/sessions/current").status_code == 200
    assert revoke(ann, watcher, operator(app, "support")).status_code in (200, 204)
    return there.get("/v1/sessions/current").status_code


@pytest.mark.parametrize("revoke", WAYS)
def test_a_session_that_ended_on_one_process_is_refused_by_the_other_at_once(app, client, elsewhere, revoke):
    assert heard_elsewhere(app, client, elsewhere, revoke) == 401


def test_a_revoked_api_key_is_refused_by_the_other_process_at_once(app, elsewhere):
    admin = operator(app, "admin")
    made = admin.post("/v1/admin/api-keys", {"name": "short-lived", "scopes": ["catalog"]}).json
    there = Person(elsewhere, "key", token=made["token"])
    assert there.get("/v1/admin/coverage").status_code == 200
    assert admin.delete(f"/v1/admin/api-keys/{made['id']}").status_code == 204
    assert there.get("/v1/admin/coverage").status_code == 401


def test_the_check_itself_would_notice_a_cache(app, client, elsewhere, monkeypatch):
    """A planted fault: tokens that were good stay good in memory."""
    look, known = authentication._find_viewer, {}

    def remembered(token, *rest):
        known[token] = look(token, *rest) or known.get(token)
        return known[token]

    monkeypatch.setattr(authentication, "_find_viewer", remembered)
    assert heard_elsewhere(app, client, elsewhere, sign_out) == 200
