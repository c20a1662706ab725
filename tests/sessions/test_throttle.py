"""Counting attempts: exactly, for known and unknown alike, and never against the owner at home."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from streamsvc.rules.rate_limits import Backoff, RateLimit, source_network
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security import rate_limits
from tests.worlds.sessions_steps import Person, code_of, mailed_token, new_person


@pytest.fixture
def ann(client):
    return new_person(client)


def guess(client, email="ann@example.com", address="203.0.113.1", **more):
    body = {"email": email, "password": "a wrong guess"} | more
    return client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
def test_five_guesses_at_an_identifier_known_or_not_then_waits_that_grow(client, clock, ann, email):
    def next_five():
        return [code_of(guess(client, email, f"203.0.113.{n}"))[1] for n in range(6)]

    assert next_five() == ["invalid_credentials"] * 5 + ["too_many_attempts"]
    for minutes in (1, 2, 4, 8, 15, 15):
        refused = guess(client, email, "198.51.100.1")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(minutes * 60))
        clock.advance(minutes=minutes)
        assert guess(client, email, "198.51.100.2").status_code == 401


def test_no_number_of_guesses_shuts_the_owner_out_at_home(client, ann):
    device = ann.sign_in(device={"name": "TV", "kind": "tv"}).json["session"]["device"]["id"]
    for n in range(12):
        guess(client, address=f"203.0.113.{n}")
    assert code_of(ann.sign_in()) == (429, "too_many_attempts")
    assert ann.sign_in(device={"id": device}).status_code == 201


def test_a_reset_by_mail_opens_the_door_again(app, client, ann):
    for n in range(6):
        guess(client, address=f"203.0.113.{n}")
    client.post("/v1/password-resets", json={"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
    assert Person(client, ann.email, "another secret 8").sign_in().status_code == 201


def test_a_stolen_device_id_has_its_own_few_guesses(client, ann):
    device = {"id": ann.sign_in().json["session"]["device"]["id"]}
    codes = [guess(client, device=device).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_one_address_has_twenty_guesses_in_ten_minutes(client, clock):
    codes = []
    for n in range(25):
        codes.append(guess(client, f"user{n % 5}@example.com").status_code)
    assert codes == [401] * 20 + [429] * 5
    clock.advance(minutes=10)
    assert guess(client, "user6@example.com").status_code == 401


def test_one_address_fails_on_ten_identifiers_in_an_hour(client, clock):
    codes = [guess(client, f"user{n}@example.com").status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    clock.advance(hours=1)
    assert guess(client, "user13@example.com").status_code == 401


def test_asking_twice_is_no_way_round_the_count_of_identifiers(client):
    codes = [guess(client, f"user{n // 2}@example.com", "203.0.113.2").status_code for n in range(10)]
    codes += [guess(client, f"more{n}@example.com", "203.0.113.2").status_code for n in (1, 2, 3, 4, 5, 6, 6, 7, 7)]
    assert codes == [401] * 15 + [429] * 4


def test_what_one_limit_refuses_is_counted_by_none(client):
    codes = [guess(client, f"user{n}@example.com").status_code for n in range(25)]
    assert codes == [401] * 10 + [429] * 15
    assert [guess(client, f"user{n % 3}@example.com").status_code for n in range(10)] == [401] * 10


def test_many_who_sign_in_rightly_behind_one_address_are_not_held_up(client):
    people = [Person(client, f"user{n}@example.com") for n in range(30)]
    assert {person.sign_up().status_code for person in people} == {201}
    assert {person.sign_in().status_code for person in people} == {201}


def test_right_passwords_do_not_wash_an_address_clean(client, ann):
    codes = []
    for n in range(21):
        codes.append(guess(client, f"user{n % 8}@example.com").status_code)
        ann.client.post(
            "/v1/sessions",
            json={"email": ann.email, "password": ann.password},
            environ_base={"REMOTE_ADDR": "203.0.113.1"},
        )
    assert codes == [401] * 20 + [429]


def test_an_ipv6_customer_is_one_source():
    assert (
        source_network("2001:db8:1:2::1") == source_network("2001:db8:1:2:ffff::9") != source_network("2001:db8:1:3::1")
    )
    assert source_network("::ffff:203.0.113.9") == source_network("203.0.113.9") != source_network("203.0.113.10")
    assert source_network(None) == "unknown"


@pytest.mark.parametrize("limit", [RateLimit("test.window", 7, 60), Backoff("test.ladder", free_attempts=7)])
def test_of_sixty_four_at_once_exactly_as_many_pass_as_may(app, limit):
    def attempt(_):
        with app.app_context():
            try:
                return rate_limits.hit(limit, "somebody") <= 7
            except TooManyAttempts:
                return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 7


def test_what_is_free_does_not_mind_that_another_request_began_a_second_later(app, clock):
    with app.app_context():
        rate_limits.hit(Backoff("test.order"), "somebody")
        clock.advance(seconds=-1)
        assert rate_limits.hit(Backoff("test.order"), "somebody") == 2


def test_after_a_hundred_in_a_row_only_the_owner_opens_the_door(app, clock):
    ladder = Backoff("test.cap")
    with app.app_context():
        for _ in range(100):
            rate_limits.hit(ladder, "somebody")
            clock.advance(minutes=15)
        with pytest.raises(TooManyAttempts) as refused:
            rate_limits.hit(ladder, "somebody")
    assert int(refused.value.headers["Retry-After"]) > 29 * 86_400


def test_a_week_of_calm_forgets(app, clock):
    ladder = Backoff("test.calm")
    with app.app_context():
        for _ in range(5):
            rate_limits.hit(ladder, "somebody")
        clock.advance(days=7, minutes=1)
        assert rate_limits.hit(ladder, "somebody") == 1


def test_throttles_may_be_off_in_the_sandbox(database, new_app):
    app = new_app(database, "unthrottled", login_throttle=False)
    client = app.test_client()
    assert {guess(client).status_code for _ in range(30)} == {401}
