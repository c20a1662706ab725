"""A clock that jumps: nobody is charged, nothing is deleted, and nobody is locked out once it has returned."""

import subprocess
import sys
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.cli.clock import clock as clock_command
from streamsvc.models import AuditEvent, ClockReading, Job, Worker
from streamsvc.operations.billing.core import charging, invoice_creation
from streamsvc.operations.maintenance import clock_check
from streamsvc.operations.maintenance.worker_loop import is_worker_alive
from streamsvc.rules.rate_limits import MAIL_FROM_ADDRESS, SECOND_FACTOR, SIGN_IN_ACCOUNT
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import ClockNotTrusted
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.security import rate_limits
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one
from streamsvc.worker import jobs
from tests.conftest import NOON
from tests.worlds.billing_world import World
from tests.worlds.machine import Machine, to_ns
from tests.worlds.sessions_steps import Person, add_app, new_person

FORTY_DAYS = {"days": 40}


@pytest.fixture
def context(app):
    with app.app_context():
        yield
        db.session.remove()


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()

    def restart_process():
        monkeypatch.setattr(clocks, "machine_clock", machine.start_process())

    machine.restart_process = restart_process
    restart_process()
    return machine


def restart_machine(monkeypatch, machine):
    machine.uptime_ns = 10**9
    monkeypatch.setattr(clock_check, "machine_id", lambda: "the machine after its restart")
    machine.restart_process()


@pytest.mark.parametrize("jump", [{"days": 3650}, FORTY_DAYS, {"hours": -2}, {"days": -40}])
def test_after_a_jump_time_goes_on_and_the_clock_is_in_doubt_until_it_returns(context, machine, jump):
    assert clock_check.check_clock() is None
    before = clocks.wall_time()
    machine.set_clock(**jump)
    machine.pass_time(seconds=12)
    assert clocks.wall_time() - before == timedelta(seconds=12)
    assert clocks.find_doubt()
    assert clock_check.check_clock()
    machine.set_clock(**{unit: -number for unit, number in jump.items()})
    assert clock_check.check_clock() is None
    assert clocks.wall_time() - before == timedelta(seconds=12)


def test_small_corrections_and_a_machine_that_sleeps_are_no_jumps(context, machine):
    for change in (lambda: machine.set_clock(seconds=90), lambda: machine.set_clock(minutes=-50)):
        assert clock_check.check_clock() is None
        change()
    machine.set_clock(minutes=49)
    machine.pass_time(minutes=40)  # PostgreSQL's own clock does not sleep along for longer
    assert clock_check.check_clock() is None


def test_a_jump_while_the_service_was_stopped_is_noticed_by_the_uptime(context, machine):
    assert clock_check.check_clock() is None
    stored = clocks.wall_time()
    machine.pass_time(minutes=10)
    machine.set_clock(days=3)
    machine.restart_process()
    assert clock_check.check_clock() == "the machine's clock is 3 days ahead of the time since the machine started"
    assert clocks.wall_time() - stored == timedelta(minutes=10)
    assert clock_check.check_clock(), "it does not get used to it"


