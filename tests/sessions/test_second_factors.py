"""Second factors: authenticator apps, recovery codes, and mailed codes for breached passwords."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from streamsvc.models import Account, TotpFactor
from streamsvc.operations.credentials import second_factor
from streamsvc.rules.sign_in.totp import STEP_S, find_matching_step, totp_code
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.sessions_steps import Person, code_of, everything, mails, new_person, operator, verify

RFC_6238 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
AGAIN = "/v1/sessions/current/reauthentication"


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def secret(ann, clock):
    """The secret of Ann's confirmed authenticator."""
    secret = ann.post("/v1/account/totp").json["secret"]
    assert ann.put("/v1/account/totp", {"code": code(secret, clock)}).status_code == 200
    clock.advance(seconds=STEP_S)
    return secret


def code(secret, clock, steps=0):
    return totp_code(secret, int(clock.at.timestamp()) // STEP_S + steps)


@pytest.mark.parametrize("at_s, digits", [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_match_the_vectors_of_rfc_6238(at_s, digits):
    assert totp_code(RFC_6238, at_s // 30) == digits


def test_a_code_is_accepted_one_step_early_and_one_step_late():
    now = int(NOON.timestamp()) // STEP_S
    accepted = [steps for steps in range(-3, 4) if find_matching_step(RFC_6238, totp_code(RFC_6238, now + steps), NOON)]
    assert accepted == [-1, 0, 1]


def test_the_secret_is_encrypted_and_no_recovery_code_is_stored(app, ann, clock):
    first, again = (ann.post("/v1/account/totp", headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (again.status_code, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")
    enrollment = first.json
    assert enrollment["otpauth_uri"].startswith("otpauth://totp/") and enrollment["secret"] in enrollment["otpauth_uri"]
    assert len(enrollment["secret"]) == 32
    codes = ann.put("/v1/account/totp", {"code": code(enrollment["secret"], clock)}).json["recovery_codes"]
    stored = everything(app)
    assert [text for text in (enrollment["secret"], *codes) if text in stored] == []


def test_an_authenticator_takes_effect_once_confirmed(ann, clock):
    ann.post("/v1/account/totp")
    wrong = ann.put("/v1/account/totp", {"code": "000000"})
    assert (code_of(wrong), list(wrong.json["errors"])) == ((422, "second_factor_invalid"), ["code"])
    assert "WWW-Authenticate" not in wrong.headers
    assert ann.sign_in().status_code == 201


@pytest.mark.every_database
@pytest.mark.parametrize(
    "change",
    [
        sa.update(TotpFactor).values(confirmed_at=NOON),
        sa.update(TotpFactor).values(secret_encrypted="another"),
        sa.delete(TotpFactor),
    ],
    ids=["confirmed", "restarted", "removed"],
)
def test_an_enrollment_that_changed_while_its_code_was_checked_is_not_completed(ann, clock, monkeypatch, change):
    secret, consume_totp = ann.post("/v1/account/totp").json["secret"], second_factor.consume_totp

    def consume_then_change(*arguments, **more):
        consumed = consume_totp(*arguments, **more)
        with db.engine.begin() as connection:
            connection.execute(change)
        return consumed

    monkeypatch.setattr(second_factor, "consume_totp", consume_then_change)
    late = ann.put("/v1/account/totp", {"code": code(secret, clock)})
    assert code_of(late) == (422, "second_factor_invalid")
    assert "recovery_codes" not in late.json


def test_with_an_authenticator_a_password_alone_does_not_sign_in(ann, secret, clock):
    missing = ann.sign_in()
    assert code_of(missing) == (401, "second_factor_required")
    assert missing.json["methods"] == ["totp", "recovery_code"]
    assert code_of(ann.sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


@pytest.mark.every_database
def test_no_code_is_accepted_twice(ann, secret, clock):
    once = code(secret, clock)
    assert [ann.sign_in(totp=once).status_code for _ in range(2)] == [201, 401]


@pytest.mark.every_database
def test_of_concurrent_sign_ins_with_one_code_one_succeeds(app, ann, secret, clock):
    def sign_in(_):
        return Person(app.test_client(), ann.email).sign_in(totp=code(secret, clock)).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(sign_in, range(4))) == [201, 401, 401, 401]


@pytest.mark.every_database
def test_of_two_concurrent_enrollments_the_last_one_counts(app, ann, clock):
    def enroll(_):
        return Person(app.test_client(), ann.email, token=ann.token).post("/v1/account/totp")

    with ThreadPoolExecutor(4) as pool:
        enrollments = list(pool.map(enroll, range(4)))
    assert {response.status_code for response in enrollments} == {201}
    codes = {code(response.json["secret"], clock) for response in enrollments}
    assert sorted(ann.put("/v1/account/totp", {"code": text}).status_code for text in codes) == [200, 422, 422, 422]


def test_an_undecryptable_secret_rejects_all_codes_without_an_internal_error(app, ann, secret, clock):
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.replace(secret_key=("another key for tests, long enough to be valid",))
    try:
        assert code_of(ann.sign_in(totp=code(secret, clock))) == (401, "second_factor_invalid")
    finally:
        app.extensions["settings"] = settings
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


def test_a_wrong_password_is_reported_before_the_second_factor(ann, secret, clock):
    rejected = Person(ann.client, ann.email, "wrong").sign_in(totp=code(secret, clock))
    assert code_of(rejected) == (401, "invalid_credentials")


@pytest.mark.every_database
def test_a_recovery_code_is_accepted_once_in_any_notation_and_the_owner_is_notified(app, ann, clock):
    assert ann.get("/v1/account/totp").json == {"active": False, "since": None, "recovery_codes_left": 0}
    secret = ann.post("/v1/account/totp").json["secret"]
    codes = ann.put("/v1/account/totp", {"code": code(secret, clock)}).json["recovery_codes"]
    assert (len(codes), len(set(codes)), {len(text.replace("-", "")) for text in codes}) == (10, 10, {24})
    typed = codes[0].replace("-", " ").upper()
    assert [ann.sign_in(recovery_code=typed).status_code for _ in range(2)] == [201, 401]
    assert ann.get("/v1/account/totp").json["recovery_codes_left"] == 9
    assert "Recovery codes left: 9." in mails(app, ann.email, "recovery_code_used")[0]["text"]
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert (event["details"]["method"], event["details"]["second"]) == ("password", "recovery_code")
    replaced = ann.put("/v1/account/totp/recovery-codes").json["recovery_codes"]
    assert ann.sign_in(recovery_code=codes[1]).status_code == 401
    assert ann.sign_in(recovery_code=replaced[0]).status_code == 201
    texts = " ".join(mail["text"] for mail in mails(app, ann.email, "factor_added"))
    assert texts.count("An authenticator app was added") == texts.count("A new set of recovery codes was added") == 1


def test_five_wrong_codes_start_a_wait(ann, secret, clock):
    assert [ann.sign_in(totp="000000").status_code for _ in range(6)] == [401] * 5 + [429]
    assert ann.sign_in(totp=code(secret, clock)).status_code == 429
    clock.advance(minutes=1)
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


def test_changing_factors_requires_recent_authentication_and_notifies_the_owner(app, ann, secret, clock):
    clock.advance(minutes=11)
    for response in (ann.post("/v1/account/totp"), ann.delete("/v1/account/totp")):
        assert code_of(response) == (403, "reauthentication_required")
    assert ann.post(AGAIN, {"totp": code(secret, clock)}).status_code == 204
    assert code_of(ann.post("/v1/account/totp")) == (409, "totp_active")
    assert ann.delete("/v1/account/totp").status_code == 204
    assert ann.sign_in().status_code == 201
    assert len(mails(app, ann.email, "factor_added")) == len(mails(app, ann.email, "factor_removed")) == 1


def test_a_reset_does_not_bypass_the_second_factor(app, ann, secret):
    verify(app, ann)
    ann.client.post("/v1/password-resets", json={"email": ann.email})
    token = re.search(r"token=([\w-]+)", mails(app, ann.email, "password_reset")[0]["text"])[1]
    ann.client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
    assert code_of(Person(ann.client, ann.email, "another secret 8").sign_in()) == (401, "second_factor_required")


@pytest.fixture
def breached(app, ann):
    """Ann's account with a breached password, and the id of her known device."""
    from streamsvc.security import password_hashing

    device = ann.get("/v1/sessions/current").json["session"]["device"]["id"]
    with app.app_context():
        db.session.query(Account).update({"password_hash": password_hashing.hash_password("password1")})
        db.session.commit()
    return Person(ann.client, ann.email, "password1"), device


def test_a_breached_password_needs_a_mailed_code_on_an_unknown_device(app, breached):
    eve, _ = breached
    rejected = eve.sign_in()
    assert (code_of(rejected), rejected.json["methods"]) == ((401, "second_factor_required"), ["email_code"])
    assert code_of(eve.sign_in(email_code="00000000")) == (401, "second_factor_invalid")
    mailed = re.search(r"\b\d{8}\b", mails(app, eve.email, "sign_in_code")[0]["text"])[0]
    assert eve.sign_in(email_code=mailed).status_code == 201
    assert eve.sign_in(email_code=mailed).status_code == 401


def test_on_a_known_device_a_breached_password_signs_in(breached):
    owner, device = breached
    assert owner.sign_in(device={"id": device}).status_code == 201
    change = {"current_password": owner.password, "password": "another secret 8"}
    assert owner.put("/v1/account/password", change).status_code == 204


def test_a_mailed_code_is_valid_for_ten_minutes(app, breached, clock):
    eve, _ = breached
    eve.sign_in()
    mailed = re.search(r"\b\d{8}\b", mails(app, eve.email, "sign_in_code")[0]["text"])[0]
    clock.advance(minutes=10)
    assert eve.sign_in(email_code=mailed).status_code == 401
