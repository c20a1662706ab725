"""Operators as people: always two proofs, a role that counts from the next request, and an admin who remains."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from streamsvc.app import create_app
from streamsvc.cli import operators
from streamsvc.models import OperatorAccount, OperatorSession
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.roles import ROLES, SCOPES
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
    """An admin's key, which does what an admin does."""
    return operator(app)


# --- signing in ----------------------------------------------------------------------------------------------------


def test_a_password_alone_lets_nobody_in(ada):
    refused = ada.try_to_sign_in()
    assert code_of(refused) == (401, "second_factor_required")
    assert refused.json["methods"] == ["totp", "recovery_code"]
    assert code_of(ada.try_to_sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert ada.sign_in().status_code == 201


def test_who_is_signed_in_hears_what_the_role_opens(app):
    told = new_operator(app, "support").get(CURRENT).json["operator"]
    assert (told["role"], told["acts"], told["looks"]) == ("support", ["playback", "support"], ["catalog"])


def test_no_code_counts_twice(ada):
    ada.app.extensions["clock"].advance(seconds=30)
    once = ada.code()
    assert [ada.try_to_sign_in(totp=once).status_code for _ in range(2)] == [201, 401]
    assert code_of(ada.post(CURRENT + "/reauthentication", {"totp": once})) == (422, "second_factor_invalid")


def test_the_code_that_set_an_authenticator_up_opens_nothing_more(app):
    bob = invited(app, "support", "bob")
    assert bob.accept(mailed_token(app, bob.email, "operator_invitation")).status_code == 200
    assert code_of(bob.try_to_sign_in(totp=bob.code())) == (401, "second_factor_invalid")


def test_a_recovery_code_opens_once(ada):
    code = ada.codes[0].replace("-", " ").upper()
    assert [ada.try_to_sign_in(recovery_code=code).status_code for _ in range(2)] == [201, 401]


def test_who_was_invited_but_set_nothing_up_looks_like_nobody(app):
    bob = invited(app, "support", "bob")
    assert code_of(bob.try_to_sign_in(totp="000000")) == (401, "invalid_credentials")


def test_five_wrong_codes_close_the_door_for_a_while(ada, clock):
    assert [ada.try_to_sign_in(totp="000000").status_code for _ in range(6)] == [401] * 5 + [429]
    assert ada.try_to_sign_in(totp=ada.code()).status_code == 429
    clock.advance(minutes=1)
    assert ada.try_to_sign_in(totp=ada.code()).status_code == 201


def test_strangers_who_guess_do_not_shut_an_operator_out_of_the_usual_place(ada):
    def guess(n):
        told = {"email": ada.email, "password": "a wrong guess", "totp": "000000"}
        at = {"REMOTE_ADDR": f"203.0.113.{n}"}
        return ada.client.post("/v1/admin/sessions", json=told, environ_base=at).status_code

    assert [guess(n) for n in range(6)] == [401] * 5 + [429]
    assert ada.sign_in().status_code == 201


def test_a_place_is_usual_for_ninety_days_and_then_forgotten(app, ada, clock):
    def sign_ins_from():
        with app.app_context():
            return db.session.scalar(sa.select(sa.func.count()).select_from(OperatorSession))

    clock.advance(days=89)
    assert (ada.sign_in().status_code, sign_ins_from()) == (201, 2)
    with app.app_context():
        purge_expired_data({}, clock.at + timedelta(days=2))
        db.session.commit()
    assert (ada.get(CURRENT).status_code, sign_ins_from()) == (200, 1)


def test_a_session_ends_unused_after_half_an_hour_and_used_after_twelve(ada, clock):
    for _ in range(24):
        clock.advance(minutes=29)
        assert ada.get(CURRENT).status_code == 200
    clock.advance(minutes=24)
    assert ada.get(CURRENT).status_code == 401
    ada.sign_in()
    clock.advance(minutes=30)
    assert ada.get(CURRENT).status_code == 401


def test_a_retried_sign_in_is_one_session(ada, clock):
    clock.advance(seconds=30)
    ada.headers = {"Idempotency-Key": "once"}
    answers = [ada.try_to_sign_in(totp=ada.code()) for _ in range(2)]
    assert [answer.json["token"] for answer in answers] == [ada.token] * 2
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_a_hash_of_other_costs_is_made_anew_by_a_sign_in(app, ada):
    def kept():
        with app.app_context():
            return db.session.scalar(sa.select(OperatorAccount.password_hash))

    cheap = PasswordHasher(time_cost=1, memory_cost=64).hash(ada.password)
    with app.app_context():
        db.session.execute(sa.update(OperatorAccount).values(password_hash=cheap))
        db.session.commit()
    assert code_of(ada.try_to_sign_in(totp="000000")) == (401, "second_factor_invalid")
    assert kept() == cheap
    assert ada.sign_in().status_code == 201
    assert kept() != cheap and ada.sign_in().status_code == 201


def test_a_viewer_with_the_same_address_is_somebody_else(client, ada):
    viewer = new_person(client, "ada")
    assert code_of(Staff(client, ada.email, viewer.password, app=ada.app).sign_in(totp="000000"))[0] == 401
    assert code_of(Person(client, ada.email, ada.password).sign_in()) == (401, "invalid_credentials")
    assert code_of(ada.get("/v1/account")) == (401, "not_signed_in")
    assert code_of(viewer.get(CURRENT)) == (401, "not_signed_in")


def test_nothing_that_opens_a_door_is_kept(app, ada):
    bob = invited(app, "support", "bob", by=ada)
    token = mailed_token(app, bob.email, "operator_invitation")
    with app.app_context():
        db.session.execute(db.metadata.tables["sandbox_emails"].delete())
        db.session.commit()
    kept = everything(app)
    secrets = (ada.token, ada.secret, ada.password, ada.codes[0], ada.codes[0].replace("-", ""), token)
    assert [secret for secret in secrets if secret in kept] == []


# --- what ends, ends with the next request -------------------------------------------------------------------------


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
    """A second web process, as far as memory goes: another app on the same database, under the same clock."""
    made = create_app(shared_app.extensions["settings"], now=shared_app.extensions["clock"])
    yield made.test_client()
    close_app(made)


@pytest.mark.parametrize("end", ENDS)
def test_an_operator_whose_session_ended_is_refused_by_the_other_process_at_once(app, admin, elsewhere, end):
    bob = new_operator(app, "support", "bob")
    there = Person(elsewhere, bob.email, token=bob.token)
    assert there.get("/v1/admin/accounts").status_code == 200
    assert end(bob, admin).status_code < 300
    assert there.get("/v1/admin/accounts").status_code == 401


def test_another_role_counts_from_the_next_request(app, admin, elsewhere):
    bob = new_operator(app, "support", "bob")
    there = Person(elsewhere, bob.email, token=bob.token)
    heard = [there.get("/v1/admin/coverage").status_code, there.get("/v1/admin/streams").status_code]
    assert admin.patch(f"{OPERATORS}/{bob.id}", {"role": "catalog"}).json["role"] == "catalog"
    heard += [there.get("/v1/admin/coverage").status_code, there.get("/v1/admin/streams").status_code]
    assert heard == [200, 200, 200, 403]


def test_a_role_that_is_no_more_opens_nothing(app, ada):
    with app.app_context():
        db.session.execute(sa.update(OperatorAccount).values(role="emperor"))
        db.session.commit()
    assert code_of(ada.get("/v1/admin/accounts")) == (403, "insufficient_scope")
    assert ada.get(CURRENT).json["operator"]["acts"] == []


def test_after_a_restore_the_epoch_ends_operators_sessions_too(app, ada, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(session_epoch=1))
    assert ada.get(CURRENT).status_code == 401


# --- who operates --------------------------------------------------------------------------------------------------


def test_whoever_operates_is_invited_by_mail_and_sets_everything_up_alone(app, admin):
    bob = invited(app, "billing", "bob")
    [mail] = mails(app, bob.email, "operator_invitation")
    token = mailed_token(app, bob.email, "operator_invitation")
    assert "#/operator-invitation?token=" in mail["text"]
    begun = app.test_client().post("/v1/admin/invitations", json={"token": token}).json
    assert (begun["email"], begun["role"]) == (bob.email, "billing")
    wrong = {"token": token, "password": bob.password, "code": "000000"}
    assert code_of(bob.client.put("/v1/admin/invitations", json=wrong)) == (422, "second_factor_invalid")
    weak = {"token": token, "password": "password", "code": "000000"}
    assert code_of(bob.client.put("/v1/admin/invitations", json=weak)) == (422, "invalid")
    assert len(bob.accept(token).json["recovery_codes"]) == 10
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")
    assert bob.sign_in().status_code == 201
    assert len(mails(app, bob.email, "operator_notice")) == 2  # what was set, and a sign-in from a new place


def test_an_invitation_lasts_a_day(app, admin, clock):
    bob = invited(app, "support", "bob")
    token = mailed_token(app, bob.email, "operator_invitation")
    clock.advance(hours=24)
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")


def test_a_reset_takes_the_old_proofs_away_at_once_and_chooses_no_new_ones(app, admin):
    bob = new_operator(app, "support", "bob")
    assert code_of(admin.patch(f"{OPERATORS}/{bob.id}", {"password": "chosen by an admin"})) == (422, "invalid")
    answer = admin.post(f"{OPERATORS}/{bob.id}/reset")
    assert (answer.status_code, answer.json["enrolled"]) == (202, False)
    assert code_of(bob.sign_in()) == (401, "invalid_credentials")
    assert code_of(bob.try_to_sign_in(recovery_code=bob.codes[0])) == (401, "invalid_credentials")
    bob.password = "ten grey herons"
    assert bob.accept(mailed_token(app, bob.email, "operator_invitation")).status_code == 200
    assert bob.sign_in().status_code == 201


def test_disabling_withdraws_the_invitation(app, admin):
    bob = invited(app, "support", "bob")
    token = mailed_token(app, bob.email, "operator_invitation")
    disable(bob, admin)
    assert code_of(bob.client.post("/v1/admin/invitations", json={"token": token})) == (422, "token_invalid")


def test_who_was_disabled_comes_back_with_what_they_had(app, admin):
    bob = new_operator(app, "support", "bob")
    disable(bob, admin)
    assert code_of(bob.sign_in()) == (401, "invalid_credentials")
    assert admin.patch(f"{OPERATORS}/{bob.id}", {"status": "active"}).status_code == 200
    assert bob.sign_in().status_code == 201


def test_one_address_is_one_operator_until_that_one_is_removed(app, ada):
    bob = invited(app, "support", "bob", by=ada)
    again = {"email": bob.email.upper(), "name": "Bob", "role": "support"}
    assert code_of(ada.post(OPERATORS, again)) == (409, "email_taken")
    assert remove(bob, ada).status_code == 204
    assert ada.get(f"{OPERATORS}/{bob.id}").json["status"] == "removed"
    assert [each["email"] for each in ada.get(OPERATORS).json["items"]] == [ada.email]
    assert ada.post(OPERATORS, again).json["id"] != bob.id


@pytest.mark.parametrize("change", [{"role": "support"}, {"status": "disabled"}, "remove", "reset"])
def test_the_last_admin_stays(app, ada, change):
    def leave():
        if isinstance(change, dict):
            return ada.patch(f"{OPERATORS}/{ada.id}", change)
        return remove(ada, ada) if change == "remove" else reset(ada, ada)

    invited(app, "admin", "never.came", by=ada)
    assert code_of(leave()) == (409, "last_admin")
    new_operator(app, "admin", "eve")
    assert leave().status_code < 300


def test_two_admins_who_remove_each_other_at_once_leave_one(app, ada):
    eve = new_operator(app, "admin", "eve")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: remove(*pair), [(eve, ada), (ada, eve)]))
    assert sorted(answer.status_code for answer in answers) in ([204, 401], [204, 409])
    with app.app_context():
        assert len(OperatorAccount.lock_admins()) == 1