def test_a_process_in_a_time_namespace_has_the_uptime_of_the_machine():
    """A container may count the time since boot from elsewhere, while it has the machine's boot id."""
    program = "from streamsvc.operations.maintenance.clock_check import _uptime_us; print(_uptime_us())"
    command = ["unshare", "--time", "--boottime", "1000000", sys.executable, "-c", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.stderr.startswith("unshare"):
        pytest.skip("this needs the right to create a time namespace")
    assert abs(int(done.stdout) - clock_check._uptime_us()) < 60 * 10**6


def test_the_offset_of_a_time_namespace_is_read_if_it_is_the_process_s_own(tmp_path):
    def offset_us(own, of_children):
        folder = tmp_path / f"{own} {of_children}"
        (folder / "ns").mkdir(parents=True)
        (folder / "timens_offsets").write_text("monotonic  5  0\nboottime  -86400  500000000\n")
        for name, number in (("time", own), ("time_for_children", of_children)):
            (folder / "ns" / name).symlink_to(f"time:[{number}]")
        return clock_check.read_boot_offset_us(folder)

    initial = 4026531834
    assert (offset_us(7, 7), offset_us(7, 8), offset_us(initial, 8)) == (-86_399_500_000, None, 0)
    assert clock_check.read_boot_offset_us(tmp_path / "an old kernel") == 0


def test_a_system_without_a_boot_id_has_one_reading_whose_uptime_means_nothing(context, machine, monkeypatch, tmp_path):
    monkeypatch.setattr(clock_check, "BOOT_ID_FILE", tmp_path / "none")
    monkeypatch.setattr(clock_check, "read_database_clock", lambda: None)
    clock_check.read_boot.cache_clear()
    try:
        for _ in range(3):
            machine.pass_time(minutes=1)
            machine.restart_process()
            assert clock_check.check_clock() is None
        assert len(fetch_all(sa.select(ClockReading.machine))) == 1
        machine.set_clock(hours=5)  # the machine was off, and its uptime is by chance as long as before
        machine.restart_process()
        assert clock_check.check_clock() is None
    finally:
        clock_check.read_boot.cache_clear()


@pytest.mark.parametrize(
    ("gap", "doubt"),
    [
        ({"days": 3}, None),
        ({"days": 8}, "8 days ahead of the last time that the service recorded"),
        ({"hours": -2}, "2 hours behind the last time that the service recorded"),
    ],
)
def test_after_a_restart_of_the_machine_only_a_long_gap_or_an_earlier_time_is_in_doubt(
    context, app, machine, monkeypatch, gap, doubt
):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(sandbox=False))
    was_off_since = clocks.wall_time() - timedelta(**gap)
    values = {"machine": "before", "shown_at": was_off_since, "uptime_us": 10**15, "generation": 0}
    execute_write(sa.insert(ClockReading).values(values))
    restart_machine(monkeypatch, machine)
    assert clock_check.check_clock() == (doubt and f"the machine's clock is {doubt}")
    assert clocks.wall_time() >= was_off_since
    machine.pass_time(seconds=5)
    assert bool(clock_check.check_clock()) == bool(doubt)


def test_the_sandbox_may_be_off_for_any_time(context, machine, monkeypatch):
    assert clock_check.check_clock() is None
    machine.set_clock(minutes=50)
    execute_write(sa.update(ClockReading).values(shown_at=clocks.wall_time() - timedelta(days=300)))
    restart_machine(monkeypatch, machine)
    assert clock_check.check_clock() is None


@pytest.mark.parametrize(("apart", "is_trusted"), [({"seconds": 90}, True), ({"hours": 2}, False)])
def test_a_clock_must_agree_with_that_of_the_database(context, database, machine, apart, is_trusted):
    if database == "sqlite":
        pytest.skip("SQLite has no clock of its own")
    machine.set_clock(**apart)
    machine.restart_process()
    assert (clock_check.check_clock() is None) == is_trusted


def test_an_operator_confirms_a_clock_and_all_processes_follow(context, app, machine, monkeypatch):
    processes = clocks.machine_clock, machine.start_process()

    def check_all():
        for process in processes:
            monkeypatch.setattr(clocks, "machine_clock", process)
            yield clock_check.check_clock() is None

    assert list(check_all()) == [True, True]
    machine.uptime_ns -= to_ns(hours=2)  # a virtual machine that was paused, and has corrected its clock
    assert list(check_all()) == [False, False]
    result = confirm(app)
    assert (result.exit_code, "The clock is confirmed" in result.output) == (0, True), result.output
    assert list(check_all()) == [True, True]
    assert clocks.wall_time() == clock_check.read_machine_clock()
    (entry,) = fetch_all(sa.select(AuditEvent.details).where(AuditEvent.action == "clock_confirmed"))
    assert (entry.details["reason"], entry.details["doubt"][:27]) == ("a test", "the machine's clock is 2 ho")


def test_a_confirmation_by_a_new_process_says_what_was_in_doubt(context, app, machine):
    assert clock_check.check_clock() is None
    machine.uptime_ns -= to_ns(hours=-3)  # a virtual machine whose clock stood still
    machine.restart_process()  # the command's, which has not compared its clock yet
    assert confirm(app).exit_code == 0
    (entry,) = fetch_all(sa.select(AuditEvent.details).where(AuditEvent.action == "clock_confirmed"))
    assert entry.details["doubt"] == "the machine's clock is 3 hours behind the time since the machine started"


