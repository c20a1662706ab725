"""Recovery that strangers cannot silence: mailed links, reopened limits, counters that survive a new secret key."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import MailedToken, RateLimitCounter, RateLimitKey
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.sign_in.mailed_tokens import is_mail_due
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.security import rate_limits
from streamsvc.security.counter_keys import find_counter_key
from streamsvc.storage.database import db, execute_write
from tests.worlds.sessions_steps import add_app, code_of, mailed_token, mails, new_person, run_jobs, verify

NEW = "another secret 8"
WRONG = "000000"


@pytest.fixture
def ann(client):
    return new_person(client)


def ask(app, email, address, path="/v1/password-resets", **more):
    """Request a mail from a network address, and let the worker send it."""
    client = app.test_client()
    response = client.post(path, json={"email": email, **more}, environ_base={"REMOTE_ADDR": address})
    assert response.status_code == 202
    run_jobs(app)
    return response


def tokens(app, email, kind):
    """The tokens of all mails of this kind, newest first."""
    return [re.search(r"token=([\w-]+)", mail["text"])[1] for mail in mails(app, email, kind)]


def finish_reset(person, token, password=NEW):
    return person.client.put("/v1/password-resets", json={"token": token, "password": password})


def reset(app, person):
    """Finish a reset of the person's password."""
    ask(app, person.email, "192.0.2.9")
    assert finish_reset(person, mailed_token(app, person.email, "password_reset")).status_code == 204
    person.password = NEW


def test_a_stranger_cannot_use_up_the_owners_resets(app, ann, clock):
    for _ in range(10):
        ask(app, ann.email, "203.0.113.1")
    assert len(mails(app, ann.email, "password_reset")) == 5
    clock.advance(minutes=35)
    ask(app, ann.email, "198.51.100.7")
    assert len(mails(app, ann.email, "password_reset")) == 6
    assert finish_reset(ann, mailed_token(app, ann.email, "password_reset")).status_code == 204


def test_many_strangers_leave_a_link_in_the_mailbox_that_is_good_for_a_while(app, ann, clock):
    """Above the limit of the mailbox, a link stays open, and another is sent before it expires."""
    for n in range(10):
        ask(app, ann.email, f"203.0.113.{n}")
    for minute in range(0, 60, 5):
        assert ask(app, ann.email, f"198.51.100.{minute}").json == {"status": "accepted"}
        clock.advance(minutes=14)
        [newest, *_] = tokens(app, ann.email, "password_reset")
        clock.advance(minutes=-9)
    assert len(mails(app, ann.email, "password_reset")) == 13
    clock.advance(minutes=9)
    assert finish_reset(ann, newest).status_code == 204


def test_a_new_request_leaves_earlier_links_open_and_using_one_closes_the_others(app, ann, clock):
    for _ in range(3):
        ask(app, ann.email, "192.0.2.1")
        clock.advance(minutes=1)
    newest, middle, oldest = tokens(app, ann.email, "password_reset")
    assert finish_reset(ann, middle).status_code == 204
    assert {code_of(finish_reset(ann, token)) for token in (newest, middle, oldest)} == {(422, "token_invalid")}


def test_resets_from_a_network_beyond_its_own_limit_reach_those_who_use_it(app, client, ann):
    """127.0.0.1 is where Ann signed in; Bob never used 203.0.113.1, so nobody there has mails sent to him."""
    bob = new_person(client, "bob")
    body = {"email": ann.email, "password": ann.password}
    assert client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": "203.0.113.1"}).status_code == 201
    for address in ("127.0.0.1", "203.0.113.1"):
        fill(app, limits.MAIL_FROM_ADDRESS, address, 100, minutes=50)
    ask(app, ann.email, "127.0.0.1")
    ask(app, ann.email, "127.0.0.1")
    ask(app, bob.email, "203.0.113.1")
    assert [len(mails(app, person.email, "password_reset")) for person in (ann, bob)] == [1, 0]


