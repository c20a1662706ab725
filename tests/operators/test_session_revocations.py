"""An operator ends every session of the service at once, over HTTP or on the command line."""

import threading

import sqlalchemy as sa

from streamsvc.cli.sessions import end_all
from streamsvc.models import Session
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.operations.credentials.sessions import end_all_sessions
from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import add_app, code_of, new_person, operator

PATH, REASON = "/v1/admin/session-revocations", "a stolen laptop"


def test_every_session_ends_at_once_and_viewers_can_sign_in_again(app, client):
    ann, bob, admin = new_person(client), new_person(client, "bob"), new_operator(app, "admin")
    assert ann.again().sign_in().status_code == 201
    codes = client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    ann.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True})
    counted = admin.post(PATH, {"reason": REASON, "dry_run": True})
    assert (counted.status_code, counted.json) == (200, {"sessions": 3, "dry_run": True})
    assert ann.get("/v1/account").status_code == bob.get("/v1/account").status_code == 200
    ended = admin.post(PATH, {"reason": REASON})
    assert (ended.status_code, ended.json) == (201, {"sessions": 3, "dry_run": False})
    assert ann.get("/v1/account").status_code == bob.get("/v1/account").status_code == 401
    form = {"grant_type": GRANT_TYPE, "device_code": codes["device_code"]}
    assert client.post("/v1/token", data=form).json["error"] == "access_denied"
    assert ann.sign_in().status_code == 201
    assert len(ann.get("/v1/sessions").json["items"]) == 1, "the ended ones are not listed"
    assert admin.get("/v1/admin/sessions/current").status_code == 200, "operators' own sessions stay"
    [event] = admin.get("/v1/admin/audit?action=all_sessions_ended").json["items"]
    assert (event["details"]["reason"], event["details"]["sessions"]) == (REASON, 3)
    assert (event["details"]["old"], event["details"]["new"]) == ({"number": 0}, {"number": 1})
    [published] = admin.get("/v1/admin/events?kind=sessions.revoked").json["items"]
    assert (published["account_id"], published["data"]) == (None, {"sessions": 3})
    assert admin.post(PATH, {"reason": REASON}).json["sessions"] == 1
    assert ann.get("/v1/account").status_code == 401


def test_it_needs_an_admin_and_a_reason(app, client):
    ann = new_person(client)
    assert code_of(operator(app, "support").post(PATH, {"reason": REASON})) == (403, "insufficient_scope")
    assert operator(app).post(PATH, {}).status_code == 422
    assert ann.get("/v1/account").status_code == 200


def test_trusted_devices_lose_their_trust(app, client, clock):
    ann = new_person(client)
    secret = add_app(ann, clock)
    clock.advance(seconds=STEP_S)
    code = totp_code(secret, int(clock.at.timestamp()) // STEP_S)
    signed = ann.again().sign_in(totp=code, trust_device=True, device={"name": "Phone", "kind": "phone"}).json
    body = {"device": {"id": signed["session"]["device"]["id"]}, "device_trust": signed["device_trust"]["token"]}
    assert ann.again().sign_in(**body).status_code == 201
    operator(app).post(PATH, {"reason": REASON})
    assert code_of(ann.again().sign_in(**body)) == (401, "second_factor_required")


def test_a_sign_in_that_commits_afterwards_but_began_before_ends_too(app, client, database):
    """On PostgreSQL both transactions run at once; SQLite has one writer at a time."""
    ann = new_person(client)
    if database == "sqlite":
        return
    with app.app_context():
        db.session.add(_copy_of(db.session.scalar(sa.select(Session))))
        db.session.flush()
        worker = threading.Thread(target=_end_all, args=(app,))
        worker.start()
        worker.join()
        db.session.commit()
    late = ann.again(token="sst_late")
    assert late.get("/v1/account").status_code == 401


def _copy_of(session):
    names = ("account_id", "device_id", "lifetime", "epoch", "created_at", "authenticated_at", "last_seen_at")
    values = {name: getattr(session, name) for name in names}
    return Session(**values, token_hash=hash_token("sst_late"), service_epoch=CURRENT_SERVICE_EPOCH)


def _end_all(app):
    with app.app_context():
        end_all_sessions(None, REASON, 1)
        db.session.commit()


def test_the_command_line_counts_and_ends(app, client):
    ann, runner = new_person(client), app.test_cli_runner()
    counted = runner.invoke(end_all, ["--reason", REASON, "--dry-run"])
    assert (counted.exit_code, counted.output) == (0, "1 sessions would end\n")
    assert ann.get("/v1/account").status_code == 200
    ended = runner.invoke(end_all, ["--reason", REASON])
    assert (ended.exit_code, ended.output) == (0, "1 sessions ended\n")
    assert ann.get("/v1/account").status_code == 401
    assert len(operator(app).get("/v1/admin/audit?action=all_sessions_ended").json["items"]) == 1
