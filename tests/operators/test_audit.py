"""The audit log: written in the transaction of what it reports, and tamper-evident."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from streamsvc.models import AuditEvent
from streamsvc.operations.outbox import audit
from streamsvc.security.audit_context import get_audit_context
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, code_of, new_person, operator

pytestmark = pytest.mark.every_database


@pytest.fixture
def ann(client):
    return new_person(client)


def actions(app, **query):
    text = "&".join(f"{k}={v}" for k, v in query.items())
    return [row["action"] for row in operator(app).get(f"/v1/admin/audit?limit=100&{text}").json["items"]][::-1]


def test_security_events_are_recorded_in_order(app, ann):
    Person(ann.client, ann.email, "wrong").sign_in()
    ann.again().sign_in()
    ann.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"})
    ann.delete("/v1/sessions/current")
    recorded = actions(app)
    assert recorded[: recorded.index("api_key_created")] == [
        "account_created",
        "authn_login_success",
        "authn_login_fail",
        "authn_login_success",
        "authn_password_change",
        "session_ended",
    ]


def test_an_attempt_that_exhausts_a_limit_is_audited(app, ann):
    [own] = ann.get("/v1/profiles").json["items"]
    ann.put(f"/v1/profiles/{own['id']}/pin", {"pin": "2468"})
    for _ in range(5):
        Person(ann.client, ann.email, "wrong").sign_in()
        ann.post("/v1/sessions/current/reauthentication", {"password": "wrong"})
        ann.patch("/v1/sessions/current", {"profile_id": own["id"], "pin": "0000"})
    locks = operator(app).get("/v1/admin/audit?action=authn_login_lock").json["items"]
    assert [row["details"]["limits"] for row in locks] == [["reauthentication"], ["sign_in.account"]]
    wrong = operator(app).get("/v1/admin/audit?action=profile_pin_fail").json["items"]
    assert [row["details"]["locked"] for row in wrong] == [True] + [False] * 4


def test_an_event_has_actor_address_and_time_and_no_secret(app, ann):
    named, unnamed, misnamed = (
        Person(ann.client, ann.email, "a wrong secret", headers=headers).sign_in()
        for headers in ({"X-Request-Id": "front-7"}, {}, {"X-Request-Id": "not, well formed"})
    )
    rows = operator(app).get("/v1/admin/audit?action=authn_login_fail").json["items"]
    assert {(row["actor"], row["details"]["address"]) for row in rows} == {("anonymous", "127.0.0.1")}
    request_ids = [response.headers["X-Request-Id"] for response in (misnamed, unnamed, named)]
    assert [row["details"]["request_id"] for row in rows] == request_ids
    assert request_ids[2] == "front-7" and request_ids[1].startswith("req_") and request_ids[0].startswith("req_")
    with app.app_context():
        assert "a wrong secret" not in str(db.session.execute(sa.select(AuditEvent.__table__)).all())


def test_a_rollback_discards_events(app):
    with app.app_context():
        audit.record_event("discarded")
        db.session.rollback()
        audit.record_event("committed")
        db.session.commit()
        assert db.session.scalars(sa.select(AuditEvent.action)).all() == ["committed"]


def test_events_outside_a_request_have_no_request_details(app, ann):
    ann.get("/v1/account")
    with app.app_context():
        assert get_audit_context() is None, "the context ends with its request"
        audit.record_event("background")
        db.session.commit()
        details = db.session.scalar(sa.select(AuditEvent.details).where(AuditEvent.action == "background"))
    assert details.keys() == {"salt"}


def first_break(app):
    return operator(app).get("/v1/admin/audit/chain").json["first_break"]


def test_an_unchanged_chain_is_intact(app, ann):
    assert first_break(app) is None


@pytest.mark.parametrize(
    "forgery",
    [
        sa.update(AuditEvent).where(AuditEvent.seq == 2).values(action="authn_login_fail"),
        sa.update(AuditEvent).where(AuditEvent.seq == 2).values(account_id="acc_else"),
        sa.update(AuditEvent).where(AuditEvent.seq == 2).values(details={"address": "192.0.2.1"}),
        sa.update(AuditEvent).where(AuditEvent.seq == 2).values(hash="0" * 64),
        sa.update(AuditEvent).where(AuditEvent.seq == 2).values(previous="0" * 64),
        sa.delete(AuditEvent).where(AuditEvent.seq == 2),
    ],
)
def test_a_changed_or_missing_row_is_detected(app, ann, forgery):
    ann.sign_in()
    with app.app_context():
        db.session.execute(forgery)
        db.session.commit()
    assert first_break(app) == 2


@pytest.mark.parametrize("relinked", [False, True])
def test_a_row_forged_with_a_valid_hash_breaks_the_next_row(app, ann, relinked):
    """The hash of the next row covers the hash of the original, even if its `previous` is forged to match."""
    ann.sign_in()
    with app.app_context():
        forged = db.session.get(AuditEvent, 2)
        forged.action = "authn_login_fail"
        forged.hash = audit.hash_event(forged.previous, forged.seq, forged)
        if relinked:
            db.session.get(AuditEvent, 3).previous = forged.hash
        db.session.commit()
    assert first_break(app) == 3


def test_erased_details_leave_the_chain_intact(app, ann):
    with app.app_context():
        db.session.execute(sa.update(AuditEvent).where(AuditEvent.seq == 2).values(details=sa.null()))
        db.session.commit()
    assert first_break(app) is None


def test_concurrent_events_form_one_chain(app, ann):
    def sign_in(_):
        return Person(app.test_client(), ann.email).sign_in()

    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(sign_in, range(24)))
    assert {response.status_code for response in responses} <= {201, 503}
    signed_in = sum(response.status_code == 201 for response in responses)
    assert actions(app).count("authn_login_success") == signed_in + 1
    assert first_break(app) is None


def test_a_denied_request_is_audited_once_an_hour(app, ann):
    support, account = operator(app, "support"), ann.get("/v1/account").json
    [own] = ann.get("/v1/profiles").json["items"]
    ann.patch(f"/v1/profiles/{own['id']}", {"kids": True})
    ann.patch("/v1/sessions/current", {"profile_id": own["id"]})
    app.extensions["clock"].advance(minutes=11)  # after the reauthentication window
    for _ in range(2):
        assert code_of(support.get("/v1/admin/audit")) == (403, "insufficient_scope")
        assert code_of(support.put("/v1/admin/plans/x", {})) == (403, "insufficient_scope")
        assert code_of(ann.get("/v1/invoices")) == (403, "kids_profile")
    denials = operator(app).get("/v1/admin/audit?action=authz_fail").json["items"]
    assert [(row["account_id"], row["details"]["call"], row["details"]["why"]) for row in reversed(denials)] == [
        (None, "GET /v1/admin/audit", "lacks the scope admin"),
        (None, "PUT /v1/admin/plans/<code>", "lacks the scope billing"),
        (account["id"], "GET /v1/invoices", "a kids' profile is selected"),
    ]
    assert first_break(app) is None
    app.extensions["clock"].advance(hours=1)
    support.get("/v1/admin/audit")
    assert actions(app).count("authz_fail") == 4


def test_the_audit_log_requires_the_admin_scope(app, ann):
    assert code_of(operator(app, "support").get("/v1/admin/audit")) == (403, "insufficient_scope")
