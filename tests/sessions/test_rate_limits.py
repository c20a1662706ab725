"""Rate limits of sign-in attempts: exact, equal for unknown identifiers, and never against a known device."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from streamsvc.models import RateLimitCounter
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.rate_limits import Backoff, RateLimit, source_network
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security import rate_limits
from streamsvc.storage.database import db, is_unavailable
from tests.worlds.sessions_steps import Person, code_of, mailed_token, new_person


@pytest.fixture
def ann(client):
    return new_person(client)


def fail_sign_in(client, email="ann@example.com", address="203.0.113.1", **more):
    body = {"email": email, "password": "a wrong password"} | more
    return client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
def test_five_failures_on_an_identifier_start_growing_waits_known_or_not(client, clock, ann, email):
    def fail_six_times():
        return [code_of(fail_sign_in(client, email, f"203.0.113.{n}"))[1] for n in range(6)]

    assert fail_six_times() == ["invalid_credentials"] * 5 + ["too_many_attempts"]
    for minutes in (1, 2, 4, 8, 15, 15):
        rejected = fail_sign_in(client, email, "198.51.100.1")
        assert (rejected.status_code, rejected.headers["Retry-After"]) == (429, str(minutes * 60))
        clock.advance(minutes=minutes)
        assert fail_sign_in(client, email, "198.51.100.2").status_code == 401


def test_no_number_of_failures_locks_the_owner_out_on_a_known_device(client, ann):
    device = ann.sign_in(device={"name": "TV", "kind": "tv"}).json["session"]["device"]["id"]
    for n in range(12):
        fail_sign_in(client, address=f"203.0.113.{n}")
    assert code_of(ann.sign_in()) == (429, "too_many_attempts")
    assert ann.sign_in(device={"id": device}).status_code == 201


def test_a_password_reset_clears_the_limit(app, client, ann):
    for n in range(6):
        fail_sign_in(client, address=f"203.0.113.{n}")
    client.post("/v1/password-resets", json={"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
    assert Person(client, ann.email, "another secret 8").sign_in().status_code == 201


def test_a_stolen_device_id_has_a_limit_of_its_own(client, ann):
    device = {"id": ann.sign_in().json["session"]["device"]["id"]}
    codes = [fail_sign_in(client, device=device).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_one_address_has_twenty_failures_in_ten_minutes(client, clock):
    codes = []
    for n in range(25):
        codes.append(fail_sign_in(client, f"user{n % 5}@example.com").status_code)
    assert codes == [401] * 20 + [429] * 5
    clock.advance(minutes=10)
    assert fail_sign_in(client, "user6@example.com").status_code == 401


def test_one_address_fails_on_ten_identifiers_in_an_hour(client, clock):
    codes = [fail_sign_in(client, f"user{n}@example.com").status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    clock.advance(hours=1)
    assert fail_sign_in(client, "user13@example.com").status_code == 401


def test_repeated_tries_do_not_bypass_the_count_of_identifiers(client):
    codes = [fail_sign_in(client, f"user{n // 2}@example.com", "203.0.113.2").status_code for n in range(10)]
    codes += [
        fail_sign_in(client, f"more{n}@example.com", "203.0.113.2").status_code for n in (1, 2, 3, 4, 5, 6, 6, 7, 7)
    ]
    assert codes == [401] * 15 + [429] * 4


def test_an_attempt_rejected_by_one_limit_is_counted_by_none(client):
    codes = [fail_sign_in(client, f"user{n}@example.com").status_code for n in range(25)]
    assert codes == [401] * 10 + [429] * 15
    assert [fail_sign_in(client, f"user{n % 3}@example.com").status_code for n in range(10)] == [401] * 10


def test_many_successful_sign_ins_from_one_address_are_not_limited(client):
    people = [Person(client, f"user{n}@example.com") for n in range(30)]
    assert {person.sign_up().status_code for person in people} == {201}
    assert {person.sign_in().status_code for person in people} == {201}


def test_successful_sign_ins_do_not_clear_the_limits_of_an_address(client, ann):
    codes = []
    for n in range(21):
        codes.append(fail_sign_in(client, f"user{n % 8}@example.com").status_code)
        ann.client.post(
            "/v1/sessions",
            json={"email": ann.email, "password": ann.password},
            environ_base={"REMOTE_ADDR": "203.0.113.1"},
        )
    assert codes == [401] * 20 + [429]


def test_an_ipv6_64_counts_as_one_source():
    assert (
        source_network("2001:db8:1:2::1") == source_network("2001:db8:1:2:ffff::9") != source_network("2001:db8:1:3::1")
    )
    assert source_network("::ffff:203.0.113.9") == source_network("203.0.113.9") != source_network("203.0.113.10")
    assert source_network(None) == "unknown"


@pytest.mark.every_database
@pytest.mark.parametrize("limit", [RateLimit("test.rate_limit", 7, 60), Backoff("test.backoff", free_attempts=7)])
def test_of_sixty_four_concurrent_attempts_exactly_the_limit_passes(app, limit):
    def attempt(_):
        with app.app_context():
            try:
                rate_limits.hit(limit, "somebody")
                return True
            except TooManyAttempts:
                return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 7


def is_rejected(limit):
    """Count an attempt; return whether it was rejected."""
    try:
        rate_limits.hit(limit, "somebody")
    except TooManyAttempts:
        return True
    return False


def test_a_window_lasts_to_its_last_second(app, clock):
    limit = RateLimit("test.window", 2, 60)
    with app.app_context():
        assert [is_rejected(limit) for _ in range(3)] == [False, False, True]
        clock.advance(seconds=59)
        with pytest.raises(TooManyAttempts) as rejected:
            rate_limits.hit(limit, "somebody")
        assert rejected.value.headers["Retry-After"] == "1"
        clock.advance(seconds=1)
        assert [is_rejected(limit) for _ in range(3)] == [False, False, True]


def test_a_wait_lasts_to_its_last_second(app, clock):
    backoff = Backoff("test.wait", free_attempts=1, waits_s=(60,))
    with app.app_context():
        assert not is_rejected(backoff)
        clock.advance(seconds=59)
        assert is_rejected(backoff)
        clock.advance(seconds=1)
        assert not is_rejected(backoff)


def test_a_wait_of_hours_is_not_taken_for_one_that_began_before_the_clock_was_set_back(app, clock):
    backoff = Backoff("test.hours", free_attempts=1, waits_s=(60, 7200))
    with app.app_context():
        assert not is_rejected(backoff)
        clock.advance(minutes=1)
        assert [is_rejected(backoff) for _ in range(2)] == [False, True]
        clock.advance(days=-1)
        assert not is_rejected(backoff)


@pytest.mark.every_database
def test_a_refunded_attempt_leaves_no_count(app):
    limit = RateLimit("test.refund", 1, 60)
    with app.app_context():
        rate_limits.hit(limit, "somebody")
        assert rate_limits.resets_in([(limit, "somebody")]) == {(limit, "somebody"): 60}
        with rate_limits.counter_transaction() as counters:
            counters.refund(limit, "somebody")
        assert rate_limits.resets_in([(limit, "somebody")]) == {}


@pytest.mark.every_database
def test_an_attempt_that_another_one_forestalled_reports_the_wait(app, clock):
    """Both tested the limit before either was counted."""
    limit = RateLimit("test.race", 1, 60)
    with app.app_context():
        rate_limits.hit(limit, "somebody")
        clock.advance(seconds=20)
        with pytest.raises(TooManyAttempts) as rejected, rate_limits.counter_transaction() as counters:
            counters.hit(limit, "somebody")
        assert rejected.value.headers["Retry-After"] == "40"


def test_of_several_exhausted_limits_the_longest_wait_is_reported(app):
    hour, day = (RateLimit("test.hour", 1, 3600), "somebody"), (RateLimit("test.day", 1, 86_400), "somebody")
    with app.app_context():
        rate_limits.hit_all([hour, day])
        for limits in ([hour, day], [day, hour]):
            with pytest.raises(TooManyAttempts) as rejected:
                rate_limits.hit_all(limits)
            assert rejected.value.headers["Retry-After"] == "86400"


@pytest.mark.every_database
def test_housekeeping_lifts_no_limit(app, clock):
    lockout = Backoff("test.lockout", free_attempts=1, waits_s=(900,), max_attempts=2)
    window = RateLimit("test.day", 1, 86_400)
    with app.app_context():
        assert not is_rejected(lockout)
        clock.advance(minutes=15)
        assert not is_rejected(lockout), "starts the lockout of thirty days"
        assert not is_rejected(window)
        for days, rejected in ((0, [True, True]), (28, [True, False])):
            clock.advance(days=days, hours=23)
            purge_expired_data({}, clock())
            assert [is_rejected(lockout), is_rejected(window)] == rejected


@pytest.mark.every_database
def test_housekeeping_deletes_counters_thirty_days_after_they_expire(app, clock):
    with app.app_context():
        rate_limits.hit(RateLimit("test.old", 1, 60), "somebody")
        for advance, count in (({"days": 30, "seconds": 60}, 1), ({"seconds": 1}, 0)):
            clock.advance(**advance)
            purge_expired_data({}, clock())
            assert db.session.query(RateLimitCounter).count() == count
            db.session.commit()


@pytest.mark.every_database
def test_free_attempts_may_be_counted_out_of_order(app, clock):
    with app.app_context():
        rate_limits.hit(Backoff("test.order"), "somebody")
        clock.advance(seconds=-1)
        assert rate_limits.hit(Backoff("test.order"), "somebody") == 2


def test_after_a_hundred_failures_in_a_row_only_the_owner_can_sign_in(app, clock):
    backoff = Backoff("test.cap")
    with app.app_context():
        for _ in range(100):
            rate_limits.hit(backoff, "somebody")
            clock.advance(minutes=15)
        with pytest.raises(TooManyAttempts) as rejected:
            rate_limits.hit(backoff, "somebody")
    assert int(rejected.value.headers["Retry-After"]) > 29 * 86_400


def test_a_week_without_attempts_resets_the_backoff(app, clock):
    backoff = Backoff("test.reset")
    with app.app_context():
        for _ in range(5):
            rate_limits.hit(backoff, "somebody")
        clock.advance(days=7, minutes=1)
        assert rate_limits.hit(backoff, "somebody") == 1


def test_rate_limits_may_be_off_in_the_sandbox(database, new_app):
    app = new_app(database, "unlimited", login_throttle=False)
    client = app.test_client()
    assert {fail_sign_in(client).status_code for _ in range(30)} == {401}


def test_a_connection_lost_between_two_limits_is_an_outage(app, database):
    if database == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    limit = RateLimit("test.lost", 5, 60)
    with app.app_context():
        rate_limits.hit(limit, "ann")
        with pytest.raises(DBAPIError) as caught, rate_limits.counter_transaction() as counters:
            counters.hit(limit, "ann")
            pid = counters._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with db.engine.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            counters.hit(limit, "ben")
        assert is_unavailable(caught.value)
        assert rate_limits.hit(limit, "ann") == 2
