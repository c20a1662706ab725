"""Nobody sets what a schema does not name, and nothing that a client sends becomes part of a statement's text."""

import ast
import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc.storage.database import db
from tests.worlds.access_world import World, filled, table, who_gets_in

SOURCE = Path(__file__).parent.parent.parent / "streamsvc"
_, ROWS = table()
JSON_ROWS = [row for row in ROWS if row.sends.startswith("json ") and row.rule != "/v1/webhooks/stripe"]
ALSO_TRIED = {"role", "roles", "is_admin", "is_staff", "scopes", "balance", "owner", "_sa_instance_state", "__class__"}
NEVER_DECLARED = {"account_id", "password_hash", "token_hash", "pin_hash", "email_key", "epoch", "is_admin", "role"}
MARK = "zq9mark"
OF_CONSTANTS = {
    "f'PRAGMA {pragma}'",
    """f"{column} IN ({', '.join((repr(word) for word in values))})\"""",
    "'book IN ({})'.format(', '.join(map(repr, BOOKS)))",
}
"""Texts put together of words that stand in the code, nothing else: settings of SQLite, conditions of indexes."""
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
    return World.of(app)


def columns():
    return {column.name for one in db.metadata.sorted_tables for column in one.c} | ALSO_TRIED


def body_of(world, row):
    return json.loads(filled(row.sends.removeprefix("json "), world.neutral | world.things["A"]))


def send(world, row, body, query=None):
    path = filled(row.path(), world.neutral | world.things["A"])
    headers = {"Authorization": f"Bearer {world.tokens[who_gets_in(row)]}", "Idempotency-Key": "mass"}
    headers |= {"If-Match": "*"} if row.method == "PATCH" else {}
    sent = {"json": body} if body is not None else {}
    answer = world.client.open(path, method=row.method, headers=headers, query_string=query, **sent)
    answer.close()
    return answer


def declared(app, row) -> set[str]:
    """The fields that the OpenAPI document names for the row's body."""
    document = app.test_client().get("/openapi.json").json
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", row.rule)
    for method in (row.method.lower(), "put"):  # a merge patch takes what a PUT of the same thing takes
        content = document["paths"][path][method]["requestBody"]["content"]["application/json"]
        schema = content["schema"]
        while "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if schema.get("properties"):
            return set(schema["properties"])
    raise AssertionError(f"{row.key} names no fields")


def test_no_write_takes_a_field_that_its_schema_does_not_name(app, world):
    with app.app_context():
        names = columns()
    for row in JSON_ROWS:
        known = declared(app, row)
        assert not known & NEVER_DECLARED or row.rule.startswith("/v1/admin/"), row.key
        extra = names - known
        answer = send(world, row, body_of(world, row) | dict.fromkeys(extra, "1"))
        assert answer.status_code == 422, row.key
        told = {name for name in extra if answer.json["errors"].get(name) == ["Unknown field."]}
        for name in extra - told:  # a route that tells of one field at a time
            answer = send(world, row, body_of(world, row) | {name: "1"})
            assert (answer.status_code, name in answer.json["errors"]) == (422, True), (row.key, name)
        assert set(world.restore()) <= {"rate_limit_counters", "audit_events", "idempotency_keys", "api_keys"}, row.key


def strings_in(value, path=()):
    """The path of every text in a JSON document."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings_in(inner, (*path, key))


def put(value, path, text):
    """The document with `text` at `path`."""
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = text
    return copy


class Heard:
    """The texts of all statements that reach the database, both engines, whoever sends them."""

    def __init__(self, app):
        self.texts = set()
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "before_cursor_execute", self.hear)

    def hear(self, connection, cursor, text, *rest):
        self.texts.add(text)


def test_what_a_client_sends_never_becomes_part_of_a_statement(app, world):
    heard, asked = Heard(app), 0
    for row in ROWS:
        if row.method == "GET" and row.sends.startswith("?"):
            name = row.sends[1:].partition("=")[0]
            asked += len([send(world, row, None, {name: payload}) for payload in PAYLOADS])
        elif row in JSON_ROWS:
            body = body_of(world, row)
            for place in strings_in(body):
                answers = [send(world, row, put(body, place, payload)) for payload in PAYLOADS]
                assert {answer.status_code for answer in answers} <= {200, 201, 202, 204, 401, 403, 404, 409, 422, 429}
                asked += len(answers)
                world.restore()
    assert asked > 400
    assert len(heard.texts) > 50
    assert not [text for text in heard.texts if MARK in text]


def test_the_check_itself_hears_a_built_statement(app):
    heard = Heard(app)
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT '" + PAYLOADS[0].replace("'", "") + "'")
    assert [text for text in heard.texts if MARK in text]


def test_paths_with_sql_in_them_are_not_found(world):
    for row in ROWS:
        if "<" in row.rule and row.method == "GET" and row.rule.startswith("/v1/"):
            path = re.sub(r"<[^>]+>", f"{MARK}'%20OR%20'1'='1", row.rule)
            token = world.tokens[who_gets_in(row)]
            answer = world.client.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in (404, 422), row.key


TAKES_SQL = ("text", "exec_driver_sql", "execute", "executescript")


def built(tree):
    """Calls that hand a text to the database which is put together on the spot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text = node.args[0]
            formatted = isinstance(text, ast.Call) and getattr(text.func, "attr", "") == "format"
            joined = isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add | ast.Mod)
            if name in TAKES_SQL and (formatted or joined or isinstance(text, ast.JoinedStr)):
                yield ast.unparse(text)


@pytest.mark.parametrize("source", ['text(f"{x}")', 'run.execute("a" + x)', 'text("%s" % x)', 'text("{}".format(x))'])
def test_the_lint_itself_finds_built_sql(source):
    assert len(list(built(ast.parse(source)))) == 1


def test_no_statement_is_put_together_from_texts():
    found = {
        text
        for path in SOURCE.rglob("*.py")
        if "migrations" not in path.parts
        for text in built(ast.parse(path.read_text()))
    }
    assert found == OF_CONSTANTS