def test_people_need_a_fresh_proof_to_mint_keys_and_operators_and_machines_do_not(app, ada, clock):
    bob = invited(app, "support", "bob", by=ada)
    key = ada.post(KEYS, NEW_KEY).json["id"]
    clock.advance(minutes=11)
    calls = [
        lambda who: who.post(KEYS, NEW_KEY),
        lambda who: who.delete(f"{KEYS}/{key}"),
        lambda who: who.post(OPERATORS, {"email": "eve@example.com", "name": "Eve", "role": "catalog"}),
        lambda who: who.patch(f"{OPERATORS}/{bob.id}", {"role": "catalog"}),
        lambda who: who.post(f"{OPERATORS}/{bob.id}/reset"),
        lambda who: who.delete(f"{OPERATORS}/{bob.id}"),
    ]
    own = [
        lambda who: who.post("/v1/admin/credentials/totp"),
        lambda who: who.put("/v1/admin/credentials/recovery-codes"),
    ]
    for call in calls + own:
        assert code_of(call(ada)) == (403, "reauthentication_required")
    assert ada.get("/v1/admin/accounts").status_code == 200
    assert ada.prove().status_code == 204
    assert all(call(ada).status_code < 300 for call in calls[:4] + own)
    assert "New recovery codes" in mails(app, ada.email, "operator_notice")[0]["text"]
    assert all(call(operator(app)).status_code < 300 for call in calls[4:])


