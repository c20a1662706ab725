"""Mass assignment and SQL injection: schemas limit the fields, and input never becomes part of a statement's text."""

import ast
import itertools
import json
import re
from pathlib import Path

import pytest

from streamsvc.storage.database import db
from tests.conftest import EVERYTHING
from tests.worlds.access_world import AccessWorld, authorized_principal, fill_placeholders, load_access_matrix

SOURCE = Path(__file__).parent.parent.parent / "streamsvc"
PRINCIPALS, ROWS = load_access_matrix()
JSON_ROWS = [row for row in ROWS if row.sends.startswith("json ") and not row.rule.startswith("/v1/webhooks/")]
EXTRA_FIELDS = {
    "role",
    "roles",
    "is_admin",
    "is_staff",
    "scopes",
    "balance",
    "owner",
    "_sa_instance_state",
    "__class__",
}
NEVER_DECLARED = {"account_id", "password_hash", "token_hash", "pin_hash", "email_key", "epoch", "is_admin", "role"}
MARK = "zq9mark"
BUILT_FROM_CONSTANTS = {
    "f'PRAGMA {pragma}'",
    "f'PRAGMA busy_timeout={BUSY_TIMEOUT_MS}'",
    "f'PRAGMA busy_timeout={timeout_ms}'",
    "f'PRAGMA synchronous={level}'",
    """f"{column} IN ({', '.join((repr(word) for word in values))})\"""",
    "'book IN ({})'.format(', '.join(map(repr, BOOKS)))",
}
"""Statements built from constants of the code only: SQLite settings, conditions of indexes."""
BUILT_FROM_NAMES = {
    "f'CREATE DATABASE {_quote(name)} TEMPLATE template0 {locale}'",
    "f'DROP DATABASE IF EXISTS {_quote(name)} WITH (FORCE)'",
    """f"ALTER DATABASE {_quote(scratch)} SET {name} = '{text}'\"""",
    "f'ALTER DATABASE {_quote(self.database)} RENAME TO {_quote(kept)}'",
    "f'ALTER DATABASE {_quote(scratch)} RENAME TO {_quote(self.database)}'",
}
"""Statements of a restore on PostgreSQL, which take no parameters: names of databases, and their settings."""
PAYLOADS = (
    f"{MARK}' OR '1'='1",
    f'{MARK}" OR ""="',
    f"{MARK}'; DROP TABLE accounts; --",
    MARK + "') UNION ALL SELECT 1, 2 --",
    f"{MARK}%' ESCAPE '",
    f"{MARK}\\'; SELECT pg_sleep(5); --",
    f"%s %(x)s :x ? $1 {{0}} {MARK}",
    f"{MARK}* NEAR(a b) AND c:d ^e",
)


@pytest.fixture
def world(app):
    return AccessWorld.for_app(app)


def field_names_to_try():
    return {column.name for table in db.metadata.sorted_tables for column in table.c} | EXTRA_FIELDS


def body_of(world, row):
    return json.loads(
        fill_placeholders(row.sends.removeprefix("json "), world.shared_ids | world.ids_by_household["A"])
    )


def send_row(world, row, body, query=None):
    path = fill_placeholders(row.path(), world.shared_ids | world.ids_by_household["A"])
    headers = {"Authorization": f"Bearer {world.tokens[authorized_principal(row)]}", "Idempotency-Key": "mass"}
    headers |= {"If-Match": "*"} if row.method == "PATCH" else {}
    arguments = {"json": body} if body is not None else {}
    response = world.client.open(path, method=row.method, headers=headers, query_string=query, **arguments)
    response.close()
    return response


