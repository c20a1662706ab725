"""Changes and resets of passwords, and the bounded queue for hashing."""

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


def test_changing_the_password_ends_other_sessions_and_notifies_the_owner(app, ann):
    other = ann.again()
    other.sign_in()
    change = {"current_password": ann.password, "password": NEW}
    assert ann.put("/v1/account/password", change).status_code == 204
    assert (ann.get("/v1/account").status_code, other.get("/v1/account").status_code) == (200, 401)
    assert code_of(ann.again().sign_in()) == (401, "invalid_credentials")
    assert Person(ann.client, ann.email, NEW).sign_in().status_code == 201
    assert len(mails(app, ann.email, "password_changed")) == 1


def test_changing_the_password_requires_the_current_one(ann):
    rejected = ann.put("/v1/account/password", {"current_password": "wrong", "password": NEW})
    assert (code_of(rejected), list(rejected.json["errors"])) == ((422, "invalid_credentials"), ["current_password"])
    assert ann.again().sign_in().status_code == 201


def test_a_reset_ends_all_sessions_and_creates_none(app, ann):
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


def test_each_reset_is_valid_until_it_expires(app, ann, clock):
    tokens = []
    for _ in range(2):
        ann.post("/v1/password-resets", {"email": ann.email})
        tokens.append(mailed_token(app, ann.email, "password_reset"))
        clock.advance(minutes=1)

    def use(token):
        return ann.client.put("/v1/password-resets", json={"token": token, "password": NEW}).status_code

    clock.advance(minutes=28)
    assert [use(token) for token in tokens] == [422, 204]