def test_the_audit_log_tells_which_operator_it_was(app, ada):
    bob = new_operator(app, "support", "bob")
    ann = new_person(app.test_client())
    bob.patch(f"/v1/admin/accounts/{ann.get('/v1/account').json['id']}", {"status": "disabled", "reason": "asked to"})
    ada.put("/v1/admin/tax-rates/DE", {"percent": "19", "name": "VAT"})
    ada.patch(f"{OPERATORS}/{bob.id}", {"role": "auditor"})
    told = {row["action"]: row["actor"] for row in bob.get("/v1/admin/audit?limit=100").json["items"]}
    assert (told["account_disabled"], told["operator_changed"], told["operator_call"]) == (bob.id, ada.id, ada.id)
    [call] = bob.get("/v1/admin/audit?action=operator_call").json["items"]
    assert (call["details"]["call"], call["details"]["country"]) == ("PUT /v1/admin/tax-rates/<country>", "DE")
    assert bob.get("/v1/admin/audit/chain").json["first_break"] is None


# --- the command line, the doors -----------------------------------------------------------------------------------


def test_the_command_line_invites_the_first_admin_and_helps_the_last_one(app):
    def run(*words):
        return app.test_cli_runner().invoke(operators, words)

    staff = Staff(app.test_client(), "ada@example.com", app=app)
    told = run("add", staff.email, "--role", "admin")
    assert staff.accept(told.output.split()[-1]).status_code == 200
    assert staff.sign_in().status_code == 201
    assert "There is an operator" in run("add", staff.email, "--role", "admin").output
    told = run("reset", staff.email)
    assert staff.get(CURRENT).status_code == 401
    assert "invited" in run("list").output
    assert staff.accept(told.output.split()[-1]).status_code == 200


def test_every_door_asks_for_a_scope_that_the_table_of_roles_knows(app):
    asked = {view.access.scope for view in app.view_functions.values() if getattr(view, "access", None)} - {None}
    assert asked - {"sandbox"} == set(SCOPES) - {"frontend"}
    for scope in asked - {"admin", "sandbox"}:
        assert [name for name, role in ROLES.items() if role.has_scope(scope, write=True)] != ["admin"], scope