def documented_fields(document, row) -> set[str]:
    """Return the fields of the row's request body in this OpenAPI document."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", row.rule)
    for method in (row.method.lower(), "put"):  # a merge patch takes the fields of the resource's PUT
        content = document["paths"][path][method]["requestBody"]["content"]["application/json"]
        schema = content["schema"]
        while "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if schema.get("properties"):
            return set(schema["properties"])
    raise AssertionError(f"{row.key} documents no fields")


@pytest.mark.one_database
def test_a_field_that_the_schema_does_not_name_is_rejected(app, world):
    with app.app_context():
        names, document = field_names_to_try(), app.test_client().get("/openapi.json").json
    for row in JSON_ROWS:
        documented = documented_fields(document, row)
        assert not documented & NEVER_DECLARED or row.rule.startswith("/v1/admin/"), row.key
        extra = names - documented
        response = send_row(world, row, body_of(world, row) | dict.fromkeys(extra, "1"))
        assert response.status_code == 422, row.key
        rejected = {name for name in extra if response.json["errors"].get(name, [""])[0].startswith("Unknown field.")}
        one_by_one = sorted(extra - rejected)  # a route that reports one unknown field at a time
        for name in one_by_one if EVERYTHING else {*one_by_one[::20]} | (EXTRA_FIELDS - rejected):
            response = send_row(world, row, body_of(world, row) | {name: "1"})
            assert (response.status_code, name in response.json["errors"]) == (422, True), (row.key, name)
        assert set(world.restore()) <= {"rate_limit_counters", "audit_events", "idempotency_keys", "api_keys"}, row.key


def paths_of_strings(value, path=()):
    """Yield the path of every string in a JSON document."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of_strings(inner, (*path, key))


def with_text_at(value, path, text):
    """Return a copy of the document with `text` at `path`."""
    copy = json.loads(json.dumps(value))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = text
    return copy


@pytest.mark.either_database
def test_input_never_becomes_part_of_a_statement(world, statements):
    """Each text of each body gets three of the payloads in turn; all of them with `make test-both`."""
    requests, turns = 0, itertools.cycle(PAYLOADS)
    for row in ROWS:
        if row.method == "GET" and row.sends.startswith("?"):
            name = row.sends[1:].partition("=")[0]
            requests += len([send_row(world, row, None, {name: payload}) for payload in PAYLOADS])
        elif row in JSON_ROWS:
            body = body_of(world, row)
            for place in paths_of_strings(body):
                payloads = PAYLOADS if EVERYTHING else itertools.islice(turns, 3)
                responses = [send_row(world, row, with_text_at(body, place, payload)) for payload in payloads]
                assert {response.status_code for response in responses} <= {
                    200,
                    201,
                    202,
                    204,
                    401,
                    403,
                    404,
                    409,
                    422,
                    429,
                }
                requests += len(responses)
                world.restore()
    assert requests > 400
    assert len(set(statements)) > 50
    assert not [text for text in statements if MARK in text]


def test_the_recorder_detects_a_built_statement(app, statements):
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT '" + PAYLOADS[0].replace("'", "") + "'")
    assert [text for text in statements if MARK in text]


def test_a_path_that_contains_sql_is_not_found(world):
    for row in ROWS:
        if "<" in row.rule and row.method == "GET" and row.rule.startswith("/v1/"):
            path = re.sub(r"<[^>]+>", f"{MARK}'%20OR%20'1'='1", row.rule)
            token = world.tokens[authorized_principal(row)]
            response = world.client.get(path, headers={"Authorization": f"Bearer {token}"})
            expects_grant = row.statuses[PRINCIPALS.index("A")] == "401" and not row.rule.startswith("/v1/admin")
            assert response.status_code in (404, 422) or (expects_grant and response.status_code == 401), row.key


SQL_FUNCTIONS = ("text", "exec_driver_sql", "execute", "executescript")


def find_built_sql(tree):
    """Yield the SQL arguments of calls that are built in the call: formatted, joined or interpolated."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text = node.args[0]
            formatted = isinstance(text, ast.Call) and getattr(text.func, "attr", "") == "format"
            joined = isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add | ast.Mod)
            if name in SQL_FUNCTIONS and (formatted or joined or isinstance(text, ast.JoinedStr)):
                yield ast.unparse(text)


@pytest.mark.parametrize("source", ['text(f"{x}")', 'run.execute("a" + x)', 'text("%s" % x)', 'text("{}".format(x))'])
def test_the_check_finds_built_sql(source):
    assert len(list(find_built_sql(ast.parse(source)))) == 1


def test_no_statement_is_built_from_strings():
    found = {
        text
        for path in SOURCE.rglob("*.py")
        if "migrations" not in path.parts
        for text in find_built_sql(ast.parse(path.read_text()))
    }
    assert found == BUILT_FROM_CONSTANTS | BUILT_FROM_NAMES
