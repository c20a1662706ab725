"""Changing, losing and resetting a password; hashing them one at a time."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread

import pytest

from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.security import password_hashing
from tests.worlds.sessions_steps import Person, code_of, mailed_token, mails, new_person, run_jobs

NEW = "another secret 8"


@pytest.fixture
def ann(client):
    return new_person(client)


def test_a_changed_password_ends_every_other_session_and_is_told(app, ann):
    other = ann.again()
    other.sign_in()
    change = {"current_password": ann.password, "password": NEW}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert (ann.get("/v1/account").status_code, other.get("/v1/account").status_code) == (200, 401)
    assert code_of(ann.again().sign_in()) == (401, "invalid_credentials")
    assert Person(ann.client, ann.email, NEW).sign_in().status_code == 201
    assert len(mails(app, ann.email, "password_changed")) == 1


def test_a_password_is_not_changed_without_the_one_before(ann):
    refused = ann.put("/v1/account/password", {"current_password": "wrong", "password": NEW})
    assert (code_of(refused), list(refused.json["errors"])) == ((422, "invalid_credentials"), ["current_password"])
    assert ann.again().sign_in().status_code == 201


def test_a_reset_signs_everybody_out_and_nobody_in(app, ann):
    ann.post("/v1/password-resets", {"email": ann.email.upper()})
    token = mailed_token(app, ann.email, "password_reset")
    weak = ann.client.put("/v1/password-resets", json={"token": token, "password": "password1"})
    assert weak.status_code == 422 and "password" in weak.json["errors"]
    done = ann.client.put("/v1/password-resets", json={"token": token, "password": NEW})
    assert (done.status_code, done.get_data(), "Set-Cookie" in done.headers) == (204, b"", False)
    assert ann.get("/v1/account").status_code == 401
    assert Person(ann.client, ann.email, NEW).sign_in().json["account"]["email_verified"]
    again = ann.client.put("/v1/password-resets", json={"token": token, "password": NEW})
    assert code_of(again) == (422, "token_invalid")


def test_only_the_newest_reset_counts_and_not_for_long(app, ann, clock):
    tokens = []
    for _ in range(2):
        ann.post("/v1/password-resets", {"email": ann.email})
        tokens.append(mailed_token(app, ann.email, "password_reset"))
        clock.advance(seconds=1)

    def use(token):
        return code_of(ann.client.put("/v1/password-resets", json={"token": token, "password": NEW}))

    assert use(tokens[0]) == (422, "token_invalid")
    clock.advance(minutes=30)
    assert use(tokens[1]) == (422, "token_invalid")


def test_a_changed_password_withdraws_an_open_reset(app, ann):
    ann.post("/v1/password-resets", {"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    ann.put("/v1/account/password", {"current_password": ann.password, "password": NEW})
    answer = ann.client.put("/v1/password-resets", json={"token": token, "password": "a third secret"})
    assert code_of(answer) == (422, "token_invalid")


def test_asking_for_a_reset_tells_nobody_who_has_an_account(app, client, ann):
    run_jobs(app)
    known = client.post("/v1/password-resets", json={"email": ann.email})
    unknown = client.post("/v1/password-resets", json={"email": "nobody@example.com"})
    assert (known.status_code, known.get_data()) == (unknown.status_code, unknown.get_data()) == (202, known.get_data())
    assert mails(app, "nobody@example.com") == []


def test_one_mailbox_is_not_flooded(app, ann):
    for _ in range(10):
        assert ann.client.post("/v1/password-resets", json={"email": ann.email}).status_code == 202
        run_jobs(app)
    assert len(mails(app, ann.email, "password_reset")) == 5


def compute(hashing, work, **who):
    with hashing.permit(**who) as place:
        return place.run(work)


@pytest.fixture
def hashing(app):
    """One slot, a queue of one for strangers and one for people at home, and the slot is held."""
    hashing, leave, inside = (
        password_hashing.HashingPool(app.extensions["settings"].replace(workers=64, threads=4)),
        Event(),
        Event(),
    )
    assert hashing.slots == 1
    with ThreadPoolExecutor(5) as others:
        held = others.submit(compute, hashing, lambda: inside.set() or leave.wait(5))
        inside.wait(5)
        hashing.leave, hashing.others, hashing.held = leave, others, held
        yield hashing
        leave.set()


def full_of_strangers(hashing):
    queued = hashing.others.submit(compute, hashing, lambda: "a stranger's")
    while hashing.unknown_device_permits._value:
        pass
    return queued


def test_hashes_wait_their_turn_in_a_short_queue_and_then_are_refused(hashing):
    queued = full_of_strangers(hashing)
    with pytest.raises(Unavailable) as refused:
        compute(hashing, lambda: "one too many")
    assert refused.value.headers["Retry-After"] == "1"
    hashing.leave.set()
    assert (hashing.held.result(5), queued.result(5), compute(hashing, lambda: "later")) == (
        True,
        "a stranger's",
        "later",
    )


def test_people_at_home_find_a_place_however_many_strangers_queue_and_come_first(hashing):
    done = []
    stranger = hashing.others.submit(compute, hashing, lambda: done.append("a stranger's"))
    while hashing.queue.empty():
        pass
    at_home = hashing.others.submit(compute, hashing, lambda: done.append("mine"), known_device=True)
    while hashing.queue.qsize() < 2:
        pass
    hashing.leave.set()
    at_home.result(5), stranger.result(5)
    assert done == ["mine", "a stranger's"]


def test_suspects_leave_strangers_a_place_and_come_after_them(hashing):
    done = []
    with ThreadPoolExecutor(2) as others, hashing.failing_address_permits:
        with pytest.raises(Unavailable):
            compute(hashing, lambda: "one too many", address_has_failures=True)
        later = others.submit(hashing.run, lambda: done.append("a suspect's"), 2)
        while hashing.queue.empty():
            pass
        stranger = others.submit(compute, hashing, lambda: done.append("a stranger's"))
        while hashing.queue.qsize() < 2:
            pass
        hashing.leave.set()
        stranger.result(5), later.result(5)
    assert done == ["a stranger's", "a suspect's"]


def test_who_waits_too_long_for_a_slot_is_told_so(hashing, monkeypatch):
    monkeypatch.setattr(password_hashing, "QUEUE_TIMEOUT_S", 0.01)
    done = []
    with pytest.raises(Unavailable):
        compute(hashing, lambda: done.append("a hash that nobody waits for"))
    hashing.leave.set()
    hashing.held.result(5)
    assert (compute(hashing, lambda: "next"), done) == ("next", [])


def test_what_a_full_house_refuses_does_not_count_as_an_attempt(ann, monkeypatch):
    def full(*details, **more):
        raise Unavailable(retry_after_s=1)

    with monkeypatch.context() as house:
        house.setattr(password_hashing, "hashing_permit", full)
        assert {ann.again().sign_in().status_code for _ in range(30)} == {503}
    with monkeypatch.context() as house:
        house.setattr(password_hashing.HashingPool, "run", full)
        assert {ann.again().sign_in().status_code for _ in range(30)} == {503}
    assert ann.again().sign_in().status_code == 201


def test_hashes_are_computed_by_so_few_threads_that_memory_stays_small(app):
    with app.app_context():
        hashing = password_hashing.HashingPool(app.extensions["settings"].replace(threads=16))
    with ThreadPoolExecutor(2 * hashing.slots) as asking:
        names = {
            task.result() for task in [asking.submit(compute, hashing, lambda: current_thread().name) for _ in range(4)]
        }
    assert len(names) <= hashing.slots and all(name.startswith("hash") for name in names)


def test_the_cost_of_a_hash_is_what_the_settings_say(database, new_app):
    app = new_app(database, "costly", argon2_memory_kib=19_456, argon2_time_cost=2)
    with app.app_context():
        assert password_hashing.hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_refused_password_is_told_how_strong_it_is_and_what_would_help(client):
    told = Person(client, "ann@example.com", "password1").sign_up()
    assert code_of(told) == (422, "invalid")
    assert told.json["strength"]["score"] == 0 and "common" in told.json["strength"]["hint"]


def test_without_the_library_it_is_refused_all_the_same(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "zxcvbn", None)
    told = Person(client, "ann@example.com", "password1").sign_up()
    assert code_of(told) == (422, "invalid") and "strength" not in told.json