def test_a_mail_is_due_unless_a_limit_is_exhausted_that_another_link_makes_up_for():
    def due(exhausted, known, fresh):
        return is_mail_due(exhausted, is_known_network=known, has_fresh_link=fresh)

    source, by_source, mailbox = "mail.from", "mail.to_by_source", "mail.to"
    for known in (False, True):
        assert due(None, known, True) and due(None, known, False)
        assert due(mailbox, known, False) and due(by_source, known, False)
        assert not due(by_source, known, True) and not due(source, known, True)
    assert due(mailbox, True, True) and not due(mailbox, False, True)
    assert due(source, True, False) and not due(source, False, False)


def test_a_stranger_cannot_use_up_the_owners_magic_links(app, client, ann):
    for _ in range(8):
        ask(app, ann.email, "203.0.113.1", "/v1/magic-links")
    binding = ask(app, ann.email, "198.51.100.7", "/v1/magic-links").json["binding"]
    mailed = tokens(app, ann.email, "magic_link")
    assert len(mailed) == 6
    assert client.post("/v1/sessions/magic-link", json={"token": mailed[0], "binding": binding}).status_code == 201
    with app.app_context():
        assert db.session.query(MailedToken).filter_by(kind="magic_link", used_at=None).count() == 0


def test_every_confirmation_of_an_address_stays_good_until_one_is_used(app, client, ann):
    for _ in range(7):
        assert ann.post("/v1/email-verifications").status_code == 202
    first, *_, last = mailed = tokens(app, ann.email, "email_verification")
    assert len(mailed) == 6  # one at sign-up, five on request
    assert client.put("/v1/email-verifications", json={"token": last}).status_code == 204
    assert code_of(client.put("/v1/email-verifications", json={"token": first})) == (422, "token_invalid")


def test_a_repeated_change_of_address_leaves_the_link_open_and_another_address_closes_it(app, client, ann):
    for email in ("new@example.com", "new@example.com", "typo@example.com", "new@example.com"):
        assert ann.put("/v1/account/email", {"email": email}).status_code == 202
        run_jobs(app)
    third, second, first = tokens(app, "new@example.com", "email_change")
    [typo] = tokens(app, "typo@example.com", "email_change")
    for closed in (first, second, typo):
        assert code_of(client.put("/v1/email-verifications", json={"token": closed})) == (422, "token_invalid")
    assert client.put("/v1/email-verifications", json={"token": third}).status_code == 204


def test_a_stranger_cannot_use_up_the_sign_ups_of_an_address(app, new_app, database, clock):
    other = new_app(database, "confirming", clock=clock, signup="confirm")
    body = {"email": "eve@example.com", "password": NEW, "country": "DE"}
    for address in ["203.0.113.1"] * 8 + ["198.51.100.7"]:
        sent = other.test_client().post("/v1/accounts", json=body, environ_base={"REMOTE_ADDR": address})
        assert sent.status_code == 202
    assert len(mails(other, "eve@example.com", "sign_up")) == 6


@pytest.fixture
def guarded(app, ann, clock):
    """Ann with an authenticator app, whose secret is `secret`."""
    verify(app, ann)
    ann.secret, ann.device = add_app(ann, clock), ann.get("/v1/sessions/current").json["session"]["device"]["id"]
    clock.advance(minutes=1)
    return ann