def test_changing_the_password_revokes_an_open_reset(app, ann):
    ann.post("/v1/password-resets", {"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    ann.put("/v1/account/password", {"current_password": ann.password, "password": NEW})
    response = ann.client.put("/v1/password-resets", json={"token": token, "password": "a third secret"})
    assert code_of(response) == (422, "token_invalid")


def test_requesting_a_reset_does_not_reveal_whether_an_account_exists(app, client, ann):
    run_jobs(app)
    existing = client.post("/v1/password-resets", json={"email": ann.email})
    unknown = client.post("/v1/password-resets", json={"email": "nobody@example.com"})
    assert existing.status_code == unknown.status_code == 202
    assert existing.get_data() == unknown.get_data()
    assert mails(app, "nobody@example.com") == []


def test_an_unknown_token_resets_nobodys_password(app, client, ann):
    client.post("/v1/password-resets", json={"email": ann.email})
    mailed_token(app, ann.email, "password_reset")
    response = client.put("/v1/password-resets", json={"token": "x" * 43, "password": "another secret 8"})
    assert code_of(response) == (422, "token_invalid")
    assert ann.again().sign_in().status_code == 201


def test_reset_mails_to_one_mailbox_are_rate_limited(app, ann):
    for _ in range(10):
        assert ann.client.post("/v1/password-resets", json={"email": ann.email}).status_code == 202
        run_jobs(app)
    assert len(mails(app, ann.email, "password_reset")) == 5


def compute(hashing, work, **client):
    with hashing.permit(**client) as permit:
        return permit.run(work)


@pytest.fixture
def hashing(app):
    """A pool with one slot, which is taken, and one waiting place each for unknown and for known devices."""
    hashing, release, taken = (
        password_hashing.HashingPool(app.extensions["settings"].replace(workers=64, threads=4)),
        Event(),
        Event(),
    )
    assert hashing.slots == 1
    with ThreadPoolExecutor(5) as others:
        running = others.submit(compute, hashing, lambda: taken.set() or release.wait(5))
        taken.wait(5)
        hashing.release, hashing.others, hashing.list_active = release, others, running
        yield hashing
        release.set()


def queue_unknown_device(hashing):
    queued = hashing.others.submit(compute, hashing, lambda: "unknown device")
    while hashing.unknown_device_permits._value:
        pass
    return queued


@pytest.mark.parametrize(("threads", "known", "unknown", "failing"), [(1, 1, 1, 1), (4, 2, 2, 1), (16, 5, 7, 6)])
def test_the_queue_is_as_long_as_the_threads_allow(app, threads, known, unknown, failing):
    hashing = password_hashing.HashingPool(app.extensions["settings"].replace(workers=64, threads=threads))
    permits = (hashing.known_device_permits, hashing.unknown_device_permits, hashing.failing_address_permits)
    assert [permit._value for permit in permits] == [known, unknown, failing]


def test_hashes_wait_in_a_short_queue_and_are_then_rejected(hashing):
    queued = queue_unknown_device(hashing)
    with pytest.raises(Unavailable) as rejected:
        compute(hashing, lambda: "one too many")
    assert rejected.value.headers["Retry-After"] == "1"
    hashing.release.set()
    assert (hashing.list_active.result(5), queued.result(5), compute(hashing, lambda: "later")) == (
        True,
        "unknown device",
        "later",
    )


def test_known_devices_get_a_permit_and_run_first_however_many_unknown_devices_wait(hashing):
    done = []
    unknown = hashing.others.submit(compute, hashing, lambda: done.append("unknown device"))
    while hashing.queue.empty():
        pass
    known = hashing.others.submit(compute, hashing, lambda: done.append("known device"), known_device=True)
    while hashing.queue.qsize() < 2:
        pass
    hashing.release.set()
    known.result(5), unknown.result(5)
    assert done == ["known device", "unknown device"]


def test_failing_addresses_leave_a_permit_to_others_and_run_after_them(hashing):
    done = []
    with ThreadPoolExecutor(2) as others, hashing.failing_address_permits:
        with pytest.raises(Unavailable):
            compute(hashing, lambda: "one too many", address_has_failures=True)
        failing = others.submit(hashing.run, lambda: done.append("failing address"), 2)
        while hashing.queue.empty():
            pass
        unknown = others.submit(compute, hashing, lambda: done.append("unknown device"))
        while hashing.queue.qsize() < 2:
            pass
        hashing.release.set()
        unknown.result(5), failing.result(5)
    assert done == ["unknown device", "failing address"]


def test_waiting_too_long_for_a_slot_fails(hashing, monkeypatch):
    monkeypatch.setattr(password_hashing, "QUEUE_TIMEOUT_S", 0.01)
    done = []
    with pytest.raises(Unavailable):
        compute(hashing, lambda: done.append("abandoned"))
    hashing.release.set()
    hashing.list_active.result(5)
    assert (compute(hashing, lambda: "next"), done) == ("next", [])


def test_a_request_rejected_by_a_full_queue_is_not_counted(ann, monkeypatch):
    def full_queue(*args, **kwargs):
        raise Unavailable(retry_after_s=1)

    with monkeypatch.context() as patch:
        patch.setattr(password_hashing, "hashing_permit", full_queue)
        assert {ann.again().sign_in().status_code for _ in range(30)} == {503}
    with monkeypatch.context() as patch:
        patch.setattr(password_hashing.HashingPool, "run", full_queue)
        assert {ann.again().sign_in().status_code for _ in range(30)} == {503}
    assert ann.again().sign_in().status_code == 201


def test_few_threads_compute_hashes_so_that_memory_stays_small(app):
    with app.app_context():
        hashing = password_hashing.HashingPool(app.extensions["settings"].replace(threads=16))
    with ThreadPoolExecutor(2 * hashing.slots) as pool:
        names = {
            task.result() for task in [pool.submit(compute, hashing, lambda: current_thread().name) for _ in range(4)]
        }
    assert len(names) <= hashing.slots and all(name.startswith("hash") for name in names)


def test_the_settings_define_the_cost_of_a_hash(database, new_app):
    app = new_app(database, "costly", argon2_memory_kib=19_456, argon2_time_cost=2)
    with app.app_context():
        assert password_hashing.hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_rejected_password_gets_its_strength_and_a_hint(client):
    rejected = Person(client, "ann@example.com", "password1").sign_up()
    assert code_of(rejected) == (422, "invalid")
    assert rejected.json["strength"]["score"] == 0 and "common" in rejected.json["strength"]["hint"]


def test_without_the_library_the_password_is_rejected_all_the_same(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "zxcvbn", None)
    rejected = Person(client, "ann@example.com", "password1").sign_up()
    assert code_of(rejected) == (422, "invalid") and "strength" not in rejected.json
