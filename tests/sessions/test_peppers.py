"""A secret of the service in each password's hash, which comes, changes and goes while people sign in."""

import pytest
import sqlalchemy as sa

from streamsvc.models import Account, Profile
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, code_of, new_person

OLD, NEW = ("a", "o" * 32), ("b", "n" * 32)


@pytest.fixture
def season(app, monkeypatch):
    """From now on these peppers are the settings'."""
    return lambda *peppers: monkeypatch.setitem(
        app.extensions, "settings", app.extensions["settings"].replace(password_pepper=peppers)
    )


@pytest.fixture
def kept(app):
    """The hash of the only account."""

    def read(column=Account.password_hash):
        with app.app_context():
            return db.session.scalar(sa.select(column))

    return read


def test_a_password_takes_on_the_newest_pepper_when_it_signs_in(client, season, kept):
    ann = new_person(client)
    begins = [kept().split("$")[0]]
    for peppers in ((OLD,), (NEW, OLD), (("", ""), NEW)):
        season(*peppers)
        assert [ann.sign_in().status_code for _ in range(2)] == [201, 201]
        begins.append(kept().split("$")[0])
    assert begins == ["", "pepper:a:", "pepper:b:", ""]


def test_without_its_pepper_a_password_opens_nothing_and_looks_like_a_wrong_one(client, season, kept):
    season(OLD)
    ann = new_person(client)
    for peppers in ((), (NEW,), ((OLD[0], NEW[1]),)):
        season(*peppers)
        assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    season(NEW, OLD)
    assert ann.sign_in().status_code == 201


def test_a_wrong_password_stays_wrong_and_a_reset_hash_is_peppered(client, season, kept):
    season(OLD)
    ann = new_person(client)
    assert Person(client, ann.email, "a wrong password").sign_in().status_code == 401
    change = {"current_password": ann.password, "password": "another secret 8"}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert kept().startswith("pepper:a:$argon2id$")


def test_a_pin_takes_it_on_too(client, season, kept):
    ann = new_person(client)
    profile = ann.get("/v1/profiles").json["items"][0]["id"]
    ann.put(f"/v1/profiles/{profile}/pin", {"pin": "2468"})
    season(NEW)
    for _ in range(2):
        assert ann.patch("/v1/sessions/current", {"profile_id": profile, "pin": "2468"}).status_code == 200
    assert kept(Profile.pin_hash).startswith("pepper:b:")


@pytest.mark.parametrize("text", ["short", "a:short", f"A:{'x' * 32}", f"a:{'x' * 32},a:{'y' * 32}", "none,none"])
def test_a_pepper_has_a_name_of_its_own_and_is_long(tmp_path, text):
    with pytest.raises(SettingsError, match="STREAMSVC_PASSWORD_PEPPER"):
        Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), "STREAMSVC_PASSWORD_PEPPER": text})


def test_one_is_retired_by_putting_none_before_it(tmp_path):
    env = {"STREAMSVC_DATA_DIR": str(tmp_path), "STREAMSVC_PASSWORD_PEPPER": f"none,a:{'x' * 32}"}
    assert Settings.from_env(env).password_pepper == (("", ""), ("a", "x" * 32))
