"""Operator enumeration: responses, hashes and statements do not depend on whether an operator exists."""

import pytest
import sqlalchemy as sa

from streamsvc.models import OperatorAccount
from streamsvc.security import password_hashing
from streamsvc.storage.database import db
from tests.sessions.test_enumeration import Costs, assert_all_equal
from tests.worlds.operator_steps import PASSWORD, invited, new_operator

STATES = ("unknown", "enrolled", "invited", "disabled", "removed")
OTHER_ADDRESS = {"REMOTE_ADDR": "203.0.113.7"}


@pytest.fixture
def operators(app):
    """One operator in each state, named after it."""
    invited(app, "support", "invited")
    for state in ("enrolled", "disabled", "removed"):
        new_operator(app, "support", state)
    with app.app_context():
        for row in db.session.scalars(sa.select(OperatorAccount)):
            state = row.email.partition("@")[0]
            row.status = state if state in ("disabled", "removed") else "active"
        db.session.commit()


@pytest.fixture
def costs(statements, monkeypatch):
    return Costs(statements, monkeypatch)


def measure_states(client, costs, password, totp="000000"):
    def send(state):
        body = {"email": f"{state}@example.com", "password": password, "totp": totp}
        return client.post("/v1/admin/sessions", json=body, environ_base=OTHER_ADDRESS)

    return {state: costs.measure(lambda state=state: send(state)) for state in STATES}


def test_failed_sign_ins_look_and_cost_the_same_in_every_state(client, operators, costs):
    first = measure_states(client, costs, "a wrong password")
    assert_all_equal(first)
    assert (first["unknown"][0], first["unknown"][2]["code"], first["unknown"][3]) == (401, "invalid_credentials", 1)
    assert_all_equal(measure_states(client, costs, "a wrong password"))


def test_a_correct_password_does_not_reveal_why_an_operator_cannot_sign_in(client, operators, costs):
    measured = measure_states(client, costs, PASSWORD)
    assert measured.pop("enrolled")[2]["code"] == "second_factor_invalid"
    assert_all_equal(measured)


def test_the_check_detects_a_missing_hash(client, operators, costs, monkeypatch):
    """Inject an error: no hash if there is no operator."""
    verify_password = password_hashing.HashingPermit.verify_password
    monkeypatch.setattr(
        password_hashing.HashingPermit,
        "verify_password",
        lambda permit, stored, *args: bool(stored) and verify_password(permit, stored, *args),
    )
    measured = measure_states(client, costs, "a wrong password")
    with pytest.raises(AssertionError):
        assert_all_equal(measured)
