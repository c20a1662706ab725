"""Sign-up, updates of the account, and verification of the email address."""

from email import message_from_bytes, policy

import pytest

from tests.worlds.sessions_steps import (
    SECRET,
    Person,
    code_of,
    everything,
    mailed_token,
    mails,
    new_person,
    operator,
    run_jobs,
)


def sign_up(client, **changes):
    body = {"email": "ann@example.com", "password": SECRET, "country": "DE"} | changes
    return client.post("/v1/accounts", json={k: v for k, v in body.items() if v is not None})


def test_a_new_account_has_one_profile_which_is_selected(client):
    body = sign_up(client, name="Ann Other", locale="fr", time_zone="Europe/Berlin").json
    assert [(p["name"], p["language"]) for p in body["profiles"]] == [("Ann", "fr")]
    assert body["profile"] == body["profiles"][0]
    assert (body["account"]["time_zone"], body["account"]["email_verified"]) == ("Europe/Berlin", False)


@pytest.mark.parametrize("spelling", ["ann@example.com", "ANN@Example.COM", " ann@example.com"])
def test_spellings_of_one_email_address_share_one_account(client, spelling):
    assert sign_up(client).status_code == 201
    assert code_of(sign_up(client, email=spelling)) == (409, "email_taken")


def test_the_local_part_keeps_its_spelling(client):
    assert sign_up(client, email="Ann.Other@EXAMPLE.com").json["account"]["email"] == "Ann.Other@example.com"


@pytest.mark.parametrize(
    "field, value",
    [
        ("email", "ann"),
        ("email", "ann@example.com\x00"),
        ("email", None),
        ("password", "short"),
        ("password", "x" * 1025),
        ("password", "password1"),
        ("password", "PASSWORD1"),
        ("password", "aaaaaaaaaaaa"),
        ("password", "ann@example.com"),
        ("password", "streamsvc1"),
        ("password", 12345678),
        ("country", "Germany"),
        ("time_zone", "Mars/Base"),
        ("role", "admin"),
    ],
)
def test_invalid_sign_ups_are_rejected_by_field(client, field, value):
    response = sign_up(client, **{field: value})
    assert response.status_code == 422
    assert list(response.json["errors"]) == [field]


def test_passwords_from_the_names_of_the_service_and_its_plans_are_rejected(app, client, monkeypatch):
    words = "Kinoheld24", "FamilyUltra1", "sofasofa99"
    for n, word in enumerate(words):
        assert sign_up(client, email=f"a{n}@a.example", password=word).status_code == 201
    settings = app.extensions["settings"].replace(public_url="https://www.kinoheld.example")
    monkeypatch.setitem(app.extensions, "settings", settings)
    features = {"max_streams": 1, "max_height": 720, "max_profiles": 1, "max_devices": 1}
    features |= {"downloads": False, "ads": True}
    prices = [{"currency": "EUR", "amount_minor": 1, "tax": "inclusive"}]
    plan = {"name": "Family Ultra", "features": features, "prices": prices}
    assert operator(app).put("/v1/admin/plans/sofa", plan).status_code in (200, 201)
    for word in words:
        assert list(sign_up(client, password=word).json["errors"]) == ["password"]


@pytest.mark.parametrize(
    "password", ["correct horse battery", "pässwörter sind lang", "  spaces count  ", "密碼密碼密碼密碼x"]
)
def test_any_long_enough_password_is_accepted_unchanged(client, password):
    assert sign_up(client, password=password).status_code == 201
    assert Person(client, "ann@example.com", password).sign_in().status_code == 201
    assert Person(client, "ann@example.com", password.strip() + "x").sign_in().status_code == 401


def test_the_settings_define_the_minimum_password_length(app, client):
    settings = app.extensions["settings"]
    assert sign_up(client, password="violet1").status_code == 422
    app.extensions["settings"] = settings.replace(shortest_password=15)
    try:
        rejected = sign_up(client, password="violet heron 7")
        assert rejected.json["errors"] == {"password": ["Use at least 15 characters."]}
        assert sign_up(client, password="violet herons 7").status_code == 201
    finally:
        app.extensions["settings"] = settings


def test_composed_and_decomposed_characters_make_the_same_password(client):
    assert sign_up(client, password="caf\u00e9 au lait").status_code == 201
    assert Person(client, "ann@example.com", "cafe\u0301 au lait").sign_in().status_code == 201


def test_a_retried_sign_up_creates_one_account(client):
    headers = {"Idempotency-Key": "once"}
    first, again = (Person(client, "ann@example.com", headers=headers).sign_up() for _ in range(2))
    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)


def test_the_owner_updates_their_account(client):
    ann = new_person(client)
    changed = ann.patch("/v1/account", {"name": "Ann", "country": "FR", "time_zone": "Europe/Paris", "locale": "fr"})
    assert changed.json == ann.get("/v1/account").json
    assert changed.json["country"] == "FR"
    assert ann.patch("/v1/account", {"email": "x@example.com"}).status_code == 422


