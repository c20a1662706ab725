"""Account administration by support."""

import pytest
import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import code_of, new_person, operator, run_jobs


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def support(app):
    return operator(app, "support")


@pytest.fixture
def path(ann):
    return "/v1/admin/accounts/" + ann.get("/v1/account").json["id"]


def test_an_account_is_found_by_its_email(support, ann, path):
    [account] = support.get("/v1/admin/accounts?email=ANN@example.com").json["items"]
    assert account == support.get(path).json
    assert (account["email"], account["status"]) == (ann.email, "active")
    assert ann.get("/v1/account").json.items() <= account.items(), "support sees what the viewer sees"
    assert support.get("/v1/admin/accounts?email=nobody@example.com").json["items"] == []
    assert code_of(support.get("/v1/admin/accounts/acc_none")) == (404, "not_found")


def test_a_disabled_account_is_rejected_from_the_next_request_and_looks_unknown(support, ann, path):
    disabled = support.patch(path, {"status": "disabled", "reason": "chargebacks"})
    assert (disabled.json["status"], disabled.json["status_reason"]) == ("disabled", "chargebacks")
    assert ann.get("/v1/account").status_code == 401
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    assert support.patch(path, {"status": "active"}).json["status_reason"] is None
    assert ann.get("/v1/account").status_code == 401, "ended sessions stay ended"
    assert ann.sign_in().status_code == 201


def test_an_account_is_enabled_automatically_after_disabled_until(app, support, ann, path, clock):
    support.patch(path, {"status": "disabled", "until": "2026-01-16T12:00:00Z"})
    clock.advance(hours=23, minutes=59)
    run_jobs(app)
    assert ann.sign_in().status_code == 401
    clock.advance(minutes=1)
    run_jobs(app)
    assert ann.sign_in().status_code == 201


def test_a_live_session_of_a_disabled_account_is_rejected(app, ann):
    """Disabling ends all sessions; even one that was missed is rejected because of the status of the account."""
    with app.app_context():
        db.session.execute(sa.update(Account).values(status="disabled"))
        db.session.commit()
    assert ann.get("/v1/account").status_code == 401


@pytest.mark.parametrize("change", [{"status": "active", "until": "2027-01-01T00:00:00Z"}, {"status": "deleted"}])
def test_invalid_status_changes_are_rejected(support, path, change):
    assert support.patch(path, change).status_code == 422


def test_sessions_are_listed_and_ended_one_by_one_or_all(support, ann, path):
    other = ann.again()
    session = other.sign_in().json["session"]["id"]
    [newest, first] = support.get(f"{path}/sessions").json["items"]
    assert newest["id"] == session
    assert newest | {"current": True} == other.get("/v1/sessions").json["items"][0], "support sees what the viewer sees"
    assert support.delete(f"{path}/sessions/{session}").status_code == 204
    assert [session["id"] for session in support.get(f"{path}/sessions").json["items"]] == [first["id"]]
    assert (ann.get("/v1/account").status_code, other.get("/v1/account").status_code) == (200, 401)
    assert code_of(support.delete(f"{path}/sessions/{session}")) == (404, "not_found")
    assert support.delete(f"{path}/sessions").status_code == 204
    assert ann.get("/v1/account").status_code == 401
    assert support.get(f"{path}/sessions").json["items"] == []
    assert code_of(support.get("/v1/admin/accounts/acc_none/sessions")) == (404, "not_found")


def test_account_endpoints_require_the_support_scope(app, ann, path):
    assert code_of(operator(app, "catalog").get(path)) == (403, "insufficient_scope")
    assert code_of(ann.get(path)) == (401, "not_signed_in")
