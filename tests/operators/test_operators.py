"""Human operators: two factors, roles that take effect with the next request, and at least one admin."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from streamsvc.app import create_app
from streamsvc.cli.operators import operators
from streamsvc.models import OperatorAccount, OperatorSession
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.roles import ROLES, SCOPES
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, OPERATOR_TOKEN_PREFIX, SESSION_TOKEN_PREFIX
from streamsvc.storage.database import db
from tests.conftest import close_app
from tests.worlds.operator_steps import Staff, invited, new_operator
from tests.worlds.sessions_steps import Person, code_of, everything, mailed_token, mails, new_person, operator

CURRENT = "/v1/admin/sessions/current"
KEYS = "/v1/admin/api-keys"
OPERATORS = "/v1/admin/operators"
NEW_KEY = {"name": "new", "scopes": ["catalog"]}


@pytest.fixture
def ada(app):
    """The first admin, signed in."""
    return new_operator(app, "admin", "ada")


@pytest.fixture
def admin(app):
    """An API key with the scope `admin`."""
    return operator(app)


@pytest.mark.parametrize("prefix", [API_KEY_PREFIX, OPERATOR_TOKEN_PREFIX, SESSION_TOKEN_PREFIX])
def test_an_unknown_token_is_nobodys(client, ada, admin, prefix):
    new_person(client)
    stranger = Person(client, "stranger", token=prefix + "x" * 43)
    assert code_of(stranger.get("/v1/admin/audit")) == code_of(stranger.get("/v1/account")) == (401, "not_signed_in")


# --- sign-in ---------------------------------------------------------------------------------------------------------


def test_a_password_alone_does_not_sign_in(ada):
    rejected = ada.try_to_sign_in()
    assert code_of(rejected) == (401, "second_factor_required")
    assert rejected.json["methods"] == ["totp", "recovery_code"]
    assert code_of(ada.try_to_sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert ada.sign_in().status_code == 201


def test_the_current_session_lists_the_scopes_of_the_role(app):
    current = new_operator(app, "support").get(CURRENT).json["operator"]
    assert (current["role"], current["write_scopes"], current["read_scopes"]) == (
        "support",
        ["playback", "support"],
        ["catalog"],
    )


def test_no_code_is_accepted_twice(ada):
    ada.app.extensions["clock"].advance(seconds=30)
    once = ada.code()
    assert [ada.try_to_sign_in(totp=once).status_code for _ in range(2)] == [201, 401]
    assert code_of(ada.post(CURRENT + "/reauthentication", {"totp": once})) == (422, "second_factor_invalid")


def test_the_code_that_confirmed_an_authenticator_is_not_accepted_again(app):
    bob = invited(app, "support", "bob")
    assert bob.accept(mailed_token(app, bob.email, "operator_invitation")).status_code == 200
    assert code_of(bob.try_to_sign_in(totp=bob.code())) == (401, "second_factor_invalid")


def test_a_recovery_code_is_accepted_once(ada):
    code = ada.codes[0].replace("-", " ").upper()
    assert [ada.try_to_sign_in(recovery_code=code).status_code for _ in range(2)] == [201, 401]


def test_an_invited_operator_without_credentials_looks_unknown(app):
    bob = invited(app, "support", "bob")
    assert code_of(bob.try_to_sign_in(totp="000000")) == (401, "invalid_credentials")


def test_five_wrong_codes_start_a_wait(ada, clock):
    assert [ada.try_to_sign_in(totp="000000").status_code for _ in range(6)] == [401] * 5 + [429]
    assert ada.try_to_sign_in(totp=ada.code()).status_code == 429
    clock.advance(minutes=1)
    assert ada.try_to_sign_in(totp=ada.code()).status_code == 201


def test_failures_from_other_networks_do_not_lock_an_operator_out_of_the_usual_one(ada):
    def fail_sign_in(n):
        body = {"email": ada.email, "password": "a wrong password", "totp": "000000"}
        environ = {"REMOTE_ADDR": f"203.0.113.{n}"}
        return ada.client.post("/v1/admin/sessions", json=body, environ_base=environ).status_code

    assert [fail_sign_in(n) for n in range(6)] == [401] * 5 + [429]
    assert ada.sign_in().status_code == 201


def test_a_network_counts_as_usual_for_ninety_days(app, ada, clock):
    def count_sessions():
        with app.app_context():
            return db.session.scalar(sa.select(sa.func.count()).select_from(OperatorSession))

    clock.advance(days=89)
    assert (ada.sign_in().status_code, count_sessions()) == (201, 2)
    with app.app_context():
        purge_expired_data({}, clock.at + timedelta(days=2))
        db.session.commit()
    assert (ada.get(CURRENT).status_code, count_sessions()) == (200, 1)


def test_a_session_expires_after_half_an_hour_unused_and_twelve_hours_in_any_case(ada, clock):
    for _ in range(24):
        clock.advance(minutes=29)
        assert ada.get(CURRENT).status_code == 200
    clock.advance(minutes=24)
    assert ada.get(CURRENT).status_code == 401
    ada.sign_in()
    clock.advance(minutes=30)
    assert ada.get(CURRENT).status_code == 401


def test_a_retried_sign_in_creates_one_session(ada, clock):
    clock.advance(seconds=30)
    ada.headers = {"Idempotency-Key": "once"}
    responses = [ada.try_to_sign_in(totp=ada.code()) for _ in range(2)]
    assert [response.json["token"] for response in responses] == [ada.token] * 2
    assert responses[1].headers["Idempotency-Replayed"] == "true"


def test_a_sign_in_replaces_a_hash_made_at_other_costs(app, ada):
    def stored_hash():
        with app.app_context():
            return db.session.scalar(sa.select(OperatorAccount.password_hash))

    cheap = PasswordHasher(time_cost=1, memory_cost=64).hash(ada.password)
    with app.app_context():
        db.session.execute(sa.update(OperatorAccount).values(password_hash=cheap))
        db.session.commit()
    assert code_of(ada.try_to_sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert stored_hash() == cheap
    assert ada.sign_in().status_code == 201
    assert stored_hash() != cheap and ada.sign_in().status_code == 201


def test_a_viewer_with_the_same_email_is_a_separate_account(client, ada):
    viewer = new_person(client, "ada")
    assert code_of(Staff(client, ada.email, viewer.password, app=ada.app).sign_in(totp="000000"))[0] == 401
    assert code_of(Person(client, ada.email, ada.password).sign_in()) == (401, "invalid_credentials")
    assert code_of(ada.get("/v1/account")) == (401, "not_signed_in")
    assert code_of(viewer.get(CURRENT)) == (401, "not_signed_in")


def test_no_usable_secret_is_stored(app, ada):
    bob = invited(app, "support", "bob", by=ada)
    token = mailed_token(app, bob.email, "operator_invitation")
    with app.app_context():
        db.session.execute(db.metadata.tables["sandbox_emails"].delete())
        db.session.commit()
    stored = everything(app)
    secrets = (ada.token, ada.secret, ada.password, ada.codes[0], ada.codes[0].replace("-", ""), token)
    assert [secret for secret in secrets if secret in stored] == []


# --- revocation takes effect with the next request -------------------------------------------------------------------


def sign_out(bob, ada):
    return bob.delete(CURRENT)


def end_it_from_the_list(bob, ada):
    [listed] = bob.get("/v1/admin/sessions").json["items"]
    assert (listed["current"], listed["network"]) == (True, "127.0.0.1")
    return bob.delete(f"/v1/admin/sessions/{listed['id']}")


def change_the_password_elsewhere(bob, ada):
    other = Staff(**vars(bob) | {"token": ""})
    other.sign_in()
    return other.put(
        "/v1/admin/credentials/password", {"current_password": bob.password, "password": "ten grey herons"}
    )


def change_the_authenticator_elsewhere(bob, ada):
    other = Staff(**vars(bob) | {"token": ""})
    other.sign_in()
    other.secret = other.post("/v1/admin/credentials/totp").json["secret"]
    return other.put("/v1/admin/credentials/totp", {"code": other.code()})


def disable(bob, ada):
    return ada.patch(f"{OPERATORS}/{bob.id}", {"status": "disabled"})


def remove(bob, ada):
    return ada.delete(f"{OPERATORS}/{bob.id}")


def reset(bob, ada):
    return ada.post(f"{OPERATORS}/{bob.id}/reset")


def end_all_as_admin(bob, ada):
    return ada.delete(f"{OPERATORS}/{bob.id}/sessions")


ENDS = [
    sign_out,
    end_it_from_the_list,
    change_the_password_elsewhere,
    change_the_authenticator_elsewhere,
    disable,
    remove,
    reset,
    end_all_as_admin,
]


@pytest.fixture(scope="module")
def elsewhere(shared_app):
    """Simulates a second web process: another app on the same database, with the same clock."""
    other = create_app(shared_app.extensions["settings"], now=shared_app.extensions["clock"])
    yield other.test_client()
    close_app(other)


@pytest.mark.parametrize("end", ENDS)
def test_an_ended_operator_session_is_rejected_by_the_other_process_at_once(app, admin, elsewhere, end):
    bob = new_operator(app, "support", "bob")
    same_session = Person(elsewhere, bob.email, token=bob.token)
    assert same_session.get("/v1/admin/accounts").status_code == 200
    assert end(bob, admin).status_code < 300
    assert same_session.get("/v1/admin/accounts").status_code == 401


def test_a_changed_role_takes_effect_with_the_next_request(app, admin, elsewhere):
    bob = new_operator(app, "support", "bob")
    same_session = Person(elsewhere, bob.email, token=bob.token)
    statuses = [same_session.get("/v1/admin/coverage").status_code, same_session.get("/v1/admin/streams").status_code]
    assert admin.patch(f"{OPERATORS}/{bob.id}", {"role": "catalog"}).json["role"] == "catalog"
    statuses += [same_session.get("/v1/admin/coverage").status_code, same_session.get("/v1/admin/streams").status_code]
    assert statuses == [200, 200, 200, 403]


def test_an_unknown_role_has_no_access(app, ada):
    with app.app_context():
        db.session.execute(sa.update(OperatorAccount).values(role="emperor"))
        db.session.commit()
    assert code_of(ada.get("/v1/admin/accounts")) == (403, "insufficient_scope")
    assert ada.get(CURRENT).json["operator"]["write_scopes"] == []


def test_a_higher_epoch_ends_operator_sessions_too(app, ada, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(session_epoch=1))
    assert ada.get(CURRENT).status_code == 401


def test_an_operators_password_is_changed_with_the_current_one_only(ada):
    """Five wrong attempts are one too many; a right one before begins again."""

    def change(current_password, password):
        body = {"current_password": current_password, "password": password}
        return ada.put("/v1/admin/credentials/password", body)

    for _ in range(2):
        for _ in range(4):
            assert code_of(change("a wrong guess", "ten grey herons")) == (422, "invalid_credentials")
        assert change(ada.password, ada.password).status_code < 300
    assert code_of(change(ada.password, "password")) == (422, "invalid")
    assert change(ada.password, "ten grey herons").status_code < 300
    for _ in range(5):
        assert code_of(change(ada.password, "nine grey herons"))[0] == 422
    assert code_of(change("ten grey herons", "nine grey herons")) == (429, "too_many_attempts")


@pytest.mark.parametrize(
    ("change", "notice", "action"),
    [
        (change_the_password_elsewhere, "Your password was changed", "authn_password_change"),
        (change_the_authenticator_elsewhere, "Your authenticator app was replaced", "authn_factor_added"),
    ],
)
def test_an_operator_is_notified_of_changed_credentials(app, ada, change, notice, action):
    bob = new_operator(app, "support", "bob")
    assert change(bob, ada).status_code < 300
    assert [notice in mail["text"] for mail in mails(app, bob.email, "operator_notice")].count(True) == 1
    [event] = ada.get(f"/v1/admin/audit?action={action}").json["items"]
    assert event["actor"] == bob.id


# --- operator accounts -----------------------------------------------------------------------------------------------


def test_operators_are_invited_by_mail_and_set_up_their_own_credentials(app, admin):
    bob = invited(app, "billing", "bob")
    [mail] = mails(app, bob.email, "operator_invitation")
    token = mailed_token(app, bob.email, "operator_invitation")
    assert "#/operator-invitation?token=" in mail["text"]
    invitation = app.test_client().post("/v1/admin/invitations", json={"token": token}).json
    assert (invitation["email"], invitation["role"]) == (bob.email, "billing")
    wrong = {"token": token, "password": bob.password, "code": "000000"}
    assert code_of(bob.client.put("/v1/admin/invitations", json=wrong)) == (422, "second_factor_invalid")
    weak = {"token": token, "password": "password", "code": "000000"}
    assert code_of(bob.client.put("/v1/admin/invitations", json=weak)) == (422, "invalid")
    assert len(bob.accept(token).json["recovery_codes"]) == 10
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")
    assert bob.sign_in().status_code == 201
    assert len(mails(app, bob.email, "operator_notice")) == 2  # the new credentials, and a sign-in from a new network


def test_an_invitation_is_valid_for_a_day(app, admin, clock):
    bob = invited(app, "support", "bob")
    token = mailed_token(app, bob.email, "operator_invitation")
    clock.advance(hours=24)
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")


def test_a_reset_deletes_the_credentials_at_once_and_sets_no_new_ones(app, admin):
    bob = new_operator(app, "support", "bob")
    assert code_of(admin.patch(f"{OPERATORS}/{bob.id}", {"password": "chosen by an admin"})) == (422, "invalid")
    response = admin.post(f"{OPERATORS}/{bob.id}/reset")
    assert (response.status_code, response.json["enrolled"]) == (202, False)
    assert code_of(bob.sign_in()) == (401, "invalid_credentials")
    assert code_of(bob.try_to_sign_in(recovery_code=bob.codes[0])) == (401, "invalid_credentials")
    bob.password = "ten grey herons"
    assert bob.accept(mailed_token(app, bob.email, "operator_invitation")).status_code == 200
    assert bob.sign_in().status_code == 201


def test_disabling_revokes_the_invitation(app, admin):
    bob = invited(app, "support", "bob")
    token = mailed_token(app, bob.email, "operator_invitation")
    disable(bob, admin)
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")


def test_an_enabled_operator_signs_in_with_their_previous_credentials(app, admin):
    bob = new_operator(app, "support", "bob")
    disable(bob, admin)
    assert code_of(bob.sign_in()) == (401, "invalid_credentials")
    assert admin.patch(f"{OPERATORS}/{bob.id}", {"status": "active"}).status_code == 200
    assert bob.sign_in().status_code == 201


def test_an_email_has_one_operator_until_that_one_is_removed(app, ada):
    bob = invited(app, "support", "bob", by=ada)
    again = {"email": bob.email.upper(), "name": "Bob", "role": "support"}
    assert code_of(ada.post(OPERATORS, again)) == (409, "email_taken")
    assert remove(bob, ada).status_code == 204
    assert ada.get(f"{OPERATORS}/{bob.id}").json["status"] == "removed"
    assert [operator["email"] for operator in ada.get(OPERATORS).json["items"]] == [ada.email]
    assert ada.post(OPERATORS, again).json["id"] != bob.id


@pytest.mark.parametrize("change", [{"role": "support"}, {"status": "disabled"}, "remove", "reset"])
def test_the_last_admin_cannot_be_removed_or_demoted(app, ada, change):
    def leave():
        if isinstance(change, dict):
            return ada.patch(f"{OPERATORS}/{ada.id}", change)
        return remove(ada, ada) if change == "remove" else reset(ada, ada)

    invited(app, "admin", "not.enrolled", by=ada)
    assert code_of(leave()) == (409, "last_admin")
    new_operator(app, "admin", "eve")
    assert leave().status_code < 300


def test_two_admins_removing_each_other_concurrently_leave_one(app, ada):
    eve = new_operator(app, "admin", "eve")
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(lambda pair: remove(*pair), [(eve, ada), (ada, eve)]))
    assert sorted(response.status_code for response in responses) in ([204, 401], [204, 409])
    with app.app_context():
        assert len(OperatorAccount.lock_admins()) == 1


def test_only_human_operators_need_recent_authentication_to_create_keys_and_operators(app, ada, clock):
    bob = invited(app, "support", "bob", by=ada)
    key = ada.post(KEYS, NEW_KEY).json["id"]
    clock.advance(minutes=11)
    calls = [
        lambda operator: operator.post(KEYS, NEW_KEY),
        lambda operator: operator.delete(f"{KEYS}/{key}"),
        lambda operator: operator.post(OPERATORS, {"email": "eve@example.com", "name": "Eve", "role": "catalog"}),
        lambda operator: operator.patch(f"{OPERATORS}/{bob.id}", {"role": "catalog"}),
        lambda operator: operator.post(f"{OPERATORS}/{bob.id}/reset"),
        lambda operator: operator.delete(f"{OPERATORS}/{bob.id}"),
    ]
    own = [
        lambda operator: operator.post("/v1/admin/credentials/totp"),
        lambda operator: operator.put("/v1/admin/credentials/recovery-codes"),
    ]
    for call in calls + own:
        assert code_of(call(ada)) == (403, "reauthentication_required")
    assert ada.get("/v1/admin/accounts").status_code == 200
    assert ada.prove().status_code == 204
    assert all(call(ada).status_code < 300 for call in calls[:4] + own)
    assert "Your recovery codes were replaced" in mails(app, ada.email, "operator_notice")[0]["text"]
    assert all(call(operator(app)).status_code < 300 for call in calls[4:])


def test_the_audit_log_names_the_operator(app, ada):
    bob = new_operator(app, "support", "bob")
    ann = new_person(app.test_client())
    bob.patch(f"/v1/admin/accounts/{ann.get('/v1/account').json['id']}", {"status": "disabled", "reason": "on request"})
    ada.put("/v1/admin/tax-rates/DE", {"percent": "19", "name": "VAT"})
    ada.patch(f"{OPERATORS}/{bob.id}", {"role": "auditor"})
    actors = {row["action"]: row["actor"] for row in bob.get("/v1/admin/audit?limit=100").json["items"]}
    assert (actors["account_disabled"], actors["operator_changed"], actors["operator_call"]) == (bob.id, ada.id, ada.id)
    [call] = bob.get("/v1/admin/audit?action=operator_call").json["items"]
    assert (call["details"]["call"], call["details"]["country"]) == ("PUT /v1/admin/tax-rates/<country>", "DE")
    assert bob.get("/v1/admin/audit/chain").json["first_break"] is None


# --- the command line, scopes ----------------------------------------------------------------------------------------


def test_the_command_line_invites_the_first_admin_and_resets_the_last_one(app):
    def run(*words):
        return app.test_cli_runner().invoke(operators, words)

    staff = Staff(app.test_client(), "ada@example.com", app=app)
    result = run("add", staff.email, "--role", "admin")
    assert staff.accept(result.output.split()[-1]).status_code == 200
    assert staff.sign_in().status_code == 201
    assert "There is already an operator" in run("add", staff.email, "--role", "admin").output
    result = run("reset", staff.email)
    assert staff.get(CURRENT).status_code == 401
    assert "invited" in run("list").output
    assert staff.accept(result.output.split()[-1]).status_code == 200


def test_every_endpoint_requires_a_scope_of_the_roles_table(app):
    scopes = {view.access.scope for view in app.view_functions.values() if getattr(view, "access", None)} - {None}
    assert scopes - {"sandbox"} == set(SCOPES) - {"frontend"}
    for scope in scopes - {"admin", "sandbox"}:
        assert [name for name, role in ROLES.items() if role.has_scope(scope, write=True)] != ["admin"], scope
