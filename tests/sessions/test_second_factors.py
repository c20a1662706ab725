"""Second proofs: authenticator apps, recovery codes, and a mailed code where the password is a known one."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamsvc.models import Account
from streamsvc.rules.sign_in.totp import STEP_S, find_matching_step, totp_code
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.sessions_steps import Person, code_of, everything, mails, new_person, operator

RFC_6238 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
AGAIN = "/v1/sessions/current/reauthentication"


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def secret(ann, clock):
    """Ann's authenticator, confirmed."""
    made = ann.post("/v1/account/totp").json["secret"]
    assert ann.put("/v1/account/totp", {"code": code(made, clock)}).status_code == 200
    clock.advance(seconds=STEP_S)
    return made


def code(secret, clock, steps=0):
    return totp_code(secret, int(clock.at.timestamp()) // STEP_S + steps)


@pytest.mark.parametrize("at_s, digits", [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_are_those_of_the_standard(at_s, digits):
    assert totp_code(RFC_6238, at_s // 30) == digits


def test_a_code_is_good_one_step_early_and_one_late():
    now = int(NOON.timestamp()) // STEP_S
    fitting = [steps for steps in range(-3, 4) if find_matching_step(RFC_6238, totp_code(RFC_6238, now + steps), NOON)]
    assert fitting == [-1, 0, 1]


def test_the_secret_is_sealed_and_no_recovery_code_is_kept(app, ann, clock):
    first, again = (ann.post("/v1/account/totp", headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (again.status_code, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")
    begun = first.json
    assert begun["otpauth_uri"].startswith("otpauth://totp/") and begun["secret"] in begun["otpauth_uri"]
    assert len(begun["secret"]) == 32
    codes = ann.put("/v1/account/totp", {"code": code(begun["secret"], clock)}).json["recovery_codes"]
    kept = everything(app)
    assert [text for text in (begun["secret"], *codes) if text in kept] == []


def test_an_authenticator_counts_only_once_confirmed(ann, clock):
    ann.post("/v1/account/totp")
    wrong = ann.put("/v1/account/totp", {"code": "000000"})
    assert (code_of(wrong), list(wrong.json["errors"])) == ((422, "second_factor_invalid"), ["code"])
    assert "WWW-Authenticate" not in wrong.headers
    assert ann.sign_in().status_code == 201


def test_with_an_authenticator_the_password_alone_does_not_do(ann, secret, clock):
    missing = ann.sign_in()
    assert code_of(missing) == (401, "second_factor_required")
    assert missing.json["methods"] == ["totp", "recovery_code"]
    assert code_of(ann.sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


def test_no_code_counts_twice(ann, secret, clock):
    once = code(secret, clock)
    assert [ann.sign_in(totp=once).status_code for _ in range(2)] == [201, 401]


def test_of_many_at_once_with_one_code_a_single_one_comes_in(app, ann, secret, clock):
    def sign_in(_):
        return Person(app.test_client(), ann.email).sign_in(totp=code(secret, clock)).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(sign_in, range(4))) == [201, 401, 401, 401]


def test_of_two_who_begin_at_once_with_an_authenticator_the_last_one_counts(app, ann, clock):
    def begin(_):
        return Person(app.test_client(), ann.email, token=ann.token).post("/v1/account/totp")

    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(begin, range(4)))
    assert {answer.status_code for answer in begun} == {201}
    codes = {code(answer.json["secret"], clock) for answer in begun}
    assert sorted(ann.put("/v1/account/totp", {"code": each}).status_code for each in codes) == [200, 422, 422, 422]


def test_a_secret_that_no_key_opens_any_more_proves_nothing_and_breaks_nothing(app, ann, secret, clock):
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.replace(secret_key=("another key for tests, long enough for anybody",))
    try:
        assert code_of(ann.sign_in(totp=code(secret, clock))) == (401, "second_factor_invalid")
    finally:
        app.extensions["settings"] = settings
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


def test_a_wrong_password_is_told_before_any_second_proof(ann, secret, clock):
    guess = Person(ann.client, ann.email, "wrong").sign_in(totp=code(secret, clock))
    assert code_of(guess) == (401, "invalid_credentials")


def test_a_recovery_code_opens_once_however_it_is_typed_and_is_told(app, ann, clock):
    assert ann.get("/v1/account/totp").json == {"active": False, "since": None, "recovery_codes_left": 0}
    made = ann.post("/v1/account/totp").json["secret"]
    codes = ann.put("/v1/account/totp", {"code": code(made, clock)}).json["recovery_codes"]
    assert (len(codes), len(set(codes)), {len(each.replace("-", "")) for each in codes}) == (10, 10, {24})
    typed = codes[0].replace("-", " ").upper()
    assert [ann.sign_in(recovery_code=typed).status_code for _ in range(2)] == [201, 401]
    assert ann.get("/v1/account/totp").json["recovery_codes_left"] == 9
    assert "Recovery codes left: 9." in mails(app, ann.email, "recovery_code_used")[0]["text"]
    [event, _] = operator(app).get("/v1/admin/audit?action=authn_login_success").json["items"]
    assert (event["details"]["method"], event["details"]["second"]) == ("password", "recovery_code")
    fresh = ann.put("/v1/account/totp/recovery-codes").json["recovery_codes"]
    assert ann.sign_in(recovery_code=codes[1]).status_code == 401
    assert ann.sign_in(recovery_code=fresh[0]).status_code == 201
    told = " ".join(mail["text"] for mail in mails(app, ann.email, "factor_added"))
    assert told.count("An authenticator app was added") == told.count("A new set of recovery codes was added") == 1


def test_five_wrong_codes_close_the_second_door_for_a_while(ann, secret, clock):
    assert [ann.sign_in(totp="000000").status_code for _ in range(6)] == [401] * 5 + [429]
    assert ann.sign_in(totp=code(secret, clock)).status_code == 429
    clock.advance(minutes=1)
    assert ann.sign_in(totp=code(secret, clock)).status_code == 201


def test_factors_come_and_go_only_with_a_recent_proof_and_are_told(app, ann, secret, clock):
    clock.advance(minutes=11)
    for answer in (ann.post("/v1/account/totp"), ann.delete("/v1/account/totp")):
        assert code_of(answer) == (403, "reauthentication_required")
    assert ann.post(AGAIN, {"totp": code(secret, clock)}).status_code == 204
    assert code_of(ann.post("/v1/account/totp")) == (409, "totp_active")
    assert ann.delete("/v1/account/totp").status_code == 204
    assert ann.sign_in().status_code == 201
    assert len(mails(app, ann.email, "factor_added")) == len(mails(app, ann.email, "factor_removed")) == 1


def test_a_reset_does_not_go_round_the_second_proof(app, ann, secret):
    ann.client.post("/v1/password-resets", json={"email": ann.email})
    token = re.search(r"token=([\w-]+)", mails(app, ann.email, "password_reset")[0]["text"])[1]
    ann.client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
    assert code_of(Person(ann.client, ann.email, "another secret 8").sign_in()) == (401, "second_factor_required")


@pytest.fixture
def breached(app, ann):
    """Ann, whose password came to be on the lists."""
    from streamsvc.security import password_hashing

    device = ann.get("/v1/sessions/current").json["session"]["device"]["id"]
    with app.app_context():
        db.session.query(Account).update({"password_hash": password_hashing.hash_password("password1")})
        db.session.commit()
    return Person(ann.client, ann.email, "password1"), device


def test_a_password_that_attackers_know_needs_a_mailed_code_on_a_strange_device(app, breached):
    eve, _ = breached
    refused = eve.sign_in()
    assert (code_of(refused), refused.json["methods"]) == ((401, "second_factor_required"), ["email_code"])
    assert code_of(eve.sign_in(email_code="00000000")) == (401, "second_factor_invalid")
    mailed = re.search(r"\b\d{8}\b", mails(app, eve.email, "sign_in_code")[0]["text"])[0]
    assert eve.sign_in(email_code=mailed).status_code == 201
    assert eve.sign_in(email_code=mailed).status_code == 401


def test_on_a_known_device_the_owner_is_let_in_to_change_it(breached):
    owner, device = breached
    assert owner.sign_in(device={"id": device}).status_code == 201
    change = {"current_password": owner.password, "password": "another secret 8"}
    assert owner.put("/v1/account/password", change).status_code == 204


def test_a_mailed_code_is_good_for_ten_minutes(app, breached, clock):
    eve, _ = breached
    eve.sign_in()
    mailed = re.search(r"\b\d{8}\b", mails(app, eve.email, "sign_in_code")[0]["text"])[0]
    clock.advance(minutes=10)
    assert eve.sign_in(email_code=mailed).status_code == 401