def test_an_email_address_is_verified_once_by_the_mailed_token(app, client):
    ann = new_person(client)
    token = mailed_token(app, ann.email, "email_verification")
    assert ann.put("/v1/email-verifications", {"token": token}).status_code == 204
    assert ann.get("/v1/account").json["email_verified"]
    assert code_of(client.put("/v1/email-verifications", json={"token": token})) == (422, "token_invalid")


def test_a_mailed_token_expires(app, client, clock):
    ann = new_person(client)
    token = mailed_token(app, ann.email, "email_verification")
    clock.advance(hours=24)
    assert code_of(client.put("/v1/email-verifications", json={"token": token})) == (422, "token_invalid")


def test_outside_the_sandbox_no_mail_or_job_stores_a_secret(database, new_app, tmp_path):
    app = new_app(database, "mailing", sandbox=False, env="development", mail_url=f"file:{tmp_path}")
    new_person(app.test_client())
    assert run_jobs(app) >= 1
    [mail] = tmp_path.glob("*.eml")
    message = message_from_bytes(mail.read_bytes(), policy=policy.default)
    text = message.get_body(("plain",)).get_content()
    token = text.split("token=")[1].split()[0]
    assert token not in everything(app)
    assert "?" not in text.partition("#")[0], "the secret is in the fragment, which is not sent to servers"
    response = app.test_client().put("/v1/email-verifications", json={"token": token})
    assert response.status_code == 204


def test_the_verification_mail_is_resent_until_the_address_is_verified(app, client):
    ann = new_person(client)
    first = mailed_token(app, ann.email, "email_verification")
    assert ann.post("/v1/email-verifications").status_code == 202
    second = mailed_token(app, ann.email, "email_verification")
    statuses = [ann.put("/v1/email-verifications", {"token": t}).status_code for t in (first, second)]
    assert (statuses, ann.get("/v1/account").json["email_verified"]) == ([204, 422], True)
    assert ann.post("/v1/email-verifications").status_code == 202
    assert len(mails(app, ann.email, "email_verification")) == 2


def test_in_confirm_mode_a_taken_address_looks_like_a_free_one(database, new_app):
    app = new_app(database, "confirming", signup="confirm")
    client = app.test_client()
    responses = [sign_up(client), None, sign_up(client)]
    token = mailed_token(app, "ann@example.com", "sign_up")
    ann = Person(client, "ann@example.com")
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    bound = {"token": token, "binding": responses[2].json["binding"]}
    assert client.put("/v1/email-verifications", json=bound).status_code == 204
    responses[1] = sign_up(client, password="somebody else's 1")
    seen = [(a.status_code, a.json.keys(), a.json["status"], {k for k, _ in a.headers}) for a in responses]
    assert seen[0] == seen[1] == seen[2] and seen[0][0] == 202
    assert ann.sign_in().json["account"]["email_verified"]
    assert len(mails(app, ann.email, "sign_up_again")) == 1
    assert {sign_up(client).status_code for _ in range(4)} == {202}
    assert len(mails(app, ann.email, "sign_up_again")) == 3, "five mails an hour, and the rest are dropped silently"


def test_in_confirm_mode_a_password_is_accepted_only_from_where_it_was_sent(database, new_app):
    app = new_app(database, "confirming_elsewhere", signup="confirm")
    squatter, ann = (Person(app.test_client(), "ann@example.com", password) for password in (SECRET, "a new secret 9"))
    assert "binding" in squatter.sign_up().json
    token = mailed_token(app, ann.email, "sign_up")
    assert ann.client.put("/v1/email-verifications", json={"token": token}).status_code == 204
    assert code_of(squatter.sign_in()) == (401, "invalid_credentials")
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": ann.password}
    assert ann.client.put("/v1/password-resets", json=body).status_code == 204
    assert ann.sign_in().status_code == 201


def test_accounts_that_never_confirmed_need_a_proof_once_sign_ups_are_confirmed(app, client, monkeypatch):
    ann = new_person(client)
    settings = app.extensions["settings"].replace(signup="confirm")
    monkeypatch.setitem(app.extensions, "settings", settings)
    assert ann.get("/v1/account").status_code == 200, "sessions go on"
    assert code_of(ann.again().sign_in()) == (401, "invalid_credentials")
    client.post("/v1/password-resets", json={"email": ann.email})
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": ann.password}
    assert client.put("/v1/password-resets", json=body).status_code == 204
    assert ann.again().sign_in().status_code == 201


def test_only_operators_read_sandbox_mail(app, client):
    ann = new_person(client)
    assert code_of(ann.get("/v1/sandbox/emails")) == (401, "not_signed_in")
    assert code_of(operator(app, "support").get("/v1/sandbox/emails")) == (403, "insufficient_scope")
