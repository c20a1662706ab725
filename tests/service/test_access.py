"""Authorization: every route × method × principal, and other accounts' resources look like unknown ones.

tests/service/access_matrix.txt has the status that each principal gets; its header explains how to add a row.
"""

from collections import Counter

import pytest
import sqlalchemy as sa

from streamsvc.models import AuditEvent
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.roles import ROLES
from streamsvc.storage.database import SAFE_METHODS, db
from tests.conftest import EVERYTHING
from tests.worlds.access_world import (
    OWNED_RESOURCES,
    AccessWorld,
    fill_placeholders,
    list_routes,
    load_access_matrix,
    make_unknown_id,
)

PRINCIPALS, ROWS = load_access_matrix()
INVALID_TOKENS = ("ended", "disabled", "revoked")
"""Principals whose token is no longer valid: they get what anonymous requests get."""
TABLES_CHANGED_BY_ERRORS = {"rate_limit_counters", "audit_events", "idempotency_keys", "api_keys"}
"""Tables that a request with an error response may change."""
SECRET_SUFFIXES = ("_hash", "_encrypted", "_ciphertext", "request_key")
"""Columns with these suffixes never appear in a response."""
OWN_OPERATOR_ROUTES = ("/v1/admin/sessions", "/v1/admin/credentials", "/v1/admin/overview")
"""Routes for an operator's own resources, or for what their role may see: open to every role, closed to API keys."""
OF_VIEWERS = {"/v1/sandbox/bank/payments/<payment_id>"}
"""Routes of the sandbox that are not for operators."""
PUBLIC_WITH_401 = {
    ("POST", "/v1/admin/sessions"),
    ("GET", "/v1/playback/verify"),
    ("GET", "/v1/playback/<stream_id>/manifest.mpd"),
    ("GET", "/v1/playback/<stream_id>/master.m3u8"),
    ("POST", "/v1/playback/<stream_id>/beacon"),
}
"""Public routes whose view itself responds 401 to the row's request."""
NOT_AUDITED = [("POST", "/v1/admin/explain"), ("POST", "/v1/admin/invoice-previews")]
"""A POST that changes nothing."""
OPENED = [
    *("channels", "channels/<channel_id>", "channels/<channel_id>/programmes"),
    *("collections", "collections/<collection_id>", "episodes/<episode_id>", "filters", "genres", "home"),
    *("people/<person_id>", "programmes", "search", "suggestions"),
    *("titles", "titles/<title_id>", "titles/<title_id>/episodes"),
    *("titles/<title_id>/poster.svg", "titles/<title_id>/seasons"),
]
"""Routes below /v1/catalog that a public catalogue opens to visitors without a token."""
OWNER_ONLY_READS = {
    "/v1/account/export",
    "/v1/gift-purchases",
    "/v1/gift-purchases/<purchase_id>",
    "/v1/payment-methods",
}
"""Routes that only the owner of an account may read."""


@pytest.fixture
def world(app):
    return AccessWorld.for_app(app)


def is_denied(response):
    """Return whether authentication denied the request before any view ran."""
    return response.status_code in (401, 403) and response.json["code"] in (
        "not_signed_in",
        "insufficient_scope",
        "kids_profile",
        "sign_up_required",
    )


def send_and_restore(world, row, principal, ids=None):
    """Return the response and the names of the tables that the request changed. Restores the database."""
    response = world.send_request(row, principal, ids)
    changed = set() if row.method == "GET" or is_denied(response) else set(world.restore())
    return response, changed


def test_every_route_has_a_row_and_every_row_a_route(app):
    rows = Counter(row.key for row in ROWS)
    routes = list_routes(app)
    assert not routes - set(rows), "tests/service/access_matrix.txt lacks these routes; its header says how to add them"
    assert not set(rows) - routes, "tests/service/access_matrix.txt has rows without a route"
    assert max(rows.values()) == 1