def confirm(app):
    return app.test_cli_runner().invoke(clock_command, ["confirm", "--yes", "--reason", "a test"])


def test_a_confirmed_clock_may_have_been_set_back(context, app, machine, monkeypatch):
    ahead = {"machine": "other", "shown_at": clocks.wall_time() + timedelta(days=5), "uptime_us": 1, "generation": 0}
    execute_write(sa.insert(ClockReading).values(ahead))
    assert clock_check.check_clock() == "the machine's clock is 5 days behind the last time that the service recorded"
    assert clocks.wall_time() >= ahead["shown_at"], "what has expired stays expired"
    assert confirm(app).exit_code == 0
    assert clock_check.check_clock() is None
    assert (clocks.wall_time(), clocks.set_back_by()) == (clock_check.read_machine_clock(), timedelta())


def test_a_clock_that_differs_from_the_database_s_cannot_be_confirmed(context, app, database, machine):
    if database == "sqlite":
        pytest.skip("SQLite has no clock of its own")
    machine.set_clock(days=1)
    result = confirm(app)
    assert (result.exit_code, "1 day" in result.output or "24 hours" in result.output) == (1, True), result.output


def test_readiness_is_degraded_and_the_log_says_so(app, client, machine, caplog):
    machine.set_clock(**FORTY_DAYS)
    with app.app_context():
        assert clock_check.check_clock()
        execute_write(sa.insert(Worker).values(id="w", started_at=clocks.wall_time(), seen_at=clocks.wall_time()))
    response = client.get("/readyz")
    assert (response.status_code, response.json["status"]) == (200, "degraded")
    checks = {"database": True, "schema": True, "worker": True, "clock": False, "reconciled": True}
    assert response.json["checks"] == checks
    assert caplog.text.count("nobody is charged") == 1
    machine.set_clock(days=-40)
    with app.app_context():
        assert clock_check.check_clock() is None
    assert client.get("/readyz").json["status"] == "ok"


def test_while_the_clock_is_in_doubt_nobody_is_charged(app, machine):
    world = World(app)
    price = world.plan("p", 1000)
    old, new = world.person(), world.person()
    assert old.subscribe(price).status_code == 201
    world.clock.advance(days=31)
    machine.set_clock(**FORTY_DAYS)
    refused = new.subscribe(price)
    assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (503, "unavailable", "60")
    with app.app_context():
        (due,) = fetch_all(sa.select(Job.id).where(Job.kind == "subscription.due", Job.run_at <= world.clock.at))
        jobs.run_due_jobs(world.clock.at)
        columns = Job.attempts, Job.failed_at, Job.done_at
        assert tuple(fetch_one(sa.select(*columns).where(Job.id == due.id))) == (0, None, None), "this does not count"
    assert world.charges() == [1000]
    machine.set_clock(days=-40)
    world.go_to(world.clock.at + timedelta(minutes=1))
    assert new.subscribe(price).status_code == 201
    assert world.charges() == [1000] * 3
    assert world.differences() == []


def test_neither_an_invoice_nor_a_payment_begins_while_the_clock_is_in_doubt(context, machine):
    machine.set_clock(days=-40)
    with pytest.raises(ClockNotTrusted):
        invoice_creation.create_invoice(None, "renewal", NOON, NOON.date())
    with pytest.raises(ClockNotTrusted):
        charging.create_payment(None, None, NOON, on_session=True)


@pytest.mark.parametrize("days", [20, 40])
def test_a_lock_out_from_a_clock_ahead_ends_when_it_returns(context, clock, days):
    clock.advance(days=days)
    for _ in range(5):
        rate_limits.hit(SIGN_IN_ACCOUNT, "ann")
    for _ in range(100):
        rate_limits.hit(MAIL_FROM_ADDRESS, "1.2.3.4")
    for rule, subject in ((SIGN_IN_ACCOUNT, "ann"), (MAIL_FROM_ADDRESS, "1.2.3.4")):
        with pytest.raises(TooManyAttempts):
            rate_limits.hit(rule, subject)
    clock.advance(days=-days)
    assert max(rate_limits.resets_in([(SIGN_IN_ACCOUNT, "ann"), (MAIL_FROM_ADDRESS, "1.2.3.4")]).values()) == 0
    assert rate_limits.hit(SIGN_IN_ACCOUNT, "ann") == 6, "the next failure waits again"
    assert rate_limits.hit(MAIL_FROM_ADDRESS, "1.2.3.4") == 1
    with pytest.raises(TooManyAttempts):
        rate_limits.hit(SIGN_IN_ACCOUNT, "ann")