def code(person, clock):
    return totp_code(person.secret, int(clock().timestamp()) // STEP_S)


def fill(app, rule, subject, count, **wait):
    """Count attempts as if they had been made, of which the last one starts the wait that follows."""
    with app.app_context():
        with rate_limits.counter_transaction() as counters:
            counters.clear(rule, subject)
            counters.hit(rule, subject)
        until_s = int((clock_of(app)() + timedelta(**wait)).timestamp())
        is_counter = RateLimitCounter.key == rate_limits.counter_name(find_counter_key(), rule, subject)
        execute_write(sa.update(RateLimitCounter).where(is_counter).values(count=count, until_s=until_s))


def clock_of(app):
    return app.extensions["clock"]


def test_a_finished_reset_reopens_every_back_off_of_its_account_alone(app, client, guarded, clock):
    bob, account_id = new_person(client, "bob"), guarded.get("/v1/account").json["id"]
    [profile] = guarded.get("/v1/profiles").json["items"]
    bobs, bobs_profile = bob.get("/v1/account").json["id"], bob.get("/v1/profiles").json["items"][0]["id"]
    for rule, subject in (
        (limits.SIGN_IN_ACCOUNT, guarded.email),
        (limits.SIGN_IN_DEVICE, guarded.device),
        (limits.SECOND_FACTOR, account_id),
        (limits.SECOND_FACTOR, guarded.device),
        (limits.REAUTHENTICATION, account_id),
        (limits.PIN, f"{profile['id']} {guarded.device}"),
        (limits.PIN_TOTAL, profile["id"]),
        *(others := [(limits.SECOND_FACTOR, bobs), (limits.PIN_TOTAL, bobs_profile)]),
    ):
        fill(app, rule, subject, 100, days=30)
    fill(app, limits.SIGN_IN_ACCOUNT, guarded.email, 0)
    assert code_of(guarded.sign_in(totp=WRONG)) == (429, "too_many_attempts")
    reset(app, guarded)
    assert guarded.sign_in(totp=code(guarded, clock)).status_code == 201
    with app.app_context():
        rows = db.session.query(RateLimitCounter).filter(RateLimitCounter.count == 100).all()
        assert {row.key for row in rows} == {rate_limits.counter_name(find_counter_key(), *other) for other in others}


def test_resets_cannot_be_repeated_to_guess_the_second_factor(app, guarded, clock):
    """Whoever reads the mailbox can reset the password as often as they like, and guesses no more for it."""
    account_id = guarded.get("/v1/account").json["id"]
    fill(app, limits.SECOND_FACTOR_TOTAL, account_id, 295, days=29)
    codes = []
    for _ in range(4):
        reset(app, guarded)
        codes += [code_of(guarded.sign_in(totp=WRONG))[0] for _ in range(2)]
        clock.advance(minutes=5)
    assert codes == [401] * 5 + [429] * 3
    device = {"id": guarded.device}
    assert guarded.sign_in(device=device, totp=code(guarded, clock)).status_code == 201
    clock.advance(days=30)
    assert guarded.sign_in(totp=code(guarded, clock)).status_code == 201


def test_a_correct_second_factor_does_not_count_toward_the_limit_of_wrong_ones(app, guarded, clock):
    fill(app, limits.SECOND_FACTOR_TOTAL, guarded.get("/v1/account").json["id"], 299, days=29)
    for _ in range(3):
        assert guarded.sign_in(totp=code(guarded, clock)).status_code == 201
        clock.advance(minutes=1)


def test_counters_survive_the_rotation_of_the_secret_key(app, client, monkeypatch):
    old = app.extensions["settings"]
    former, second, third = old.secret_key, "n" * 40, "m" * 40
    app.extensions.pop("counter_key", None)

    def fail():
        body = {"email": "eve@example.com", "password": "a wrong password"}
        return client.post("/v1/sessions", json=body).status_code

    def restart_with(*keys):
        """Other processes than before, which remember nothing."""
        monkeypatch.setitem(app.extensions, "settings", old.replace(secret_key=keys))
        app.extensions.pop("counter_key", None)

    assert [fail() for _ in range(3)] == [401] * 3
    restart_with(second, *former)
    assert [fail() for _ in range(3)] == [401, 401, 429]
    restart_with(*former)  # a process that has not been restarted with the new settings yet
    assert fail() == 429
    for keys in ((second,), (third, second), (third,)):
        restart_with(*keys)
        assert fail() == 429
    with app.app_context():
        assert find_counter_key() is not None
        assert db.session.query(RateLimitKey).count() == 3
    restart_with("x" * 40)  # no longer decryptable: the service goes on, and counts from zero
    assert fail() == 401
    app.extensions.pop("counter_key", None)