def test_every_principal_gets_the_status_of_the_matrix(world, database):
    """On SQLite every cell, on PostgreSQL each kind of response of a row once; `make test-both` sends all on both.

    Of the denials, PostgreSQL gets the first of each kind for each principal: they are the same code before any view.
    """
    wrong, decided = [], set()
    for row in ROWS:
        statuses = []
        for principal, expected in zip(PRINCIPALS, row.statuses, strict=True):
            kind = (principal, expected) if expected in ("401", "403") else (row.key, expected)
            if not EVERYTHING and database == "postgresql" and kind in decided:
                statuses.append(expected)
                continue
            decided.add(kind)
            statuses.append(str(send_and_restore(world, row, principal)[0].status_code))
        if tuple(statuses) != row.statuses:
            wrong.append(f"{row.method} {row.rule} {' '.join(statuses)} {row.sends}")
    assert not wrong, "the rows with the actual statuses:\n" + "\n".join(wrong)


def expected_for_role(row, name):
    """Return what an operator with this role gets before the view runs: what a key with one of its scopes gets."""
    statuses, changes = dict(zip(PRINCIPALS, row.statuses, strict=True)), row.method not in SAFE_METHODS
    if row.rule.startswith(OWN_OPERATOR_ROUTES):
        return "open"
    if statuses["admin"] == "401":
        return "401"
    if row.rule.startswith("/v1/sandbox"):
        return "open" if name == "admin" else "403"
    scopes = [scope for scope in PRINCIPALS if ROLES[name].has_scope(scope, changes)]
    return "open" if {statuses[scope] for scope in scopes} - {"403"} else "403"


def expected_for_impersonation(row):
    """Return what support impersonating A gets before the view runs: what A gets, but read-only."""
    if row.rule.startswith(("/v1/admin/", "/v1/sandbox/")) and row.rule not in OF_VIEWERS:
        return "401"
    return "403" if row.method not in SAFE_METHODS or row.rule in OWNER_ONLY_READS else "open"


def guard_result(world, row, principal):
    """Return what authentication decides before any view runs: 401, 403 or open."""
    token = world.tokens[principal]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = fill_placeholders(row.path(), world.shared_ids | world.ids_by_household["A"])
    environ = {"streamsvc.request_id": "req_guard"}
    with world.app.test_request_context(path, method=row.method, headers=headers, environ_overrides=environ):
        try:
            world.app.preprocess_request()
        except Refusal as refusal:
            return str(refusal.status)
        return "open"


@pytest.mark.either_database
def test_roles_and_impersonation_get_what_follows_from_the_matrix(world):
    rows, wrong = [row for row in ROWS if row.statuses[0] == "401" and row.key not in PUBLIC_WITH_401], []
    for row in rows:
        expected = {f"{name} session": expected_for_role(row, name) for name in ROLES}
        expected["impersonation"] = expected_for_impersonation(row)
        wrong += [
            (row.key, principal, result)
            for principal, result in expected.items()
            if guard_result(world, row, principal) != result
        ]
    assert wrong == []
    assert len(rows) > 140


@pytest.mark.either_database
def test_a_public_catalogue_opens_its_reads_and_nothing_else(world, monkeypatch):
    settings = world.app.extensions["settings"].replace(catalog="public")
    monkeypatch.setitem(world.app.extensions, "settings", settings)
    closed = [row for row in ROWS if row.statuses[0] == "401" and row.key not in PUBLIC_WITH_401]
    opened = [row for row in closed if guard_result(world, row, "anonymous") == "open"]
    assert sorted((row.method, row.rule) for row in opened) == [("GET", f"/v1/catalog/{rule}") for rule in OPENED]
    for row in opened:
        assert world.send_request(row, "anonymous").status_code == 200, row.key
        assert {guard_result(world, row, principal) for principal in INVALID_TOKENS} == {"401"}


