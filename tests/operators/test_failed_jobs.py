"""Failed jobs (dead letters): operators find, inspect, retry and discard them, by API and on the command line."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.cli.jobs import jobs as commands
from streamsvc.models import AuditEvent, Job, WebhookDelivery, Worker
from streamsvc.operations.maintenance import failed_jobs
from streamsvc.rules.jobs import mask_payload
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs
from tests.worlds.operator_steps import new_operator
from tests.worlds.plans import query_plan
from tests.worlds.sessions_steps import code_of, operator

PATH, RETRIES, DISCARDS = "/v1/admin/failed-jobs", "/v1/admin/job-retries", "/v1/admin/job-discards"
SECRET = "$argon2id$of-a-password"
broken = set()


@jobs.job_handler("test fragile", jobs.INTERACTIVE_LANE)
def record_unless_broken(payload, now):
    if payload["id"] in broken:
        raise ValueError("as requested")
    db.session.add(Worker(id=payload["id"], started_at=now, seen_at=now))


@jobs.job_handler("test hopeless", jobs.BULK_LANE)
def fail(payload, now):
    raise ValueError("as always")


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch):
    monkeypatch.setattr(jobs, "MAX_ATTEMPTS", 1)
    yield
    broken.clear()


@pytest.fixture
def admin(app):
    return operator(app)


def fail_jobs(app, kind, *ids):
    """Enqueue jobs that fail, a minute apart; returns their ids."""
    broken.update(ids)
    before = set(all_jobs(app))
    for name in ids:
        app.extensions["clock"].advance(minutes=1)
        run(app, kind, {"id": name, "password_hash": SECRET, "address_id": "adr_1"})
    return sorted(set(all_jobs(app)) - before)


def run(app, kind=None, payload=None):
    with app.app_context():
        if kind:
            jobs.enqueue_job(kind, payload, app.extensions["clock"]())
            db.session.commit()
        jobs.run_due_jobs(app.extensions["clock"]())


def all_jobs(app):
    with app.app_context():
        return [row.id for row in fetch_all(sa.select(Job.id).where(Job.kind.startswith("test ")))]


def listed(admin, **query):
    response = admin.get(PATH, query_string=query)
    assert response.status_code == 200, response.json
    return [item["id"] for item in response.json["items"]]


def completed(app):
    with app.app_context():
        return [row.id for row in fetch_all(sa.select(Worker.id).order_by(Worker.id))]


def audit_details(app, action):
    with app.app_context():
        events = sa.select(AuditEvent.details, AuditEvent.actor).where(AuditEvent.action == action)
        return fetch_all(events.order_by(AuditEvent.seq))


def test_failed_jobs_are_listed_in_pages_and_filtered(app, admin):
    since = app.extensions["clock"]() + timedelta(minutes=2)
    first, second = fail_jobs(app, "test fragile", "a", "b")
    [hopeless] = fail_jobs(app, "test hopeless", "c")
    run(app, "test fragile", {"id": "fine"})
    assert listed(admin) == [hopeless, second, first]
    page = admin.get(f"{PATH}?limit=2&include_total=true").json
    assert (len(page["items"]), page["total"]) == (2, 3)
    assert listed(admin, cursor=page["next_cursor"]) == [first]
    assert listed(admin, kind="test hopeless") == listed(admin, lane="bulk") == [hopeless]
    assert listed(admin, failed_since=since.isoformat()) == [hopeless, second]
    assert listed(admin, failed_before=since.isoformat()) == [first]
    assert code_of(admin.get(f"{PATH}?lane=fast")) == (422, "invalid")


def test_a_failed_job_is_shown_without_secrets(app, admin):
    [job_id] = fail_jobs(app, "test fragile", "a")
    response = admin.get(f"{PATH}/{job_id}")
    shown = response.json
    assert (shown["kind"], shown["lane"], shown["attempts"]) == ("test fragile", "interactive", 1)
    assert shown["payload"] == {"id": "a", "password_hash": "[hidden]", "address_id": "adr_1"}
    assert shown["last_error"] == "ValueError('as requested')"
    assert SECRET not in response.text
    assert code_of(admin.get(f"{PATH}/job_none")) == (404, "not_found")


def test_only_what_is_known_to_be_harmless_is_shown_of_a_payload():
    payload = {"to": "a@x", "facts": {"id": "x"}, "token": "t", "account_id": {"id": "x"}, "kind": None, "new": "y"}
    hidden = dict.fromkeys(("facts", "token", "account_id", "new"), "[hidden]")
    assert mask_payload(payload) == {"to": "a@x", "kind": None} | hidden


def test_a_retried_job_runs_with_all_its_attempts(app, admin):
    first, second = fail_jobs(app, "test fragile", "a", "b")
    retried = admin.post(f"{PATH}/{first}/retry")
    assert (retried.status_code, retried.json["failed_at"], retried.json["attempts"]) == (202, None, 0)
    assert code_of(admin.post(f"{PATH}/{first}/retry")) == (404, "not_found")
    broken.clear()
    run(app)
    assert (completed(app), listed(admin)) == (["a"], [second])
    [(details, actor)] = audit_details(app, "operator_call")[:1]
    assert (details["object"], actor[:4]) == ({"type": "job", "id": first}, "key_")
    assert (details["old"]["attempts"], details["new"]["attempts"]) == (1, 0)
    assert details["old"]["failed_at"] and details["new"]["failed_at"] is None


def test_a_discarded_job_is_gone(app, admin):
    first, second = fail_jobs(app, "test fragile", "a", "b")
    assert admin.delete(f"{PATH}/{first}").status_code == 204
    assert code_of(admin.delete(f"{PATH}/{first}")) == (404, "not_found")
    assert all_jobs(app) == [second]
    [(details, _)] = audit_details(app, "operator_call")[:1]
    assert (details["old"]["kind"], details["new"]) == ("test fragile", None)
    assert SECRET not in json.dumps(details)


def test_a_job_that_has_not_failed_is_neither_retried_nor_discarded(app, admin):
    run(app, "test fragile", {"id": "done"})
    [job_id] = all_jobs(app)
    for refused in (
        admin.get(f"{PATH}/{job_id}"),
        admin.post(f"{PATH}/{job_id}/retry"),
        admin.delete(f"{PATH}/{job_id}"),
    ):
        assert code_of(refused) == (404, "not_found")
    assert all_jobs(app) == [job_id]


def test_all_that_match_are_counted_and_then_retried(app, admin, monkeypatch):
    monkeypatch.setattr(failed_jobs, "MAX_JOBS_PER_CALL", 2)
    fragile = fail_jobs(app, "test fragile", "a", "b", "c")
    [hopeless] = fail_jobs(app, "test hopeless", "d")
    body = {"kind": "test fragile", "reason": "the mail server is back"}
    assert audit_details(app, "operator_call") == []
    counted = admin.post(RETRIES, body | {"dry_run": True})
    [(dry_run, _)] = audit_details(app, "operator_call")
    assert (dry_run["call"], dry_run["dry_run"]) == ("POST /v1/admin/job-retries", True)
    assert (counted.status_code, counted.json) == (200, {"jobs": 2, "remaining": 1, "dry_run": True})
    assert len(listed(admin)) == 4
    retried = admin.post(RETRIES, body)
    assert (retried.status_code, retried.json) == (201, {"jobs": 2, "remaining": 1, "dry_run": False})
    assert listed(admin) == [hopeless, fragile[2]]
    broken.clear()
    run(app)
    assert completed(app) == ["a", "b"]
    [(details, _)] = audit_details(app, "jobs_retried")
    assert (details["reason"], details["jobs"], details["filters"]) == (body["reason"], 2, {"kind": "test fragile"})
    assert details["old"]["count_by_kind"] == {"test fragile": 3, "test hopeless": 1}
    assert details["new"]["count_by_kind"] == {"test fragile": 1, "test hopeless": 1}


def test_all_that_match_are_discarded(app, admin):
    fail_jobs(app, "test fragile", "a", "b")
    [hopeless] = fail_jobs(app, "test hopeless", "c")
    assert code_of(admin.post(DISCARDS, {"lane": "interactive"})) == (422, "invalid"), "without a reason"
    body = {"lane": "interactive", "reason": "sent by hand"}
    assert admin.post(DISCARDS, body | {"dry_run": True}).json["jobs"] == 2
    assert admin.post(DISCARDS, body).json == {"jobs": 2, "remaining": 0, "dry_run": False}
    assert (all_jobs(app), listed(admin)) == ([hopeless], [hopeless])


def test_an_auditor_reads_failed_jobs_and_changes_none(app):
    [job_id] = fail_jobs(app, "test fragile", "a")
    auditor = new_operator(app, "auditor")
    assert job_id in listed(auditor)
    for refused in (auditor.post(f"{PATH}/{job_id}/retry"), auditor.post(DISCARDS, {"reason": "x"})):
        assert code_of(refused) == (403, "insufficient_scope")


def test_a_failed_job_is_published_once(app, admin):
    [job_id] = fail_jobs(app, "test fragile", "a")
    [event] = admin.get("/v1/admin/events?kind=job.failed").json["items"]
    assert event["data"] == {"job_id": job_id, "kind": "test fragile", "lane": "interactive", "attempts": 1}
    assert event["account_id"] is None


def test_a_delivery_whose_job_fails_causes_no_further_delivery(app, admin, monkeypatch):
    """Not even to the endpoint that subscribes to failed jobs, whose every delivery fails for the same reason."""
    monkeypatch.setitem(jobs._handlers, "webhook.deliver", fail)
    admin.post("/v1/admin/webhook-endpoints", {"url": "https://hooks.example.com/x", "kinds": ["job.failed"]})
    fail_jobs(app, "test fragile", "a")
    for _ in range(3):
        run(app)
    kinds = [event["data"]["kind"] for event in admin.get("/v1/admin/events?kind=job.failed").json["items"]]
    assert kinds == ["webhook.deliver", "test fragile"]
    with app.app_context():
        assert len(fetch_all(sa.select(WebhookDelivery.id))) == 1


def test_the_list_uses_its_index(app):
    everything = dict.fromkeys(("kind", "lane", "failed_since", "failed_before"))
    with app.app_context():
        plan = query_plan(failed_jobs.select_failed_jobs(everything).order_by(Job.id.desc()).limit(25))
        if db.engine.dialect.name == "sqlite":
            assert "ix_jobs_failed" in plan
            assert "TEMP B-TREE" not in plan


def test_the_command_line_lists_retries_and_discards(app):
    first, second = fail_jobs(app, "test fragile", "a", "b")
    [hopeless] = fail_jobs(app, "test hopeless", "c")

    def invoke(*arguments, exit_code=0):
        result = app.test_cli_runner().invoke(commands, arguments)
        assert result.exit_code == exit_code, result.output
        return result.output

    assert [line.split()[0] for line in invoke("list").splitlines()] == [first, second, hopeless]
    assert invoke("list", "--lane", "bulk").startswith(hopeless)
    shown = invoke("show", first)
    assert (json.loads(shown)["id"], SECRET in shown) == (first, False)
    reason = ("--reason", "fixed")
    assert invoke("retry", "--kind", "test fragile", *reason, "--dry-run") == "2 jobs would be retried\n"
    assert invoke("retry", first, *reason, "--dry-run") == f"{first} test fragile would be retried\n"
    assert len(invoke("list").splitlines()) == 3
    assert invoke("retry", first, *reason) == f"{first} retried\n"
    assert invoke("retry", first, *reason, exit_code=1) == "Error: There is no failed job with this id.\n"
    assert "either an id or options" in invoke("discard", second, "--lane", "bulk", *reason, exit_code=2)
    assert invoke("discard", second, *reason) == f"{second} discarded\n"
    assert invoke("discard", *reason) == "1 job discarded\n"
    broken.clear()
    run(app)
    assert (completed(app), all_jobs(app)) == (["a"], [first])
    assert [row.details["reason"] for row in audit_details(app, "jobs_discarded")] == ["fixed", "fixed"]


def test_the_command_line_accepts_the_times_that_it_prints(app):
    fail_jobs(app, "test fragile", "a", "b")
    runner = app.test_cli_runner()
    latest = runner.invoke(commands, ["list"]).output.splitlines()[1].split()[4]
    listed = runner.invoke(commands, ["list", "--failed-since", latest])
    assert len(listed.output.splitlines()) == 1, listed.output


def test_a_job_that_somebody_else_retries_meanwhile_is_not_reported_as_retried(app, monkeypatch):
    [job] = fail_jobs(app, "test fragile", "a")
    monkeypatch.setattr(failed_jobs, "retry_job", lambda *_: False)
    result = app.test_cli_runner().invoke(commands, ["retry", job, "--reason", "fixed"])
    assert (result.exit_code, result.output) == (1, "Error: There is no failed job with this id.\n")
    assert audit_details(app, "jobs_retried") == []


def test_a_job_without_a_handler_says_so(app):
    run(app, "test of another release", {})
    listed = app.test_cli_runner().invoke(commands, ["list"]).output
    assert "no handler for jobs of the kind test of another release" in listed
