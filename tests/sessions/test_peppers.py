"""Password peppers: added, rotated and retired while people sign in."""

import pytest
import sqlalchemy as sa

from streamsvc.models import Account, Profile
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, code_of, new_person

OLD, NEW = ("a", "o" * 32), ("b", "n" * 32)


@pytest.fixture
def set_peppers(app, monkeypatch):
    """Puts these peppers into the settings."""
    return lambda *peppers: monkeypatch.setitem(
        app.extensions, "settings", app.extensions["settings"].replace(password_pepper=peppers)
    )


@pytest.fixture
def stored_hash(app):
    """Reads the password hash of the only account, or another column."""

    def read(column=Account.password_hash):
        with app.app_context():
            return db.session.scalar(sa.select(column))

    return read


def test_a_sign_in_rehashes_with_the_newest_pepper(client, set_peppers, stored_hash):
    ann = new_person(client)
    prefixes = [stored_hash().split("$")[0]]
    for peppers in ((OLD,), (NEW, OLD), (("", ""), NEW)):
        set_peppers(*peppers)
        assert [ann.sign_in().status_code for _ in range(2)] == [201, 201]
        prefixes.append(stored_hash().split("$")[0])
    assert prefixes == ["", "pepper:a:", "pepper:b:", ""]


def test_without_its_pepper_a_password_is_rejected_like_a_wrong_one(client, set_peppers, stored_hash):
    set_peppers(OLD)
    ann = new_person(client)
    for peppers in ((), (NEW,), ((OLD[0], NEW[1]),)):
        set_peppers(*peppers)
        assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    set_peppers(NEW, OLD)
    assert ann.sign_in().status_code == 201


def test_wrong_passwords_stay_wrong_and_reset_passwords_are_peppered(client, set_peppers, stored_hash):
    set_peppers(OLD)
    ann = new_person(client)
    assert Person(client, ann.email, "a wrong password").sign_in().status_code == 401
    change = {"current_password": ann.password, "password": "another secret 8"}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert stored_hash().startswith("pepper:a:$argon2id$")


def test_a_pin_is_rehashed_with_the_newest_pepper_too(client, set_peppers, stored_hash):
    ann = new_person(client)
    profile = ann.get("/v1/profiles").json["items"][0]["id"]
    ann.put(f"/v1/profiles/{profile}/pin", {"pin": "2468"})
    set_peppers(NEW)
    for _ in range(2):
        assert ann.patch("/v1/sessions/current", {"profile_id": profile, "pin": "2468"}).status_code == 200
    assert stored_hash(Profile.pin_hash).startswith("pepper:b:")


@pytest.mark.parametrize("text", ["short", "a:short", f"A:{'x' * 32}", f"a:{'x' * 32},a:{'y' * 32}", "none,none"])
def test_a_pepper_needs_a_unique_id_and_a_minimum_length(tmp_path, text):
    with pytest.raises(SettingsError, match="STREAMSVC_PASSWORD_PEPPER"):
        Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), "STREAMSVC_PASSWORD_PEPPER": text})


def test_a_pepper_is_retired_by_an_empty_one_before_it(tmp_path):
    env = {"STREAMSVC_DATA_DIR": str(tmp_path), "STREAMSVC_PASSWORD_PEPPER": f"none,a:{'x' * 32}"}
    assert Settings.from_env(env).password_pepper == (("", ""), ("a", "x" * 32))
