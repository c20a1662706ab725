"""Nobody learns from an operator's sign-in whether somebody operates: same answer, same hashes, same statements."""

import pytest
import sqlalchemy as sa

from streamsvc.models import OperatorAccount
from streamsvc.security import password_hashing
from streamsvc.storage.database import db
from tests.sessions.test_enumeration import Watch, assert_all_equal
from tests.worlds.operator_steps import PASSWORD, invited, new_operator

STATES = ("unknown", "enrolled", "invited", "disabled", "removed")
STRANGER = {"REMOTE_ADDR": "203.0.113.7"}


@pytest.fixture
def people(app):
    """One operator in each state, by name."""
    invited(app, "support", "invited")
    for state in ("enrolled", "disabled", "removed"):
        new_operator(app, "support", state)
    with app.app_context():
        for row in db.session.scalars(sa.select(OperatorAccount)):
            state = row.email.partition("@")[0]
            row.status = state if state in ("disabled", "removed") else "active"
        db.session.commit()


@pytest.fixture
def watch(app, monkeypatch):
    return Watch(app, monkeypatch)


def alike(client, watch, password, totp="000000"):
    def send(state):
        body = {"email": f"{state}@example.com", "password": password, "totp": totp}
        return client.post("/v1/admin/sessions", json=body, environ_base=STRANGER)

    return {state: watch.of(lambda state=state: send(state)) for state in STATES}


def test_a_refused_sign_in_looks_and_costs_the_same_in_every_state(client, people, watch):
    first = alike(client, watch, "a wrong password")
    assert_all_equal(first)
    assert (first["unknown"][0], first["unknown"][2]["code"], first["unknown"][3]) == (401, "invalid_credentials", 1)
    assert_all_equal(alike(client, watch, "a wrong password"))


def test_the_right_password_does_not_tell_why_an_operator_is_shut_out(client, people, watch):
    seen = alike(client, watch, PASSWORD)
    assert seen.pop("enrolled")[2]["code"] == "second_factor_invalid"
    assert_all_equal(seen)


def test_the_check_itself_would_notice_a_missing_hash(client, people, watch, monkeypatch):
    """A planted fault: no hash where there is nobody."""
    honest = password_hashing.HashingPermit.verify_password
    monkeypatch.setattr(
        password_hashing.HashingPermit,
        "verify_password",
        lambda place, kept, *rest: bool(kept) and honest(place, kept, *rest),
    )
    seen = alike(client, watch, "a wrong password")
    with pytest.raises(AssertionError):
        assert_all_equal(seen)