def test_a_lock_out_of_thirty_days_holds_and_one_from_a_clock_ahead_does_not(context, clock):
    for _ in range(100):
        rate_limits.hit(SECOND_FACTOR, "ann")
        clock.advance(minutes=16)
    clock.advance(days=29)
    with pytest.raises(TooManyAttempts):
        rate_limits.hit(SECOND_FACTOR, "ann")
    clock.advance(days=-69)
    assert rate_limits.hit(SECOND_FACTOR, "ann") == 101


def test_two_machines_ninety_seconds_apart_agree_on_a_lock_out(context, clock):
    for _ in range(5):
        rate_limits.hit(SIGN_IN_ACCOUNT, "ann")
    clock.advance(seconds=-90)
    with pytest.raises(TooManyAttempts):
        rate_limits.hit(SIGN_IN_ACCOUNT, "ann")


def test_jobs_scheduled_by_a_clock_ahead_are_pulled_back(context, app, clock):
    jobs.schedule_recurring()
    regular = dict(fetch_all(sa.select(Job.kind, Job.run_at)))
    execute_write(sa.update(Job.__table__).values(run_at=NOON + timedelta(days=3650)))
    jobs.enqueue_job("mail.send", {"id": "retried"}, NOON + timedelta(days=40), "retried")
    jobs.enqueue_job("mail.send", {"id": "later"}, NOON + timedelta(days=40), "later")
    db.session.commit()
    execute_write(sa.update(Job.__table__).where(Job.dedupe == "retried").values(attempts=1))
    jobs.pull_back_jobs()
    times = fetch_all(sa.select(Job.kind, Job.run_at).where(Job.kind != "mail.send"))
    assert dict(times) == regular
    others = dict(fetch_all(sa.select(Job.dedupe, Job.run_at).where(Job.kind == "mail.send")))
    assert others == {"retried": NOON, "later": NOON + timedelta(days=40)}


def test_a_lease_and_a_heartbeat_of_a_worker_from_a_clock_ahead_are_void(context, app):
    ahead = clocks.wall_time() + timedelta(days=40)
    jobs.enqueue_job("mail.send", {}, NOON)
    db.session.commit()
    execute_write(sa.update(Job.__table__).values(lease="lost", leased_until=ahead))
    execute_write(sa.insert(Worker).values(id="dead", started_at=ahead, seen_at=ahead))
    assert jobs.lease_next_job(NOON) is not None
    assert not is_worker_alive()
    assert jobs.lease_next_job(NOON) is None, "the lease of now holds"


def test_setting_the_clock_back_revives_no_session(client, clock, machine):
    new_person(client)
    person = Person(client, "ann@example.com")
    assert person.sign_in(remember=False).status_code == 201
    clock.advance(hours=2)  # the idle time of a visit
    clocks.wall_time()
    assert person.get("/v1/account").status_code == 401
    clock.advance(minutes=-50)
    machine.set_clock(minutes=-50)
    assert person.get("/v1/account").status_code == 401
    assert new_person(client, "bob").get("/v1/account").status_code == 200


def test_a_used_code_stays_used_and_one_from_a_clock_ahead_locks_nobody_out(client, clock):
    person = new_person(client)
    secret = add_app(person, clock)
    body = {"email": person.email, "password": person.password}

    def sign_in():
        code = totp_code(secret, int(clock.at.timestamp()) // STEP_S)
        return client.post("/v1/sessions", json=body | {"totp": code}).status_code

    clock.advance(minutes=30)
    assert sign_in() == 201
    clock.advance(minutes=-10)
    assert sign_in() == 401
    clock.advance(days=40)
    assert sign_in() == 201
    clock.advance(days=-40)
    assert sign_in() == 201
    assert sign_in() == 401
