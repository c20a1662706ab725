"""python -m bench.malformed: send broken requests to every operation, from a seed; none may cause a server error.

Each request is a valid one (a row of tests/service/access_matrix.txt) with one or two defects: a value of another type,
an extreme value, a body that two parsers could read differently, an invalid header or query. Every response is checked:
no 5xx, and every error is a problem document that openapi.json describes for its status. The requests are WSGI calls on
a real database, which is restored at intervals. With --plant, the app parses JSON like Python does, lone surrogates
included: the run must find the errors that this causes.

Then a server is started, and HTTP itself is broken: bytes sent over TCP that are no valid request, and no 5xx either.
"""

import argparse
import gzip
import json
import logging
import random
import secrets
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import flask_migrate
import jsonschema

from bench import report
from bench.__main__ import create_database
from bench.servers import environment_without_settings, run_gunicorn
from bench.wire import fuzz_wire
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.http import edge
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.conftest import CHEAP_HASHING, Clock
from tests.worlds.access_world import AccessWorld, fill_placeholders, load_access_matrix

RESTORE_EVERY = 100
READINESS = ("GET", "/readyz")
"""Correctly returns 503, because no worker runs here."""
OAUTH_PATHS = ("/v1/token", "/v1/device-authorizations")
"""Their errors have the format of RFC 6749."""
DEEP = "[" * 100_000 + "]" * 100_000
BOMB = gzip.compress(b"0" * 50_000_000)
TEXTS = (
    *("", " ", "\\u0000", "a\\u0000b", "\\ud800", "\\udfff\\ud800", "\\u202e\\u200b\\ufeff", "\\ufffe", "\\n\\r\\t"),
    *("0000-00-00", "0000-01-01T00:00:00Z", "10000-01-01", "2026-02-30", "0001-01-01", "9999-12-31", "2026-13-01"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "24:00", "Z"),
    *("-1", "0", "1e400", "NaN", "9223372036854775808", "1" * 400, "true", "null", "None", "*", "%", "_", "%00"),
    *(
        "%s%n%x",
        "{0}",
        "{{}}",
        "${x}",
        "../../../x",
        "' OR 1=1 --",
        '\\"',
        "\\\\",
        "a@b@c",
        "@",
        "a@b.c",
        "XX",
        "zz-ZZ",
    ),
    *(
        "Europe/Nowhere",
        "http://[",
        "https://user@:99999/",
        "data:,",
        "İ",
        "ﬃ",
        "٣",
        "😀" * 300,
        "é" * 3_000,
        "x" * 20_000,
    ),
)
VALUES = (
    *("null", "[]", "{}", "true", "false", "0", "-0", "-1", "1", "1.5", "0.1", "1e308", "1e400", "-1e400", "1e-400"),
    *("NaN", "Infinity", "2147483647", "2147483648", "4294967296", "9007199254740993", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775809", "1" + "0" * 400, "9" * 5_000, "01", "+1", "0x1"),
    *("[null]", "[[]]", "[{}]", '{"":""}', '{"a":{"b":[1]}}', '["a","a"]', '{"a":1,"a":2}', '["' + "a" * 300 + '"]'),
    *("[" + ",".join(["1"] * 3_000) + "]", DEEP, '{"a":' * 900 + "1" + "}" * 900, '"' + "x" * 1_000_000 + '"'),
    *(f'"{text}"' for text in TEXTS),
)
QUERIES = [json.loads(f'"{text}"', strict=False) for text in TEXTS if "\\ud" not in text]
HEADERS = {
    "Authorization": (
        "",
        "Bearer",
        "Bearer ",
        "bearer x",
        "Basic eDp4",
        "Bearer sst_",
        "Bearer sk_\xff",
        "Bearer " + "x" * 5_000,
    ),
    "Idempotency-Key": ("", " ", "\xe9", "x" * 5_000, '"quoted"', "a b", "\x7f"),
    "Content-Type": (
        "",
        "application/json; charset=utf-16",
        "application/JSON",
        "text/plain",
        "multipart/form-data",
        "/",
        ";",
    ),
    "Content-Encoding": ("gzip", "identity", "\xff"),
    "If-None-Match": ("*", '"', 'W/"x', "\xff" * 50, ","),
    "If-Match": ("*", '"', "x"),
    "Accept": ("", "text/html", "*/*;q=x", "\xff"),
    "Accept-Language": ("", "*", "\xff", "de;q=2", "x" * 3_000),
    "Cookie": ("__Host-sst=sst_x", "__Host-sst=", "=", "\xff=\xff", ";" * 500),
    "X-Request-Id": ("", "x" * 500, "\xff"),
    "X-Forwarded-For": ("", "::", "not an address", "1.2.3.4, " * 300),
    "Range": ("bytes=0-", "bytes=9-1", "x"),
    "User-Agent": ("", "\xff\x7f", "x" * 5_000),
    "Stripe-Signature": ("t=x", "t=,v1=", "t=99999999999999999999,v1=00"),
}


def broken_bodies(valid: bytes):
    """Variants of a valid body that are broken as a whole."""
    text = valid.decode()
    yield from (
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'""',
        b"\x00",
        b"\xff\xfe",
        valid[:-1],
        valid + valid,
        valid + b"\x00",
    )
    yield from (
        b"\xef\xbb\xbf" + valid,
        text.encode("utf-16"),
        text.encode("utf-32"),
        gzip.compress(valid),
        b"[" + valid + b"]",
    )
    yield from (DEEP.encode(), b'{"\\udfff":1}', b'{"\xff":1}', text.replace("}", ',"extra":1}', 1).encode())
    yield BOMB
    if text.startswith('{"'):
        yield ("{" + text[1 : text.index(":")] + ":0," + text[1:]).encode()


def value_paths(value, path=()):
    """The path of every value in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from value_paths(inner, (*path, key))


def replace_value(value, path, marker):
    """A copy of the document in which the value at `path` is the marker."""
    if not path:
        return marker
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replace_value(value[path[0]], path[1:], marker)
    return copy


class RequestBreaker:
    """Builds the valid request of each row of the access matrix, and breaks it."""

    def __init__(self, world, document, rng):
        self.world, self.document, self.rng = world, document, rng
        self.principals, self.rows = load_access_matrix()
        self.values = world.shared_ids | world.ids_by_household["A"]
        self.operations = {row.key: self._operation(document, row) for row in self.rows}

    @staticmethod
    def _operation(document, row):
        path = "/".join(
            "{" + part.strip("<>").rpartition(":")[2] + "}" if part[:1] == "<" else part for part in row.rule.split("/")
        )
        return document["paths"].get(path, {}).get(row.method.lower(), {})

    def token(self, row):
        """The token of a principal that may call the route."""
        allowed = [name for name, status in zip(self.principals, row.statuses, strict=True) if status[0] == "2"]
        name = next((name for name in ("A", "admin", *allowed) if name in allowed), "A")
        return self.world.tokens[name]

    def broken_request(self, row) -> dict:
        """One request with one or two defects: {path, headers, query_string, data?}."""
        rng, parts = self.rng, dict(self._part(part) for part in row.sends.split(" | "))
        fields = self.operations[row.key].get("requestBody", {}).get("content", {})
        request = {
            "path": fill_placeholders(row.path(), self.values),
            "headers": {"Idempotency-Key": secrets.token_hex(8)},
        }
        if token := self.token(row):
            request["headers"]["Authorization"] = f"Bearer {token}"
        body, query = parts.get("json"), parts.get("query", "")
        content_type = next(iter(fields), "application/json") if body is not None or fields else None
        content_type = "application/x-ndjson" if "ndjson" in parts else content_type
        data = parts.get("ndjson", b"") if body is None else self.encode_body(content_type, body)
        valid = data or b"{}"
        for _ in range(rng.choice((1, 1, 1, 2))):
            target = rng.choices(
                ("value", "body", "query", "path", "header"),
                (8 if body else 0, 2 if content_type else 0.3, 2, 1 if "<" in row.rule else 0, 1),
            )[0]
            if target == "value":
                data = self._body_with_bad_value(row, content_type, body)
            elif target == "body":
                data, content_type = rng.choice(list(broken_bodies(valid))), content_type or "application/json"
            elif target == "query":
                query = self._bad_query(row, query)
            elif target == "path":
                request["path"] = self._bad_path(row)
            else:
                name = rng.choice(list(HEADERS))
                request["headers"][name] = rng.choice(HEADERS[name])
        if content_type and data:
            request["headers"].setdefault("Content-Type", content_type)
            request["data"] = data
        request["query_string"] = query
        return request

    def _part(self, part):
        kind, _, text = part.partition(" ")
        if part[0] == "?":
            return "query", fill_placeholders(part[1:], self.values)
        if kind in ("json", "form"):
            return "json", json.loads(fill_placeholders(text, self.values))
        return (kind, fill_placeholders(text, self.values).encode()) if text else ("-", None)

    @staticmethod
    def encode_body(content_type, body):
        if "form" in (content_type or ""):
            return "&".join(f"{quote(str(k))}={quote(str(v))}" for k, v in body.items()).encode()
        return json.dumps(body).encode()

    def _body_with_bad_value(self, row, content_type, body):
        if "form" in content_type:
            return self.encode_body(content_type, body | {self.rng.choice(list(body)): self.rng.choice(QUERIES)})
        body = body | self._unsent_field(row, content_type, body)
        text = json.dumps(replace_value(body, self.rng.choice(list(value_paths(body))), "@@"))
        return text.replace('"@@"', self.rng.choice(VALUES), 1).encode()

    def _unsent_field(self, row, content_type, body):
        """A documented field that the row does not send, as {name: None}, half of the time; else {}."""
        schema = (
            self.operations[row.key].get("requestBody", {}).get("content", {}).get(content_type, {}).get("schema", {})
        )
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        names = sorted(schema.get("properties", {}).keys() - body.keys())
        return {self.rng.choice(names): None} if names and self.rng.random() < 0.5 else {}

    def _bad_query(self, row, query):
        names = [p["name"] for p in self.operations[row.key].get("parameters", ()) if p.get("in") == "query"]
        name = self.rng.choice([*names, *names, "unknown", ""])
        bad = f"{quote(name)}={quote(self.rng.choice(QUERIES)[:6_000])}"
        return self.rng.choice((bad, f"{query}&{bad}", f"{bad}&{bad}", "%", "=&=", "%ff=%fe", "a" * 8_000, "a=1;b=2"))

    def _bad_path(self, row):
        parts = fill_placeholders(row.path(), self.values).split("/")
        indexes = [index for index, part in enumerate(row.rule.split("/")) if "<" in part]
        bad = self.rng.choice(
            [*QUERIES, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "a/b", ".", "..", "x" * 300]
        )
        parts[self.rng.choice(indexes)] = quote(bad, safe="")
        return "/".join(parts)


class ErrorLog(logging.Handler):
    """Remembers the last exception that the app logged."""

    def __init__(self):
        super().__init__()
        self.last = None
        for name in ("streamsvc", "streamsvc.app"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record):
        if record.exc_info:
            self.last = record.exc_info[1]


class ResponseChecker:
    """Checks whether the OpenAPI document allows a response."""

    def __init__(self, document):
        self.document, self.validators = document, {}

    def find_error(self, row, operation, response) -> str | None:
        """What is wrong with the response, or None."""
        status = response.status_code
        if status >= 500 and not (status == 503 and row.key == READINESS):
            return f"{status}"
        if status < 400:
            return None
        if row.rule in OAUTH_PATHS and response.mimetype == "application/json" and "error" in response.json:
            return None
        if response.mimetype != "application/problem+json":
            return f"{status} as {response.mimetype}"
        responses = operation.get("responses", {})
        described = responses.get(str(status)) or responses.get("default")
        if described is None:
            return None if not operation else f"{status} is not described"
        problem = next(self._validator(described).iter_errors(response.json), None)
        if problem:
            return f"{status}: {problem.message}"
        return None if response.json["status"] == status else f"{status} with the body of {response.json['status']}"

    def _validator(self, response):
        while "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        schema = next(iter(response.get("content", {"": {"schema": {}}}).values()))["schema"]
        key = json.dumps(schema)
        if key not in self.validators:
            resolvable = schema | {"components": self.document["components"]}
            self.validators[key] = jsonschema.Draft202012Validator(resolvable)
        return self.validators[key]


def send_request(app, row, request):
    client = app.test_client(use_cookies=False)
    response = client.open(
        request["path"],
        method=row.method,
        query_string=request["query_string"],
        data=request.get("data"),
        headers=request["headers"],
    )
    response.get_data()
    response.close()
    return response


def fuzz_operations(app, count, rng) -> tuple[Counter, dict[str, tuple]]:
    """Send `count` broken requests; returns (responses by status, {error: (example request, reason)})."""
    document = app.test_client().get("/openapi.json").json
    world, checker, error_log = AccessWorld(app), ResponseChecker(document), ErrorLog()
    breaker, statuses, errors = RequestBreaker(world, document, rng), Counter(), {}
    with progress_bar(count, "Broken requests") as bar:
        for number in range(count):
            row = breaker.rows[number % len(breaker.rows)]
            request = breaker.broken_request(row)
            error_log.last = None
            response = send_request(app, row, request)
            statuses[response.status_code] += 1
            if error := checker.find_error(row, breaker.operations[row.key], response):
                last, kind = error_log.last, type(error_log.last).__name__
                reason = f"{kind}: {str(last)[:150]}" if last else response.text[:150]
                errors.setdefault(f"{row.method} {row.rule}: {error}: {kind}", (request, reason))
            if number % RESTORE_EVERY == RESTORE_EVERY - 1:
                world.restore()
            bar.update(1)
    return statuses, errors


def main():
    parser = argparse.ArgumentParser("python -m bench.malformed", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--wire-requests", type=int, default=5_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (started for the run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", action="store_true", help="parse JSON carelessly: the run must find it")
    options = parser.parse_args()
    if options.plant:
        edge.parse_strict_json = json.loads
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(create_database(options.database, folder))
        settings = Settings(
            database_url=url,
            secret_key=("a secret for benchmarks, long enough",),
            sandbox=True,
            guests=True,
            **CHEAP_HASHING,
        )
        app = create_app(settings.with_defaults(), now=Clock())
        with app.app_context():
            flask_migrate.upgrade()
        print(report.describe_machine())
        print(f"{options.database}, {options.requests} requests, seed {options.seed}", flush=True)
        statuses, errors = fuzz_operations(app, options.requests, random.Random(options.seed))
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
        if not options.plant:
            env = environment_without_settings() | {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
            with run_gunicorn("streamsvc.app:create_app()", env) as host:
                port = int(host.rpartition(":")[2])
                wire_statuses, wire_errors = fuzz_wire(port, options.wire_requests, random.Random(options.seed))
            statuses += wire_statuses
            errors |= {f"on the wire: {response!r}": ({"sent": raw}, "") for raw, response in wire_errors.items()}
    for error, (example, reason) in errors.items():
        shown = {name: value if len(str(value)) < 300 else f"{str(value)[:300]}…" for name, value in example.items()}
        print(f"{error}\n    {reason}\n    {shown}")
    print(f"{statuses.total()} responses: " + ", ".join(f"{n} × {status}" for status, n in sorted(statuses.items())))
    print(f"{len(errors)} errors")
    sys.exit(bool(errors) != options.plant)


if __name__ == "__main__":
    main()
