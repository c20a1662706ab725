"""Single-use secrets under concurrency: each is accepted once, and no request deadlocks."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from tests.worlds.sessions_steps import Person, mailed_token, new_person

NEW = "ann@elsewhere.example"
CHANGE = "/v1/account/password"


@pytest.fixture
def ann(client):
    return new_person(client)


def send_concurrently(app, *sends):
    """The statuses of concurrent requests, each with a client of its own."""
    with ThreadPoolExecutor(len(sends)) as pool:
        return sorted(pool.map(lambda send: send(app.test_client()).status_code, sends))


def reset(app, ann):
    ann.post("/v1/password-resets", {"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    return lambda client: client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})


def email_change(app, ann):
    ann.put("/v1/account/email", {"email": NEW})
    token = mailed_token(app, NEW, "email_change")
    return lambda client: client.put("/v1/email-verifications", json={"token": token})


def undo(app, ann):
    ann.put("/v1/account/email", {"email": NEW})
    token = mailed_token(app, ann.email, "email_undo")
    return lambda client: client.put("/v1/email-verifications", json={"token": token})


def verification(app, ann):
    token = mailed_token(app, ann.email, "email_verification")
    return lambda client: client.put("/v1/email-verifications", json={"token": token})


def restoration(app, ann):
    assert ann.delete("/v1/account").status_code == 204
    token = mailed_token(app, ann.email, "account_restoration")
    return lambda client: client.put("/v1/account-restorations", json={"token": token})


def disowned_device(app, ann):
    ann.again().sign_in(device={"name": "Laptop", "kind": "web"})
    token = mailed_token(app, ann.email, "new_device")
    return lambda client: client.put("/v1/devices/disowned", json={"token": token})


def totp(app, ann):
    secret = ann.post("/v1/account/totp").json["secret"]
    step = int(app.extensions["clock"].at.timestamp()) // STEP_S
    ann.put("/v1/account/totp", {"code": totp_code(secret, step)})
    return lambda client: Person(client, ann.email).sign_in(totp=totp_code(secret, step + 1))


def television(app, ann):
    codes = ann.client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    assert ann.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True}).status_code == 204
    return lambda client: client.post("/v1/token", data={"grant_type": GRANT_TYPE, "device_code": codes["device_code"]})


def recovery_code(app, ann):
    secret = ann.post("/v1/account/totp").json["secret"]
    step = int(app.extensions["clock"].at.timestamp()) // STEP_S
    codes = ann.put("/v1/account/totp", {"code": totp_code(secret, step)}).json["recovery_codes"]
    return lambda client: Person(client, ann.email).sign_in(recovery_code=codes[0])


@pytest.mark.parametrize(
    "prepare, success, failure",
    [
        (reset, 204, 422),
        (email_change, 204, 422),
        (undo, 204, 422),
        (verification, 204, 422),
        (restoration, 204, 422),
        (disowned_device, 204, 422),
        (totp, 201, 401),
        (television, 200, 400),
        (recovery_code, 201, 401),
    ],
)
def test_of_four_concurrent_requests_one_succeeds(app, ann, prepare, success, failure):
    send = prepare(app, ann)
    assert send_concurrently(app, send, send, send, send) == [success] + [failure] * 3


def test_changing_and_resetting_a_password_concurrently_does_not_deadlock(app, ann):
    send = reset(app, ann)
    change = {"current_password": ann.password, "password": "a third secret 9"}
    statuses = send_concurrently(
        app, send, lambda client: Person(client, ann.email, token=ann.token).put(CHANGE, change)
    )
    assert 503 not in statuses and 204 in statuses