@pytest.mark.either_database
def test_every_change_by_an_operator_is_audited_under_their_id(app, world):
    def list_actors():
        with app.app_context():
            actors = sa.select(AuditEvent.actor).order_by(AuditEvent.seq)
            return list(db.session.scalars(actors))

    rows = [row for row in ROWS if row.rule.startswith("/v1/admin/") and not row.rule.startswith(OWN_OPERATOR_ROUTES)]
    changing = [row for row in rows if row.method != "GET" and row.statuses[0] == "401"]
    not_audited, succeeded = [], 0
    for row in changing:
        before = len(list_actors())
        if world.send_request(row, "admin session").status_code < 300:
            succeeded += 1
            if world.operator_ids["admin"] not in list_actors()[before:]:
                not_audited.append(row.key)
    assert not_audited == NOT_AUDITED
    assert succeeded > 25


def test_an_invalid_token_gets_what_no_token_gets():
    for row in ROWS:
        statuses = dict(zip(PRINCIPALS, row.statuses, strict=True))
        assert {statuses[name] for name in INVALID_TOKENS} == {statuses["anonymous"]}, row.key


@pytest.mark.either_database
def test_head_is_closed_wherever_get_is(world):
    for row in ROWS:
        if row.method == "GET" and row.statuses[0] == "401":
            assert world.client.head(row.path()).status_code == 401, row.rule


def ids_of(world, name):
    """Return the resource ids of a household; unknown ids for a principal that owns nothing."""
    unknown = {resource: make_unknown_id(value) for resource, value in world.ids_by_household["B"].items()}
    return world.ids_by_household.get(name) or unknown


def comparable_parts(response):
    return response.status_code, sorted(response.headers), response.data


@pytest.mark.either_database
@pytest.mark.parametrize("principal", ["B", "unverified"])
def test_another_households_resources_look_exactly_like_unknown_ones(world, principal):
    own, statuses = ids_of(world, principal), []
    for row in ROWS:
        if row.statuses[PRINCIPALS.index(principal)] == "401":
            continue
        for resource in row.placeholders() & set(OWNED_RESOURCES):
            foreign_id = world.ids_by_household["A"][resource]
            foreign, changed = send_and_restore(world, row, principal, own | {resource: foreign_id})
            unknown, _ = send_and_restore(world, row, principal, own | {resource: make_unknown_id(foreign_id)})
            name = f"{row.method} {row.rule} {{{resource}}}"
            if foreign.status_code < 300:  # the id selects nothing then; a token in the response differs every time
                assert foreign.status_code == unknown.status_code, name
                assert foreign_id not in foreign.text, name
            else:
                assert comparable_parts(foreign) == comparable_parts(unknown), name
                assert changed <= TABLES_CHANGED_BY_ERRORS, name
            statuses.append(foreign.status_code)
    assert Counter(statuses)[404] >= 40, Counter(statuses)


def keys_in(value):
    """Yield every key of a JSON document, at any depth."""
    if isinstance(value, dict):
        yield from value
        value = value.values()
    if not isinstance(value, str | int | float | None):
        for inner in value:
            yield from keys_in(inner)


@pytest.mark.one_database
def test_no_response_contains_another_households_data_or_internal_secrets(world):
    foreign_ids, seen = world.ids_by_household["A"], set()
    for row in ROWS:
        if row.statuses[PRINCIPALS.index("B")] != "401":
            response, _ = send_and_restore(world, row, "B", world.ids_by_household["B"])
            assert not [name for name, value in foreign_ids.items() if value.encode() in response.data], row.key
        for principal in ("A", "admin"):
            response, _ = send_and_restore(world, row, principal)
            if principal == "A":
                seen |= {name for name, value in foreign_ids.items() if value.encode() in response.data}
            if response.data and response.is_json and not row.rule.startswith("/openapi"):
                assert not [key for key in keys_in(response.json) if key.endswith(SECRET_SUFFIXES)], row.key
    assert seen >= set(OWNED_RESOURCES) | {"email"}, "the check itself: an owner's responses do contain their data"
