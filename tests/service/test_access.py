"""Who may do what: every route × method × principal, and another's object looks like none.

tests/service/access_matrix.txt says what each principal hears; its head says how to read it and how to add a row.
"""

from collections import Counter

import pytest
import sqlalchemy as sa

from streamsvc.models import AuditEvent
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.roles import ROLES
from streamsvc.storage.database import SAFE_METHODS, db
from tests.worlds.access_world import OWNED, World, filled, missing, routes, table

PRINCIPALS, ROWS = table()
ALIKE_NOBODY = ("ended", "disabled", "revoked")
"""Whose token is worth nothing: they hear what somebody without one hears."""
COUNTED_ON_REFUSAL = {"rate_limit_counters", "audit_events", "idempotency_keys", "api_keys"}
"""What a refused request may leave behind."""
SECRET_ENDINGS = ("_hash", "_encrypted", "_ciphertext", "request_key")
"""Columns with such names no answer shows, whoever asks."""
OF_ANY_ROLE = ("/v1/admin/sessions", "/v1/admin/credentials")
"""What is an operator's own: open to people whatever their role, and to no key."""
OPEN_TO_ALL = {("POST", "/v1/admin/sessions"), ("GET", "/v1/playback/verify")}
"""Where 401 is the view's own answer to what the table sends."""
LEFT_UNTOLD = [("POST", "/v1/admin/explain")]
"""It asks, and changes nothing."""
CLOSED_TO_SUPPORT = {"/v1/account/export", "/v1/payment-methods"}
"""What only the owner of an account reads."""


@pytest.fixture
def world(app):
    return World.of(app)


def is_shut_out(answer):
    """Whether the guard turned the request away before any view saw it."""
    return answer.status_code in (401, 403) and answer.json["code"] in (
        "not_signed_in",
        "insufficient_scope",
        "kids_profile",
    )


def ask(world, row, principal, things=None):
    """The answer, with the database put back as it was; and the names of the tables that the request changed."""
    answer = world.ask(row, principal, things)
    changed = set() if row.method == "GET" or is_shut_out(answer) else set(world.restore())
    return answer, changed


def test_every_route_has_its_row_and_every_row_its_route(app):
    rows = Counter(row.key for row in ROWS)
    known = routes(app)
    assert not known - set(rows), "tests/service/access_matrix.txt lacks these routes; its head says how to add them"
    assert not set(rows) - known, "tests/service/access_matrix.txt has rows that no route answers"
    assert max(rows.values()) == 1


def test_everybody_hears_what_the_table_says(world):
    wrong = []
    for row in ROWS:
        heard = tuple(str(ask(world, row, principal)[0].status_code) for principal in PRINCIPALS)
        if heard != row.statuses:
            wrong.append(f"{row.method} {row.rule} {' '.join(heard)} {row.sends}")
    assert not wrong, "these rows would say what was heard:\n" + "\n".join(wrong)


def of_role(row, name):
    """What the door says to a person with this role: what it says to a key with one of the role's scopes."""
    heard, changes = dict(zip(PRINCIPALS, row.statuses, strict=True)), row.method not in SAFE_METHODS
    if row.rule.startswith(OF_ANY_ROLE):
        return "open"
    if heard["admin"] == "401":
        return "401"
    if row.rule.startswith("/v1/sandbox"):
        return "open" if name == "admin" else "403"
    scopes = [scope for scope in PRINCIPALS if ROLES[name].has_scope(scope, changes)]
    return "open" if {heard[scope] for scope in scopes} - {"403"} else "403"


def of_support_looking_on(row):
    """What the door says to support in A's place: the same as to A, but of nothing that changes anything."""
    if row.rule.startswith(("/v1/admin/", "/v1/sandbox/")):
        return "401"
    return "403" if row.method not in SAFE_METHODS or row.rule in CLOSED_TO_SUPPORT else "open"


def at_the_door(world, row, principal):
    """What is heard before any view runs: 401, 403 or open."""
    headers = {"Authorization": f"Bearer {world.tokens[principal]}"}
    path = filled(row.path(), world.neutral | world.things["A"])
    edge = {"streamsvc.request_id": "req_at_the_door"}
    with world.app.test_request_context(path, method=row.method, headers=headers, environ_overrides=edge):
        try:
            world.app.preprocess_request()
        except Refusal as refusal:
            return str(refusal.status)
        return "open"


def test_to_people_with_roles_and_to_support_looking_on_the_doors_say_what_follows_from_the_table(world):
    doors, wrong = [row for row in ROWS if row.statuses[0] == "401" and row.key not in OPEN_TO_ALL], []
    for row in doors:
        expected = {f"{name} in person": of_role(row, name) for name in ROLES}
        expected["looking on"] = of_support_looking_on(row)
        wrong += [(row.key, who, said) for who, said in expected.items() if at_the_door(world, row, who) != said]
    assert wrong == []
    assert len(doors) > 140


def test_whatever_an_operator_changes_stands_in_the_audit_log_under_their_id(app, world):
    def told():
        with app.app_context():
            actors = sa.select(AuditEvent.actor).order_by(AuditEvent.seq)
            return list(db.session.scalars(actors))

    doors = [row for row in ROWS if row.rule.startswith("/v1/admin/") and not row.rule.startswith(OF_ANY_ROLE)]
    changing = [row for row in doors if row.method != "GET" and row.statuses[0] == "401"]
    untold, asked = [], 0
    for row in changing:
        before = len(told())
        if world.ask(row, "admin in person").status_code < 300:
            asked += 1
            if world.people["admin"] not in told()[before:]:
                untold.append(row.key)
    assert untold == LEFT_UNTOLD
    assert asked > 25


def test_who_has_a_worthless_token_hears_what_one_without_hears():
    for row in ROWS:
        heard = dict(zip(PRINCIPALS, row.statuses, strict=True))
        assert {heard[name] for name in ALIKE_NOBODY} == {heard["anonymous"]}, row.key


def test_head_opens_for_nobody_for_whom_get_does_not(world):
    for row in ROWS:
        if row.method == "GET" and row.statuses[0] == "401":
            assert world.client.head(row.path()).status_code == 401, row.rule


def household(world, name):
    """What a household has, whoever `name` is: one that just came has nothing."""
    return world.things.get(name) or {what: missing(thing) for what, thing in world.things["B"].items()}


def shown(answer):
    return answer.status_code, sorted(answer.headers), answer.data


@pytest.mark.parametrize("asking", ["B", "unverified"])
def test_what_another_household_has_answers_byte_for_byte_like_what_nobody_has(world, asking):
    own, told = household(world, asking), []
    for row in ROWS:
        if row.statuses[PRINCIPALS.index(asking)] == "401":
            continue
        for what in row.placeholders() & set(OWNED):
            theirs, changed = ask(world, row, asking, own | {what: world.things["A"][what]})
            nobodys, _ = ask(world, row, asking, own | {what: missing(world.things["A"][what])})
            name = f"{row.method} {row.rule} {{{what}}}"
            if theirs.status_code < 300:  # the id chooses nothing then; a token in the answer is never the same twice
                assert theirs.status_code == nobodys.status_code, name
                assert world.things["A"][what] not in theirs.text, name
            else:
                assert shown(theirs) == shown(nobodys), name
                assert changed <= COUNTED_ON_REFUSAL, name
            told.append(theirs.status_code)
    assert Counter(told)[404] >= 40, Counter(told)


def keys_in(value):
    """Every key of a JSON document, however deep."""
    if isinstance(value, dict):
        yield from value
        value = value.values()
    if not isinstance(value, str | int | float | None):
        for inner in value:
            yield from keys_in(inner)


def test_no_answer_holds_anything_of_another_household_or_private_to_us(world):
    theirs, seen = world.things["A"], set()
    for row in ROWS:
        if row.statuses[PRINCIPALS.index("B")] != "401":
            answer, _ = ask(world, row, "B", world.things["B"])
            assert not [what for what, thing in theirs.items() if thing.encode() in answer.data], row.key
        for principal in ("A", "admin"):
            answer, _ = ask(world, row, principal)
            if principal == "A":
                seen |= {what for what, thing in theirs.items() if thing.encode() in answer.data}
            if answer.data and answer.is_json and not row.rule.startswith("/openapi"):
                assert not [key for key in keys_in(answer.json) if key.endswith(SECRET_ENDINGS)], row.key
    assert seen >= set(OWNED) | {"email"}, "the check itself: somebody's own answers do hold their things"
