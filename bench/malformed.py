"""python -m bench.malformed: broken requests to every operation, from a seed; none may be answered by a fault of ours.

Each request is the operation's right one (a row of tests/service/access_matrix.txt) with one or two things wrong: a
value of another kind, an extreme of the right one, a body that two readers could understand differently, a header or
a query that makes no sense. Every answer is looked at: no 5xx; every error a problem document that openapi.json
describes, under the status that it says. WSGI calls on a real database; what a request changed is put back now and
then. --plant has the app read JSON as Python does, half characters and all: the run must find what comes of it.
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
from bench.__main__ import database
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.http import edge
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.conftest import CHEAP_HASHING, Clock
from tests.worlds.access_world import AccessWorld, fill_placeholders, load_access_matrix

BEFORE_RESTORING = 100
UNREADY = ("GET", "/readyz")
"""No worker runs here, so this one says 503, rightly."""
OF_OAUTH = ("/v1/token", "/v1/device-authorizations")
"""Their errors have a form of their own (RFC 6749)."""
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


def whole_bodies(good: bytes):
    """Ways to break a body as a whole."""
    text = good.decode()
    yield from (b"", b"{", b"null", b"[]", b"3", b'""', b"\x00", b"\xff\xfe", good[:-1], good + good, good + b"\x00")
    yield from (
        b"\xef\xbb\xbf" + good,
        text.encode("utf-16"),
        text.encode("utf-32"),
        gzip.compress(good),
        b"[" + good + b"]",
    )
    yield from (DEEP.encode(), b'{"\\udfff":1}', b'{"\xff":1}', text.replace("}", ',"extra":1}', 1).encode())
    yield BOMB
    if text.startswith('{"'):
        yield ("{" + text[1 : text.index(":")] + ":0," + text[1:]).encode()


def places(value, path=()):
    """The path of every value within a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def put(value, path, marker):
    if not path:
        return marker
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], marker)
    return copy


class Requests:
    """Right requests, and what can go wrong with them."""

    def __init__(self, world, document, chance):
        self.world, self.document, self.chance = world, document, chance
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
        """Somebody for whom the route opens."""
        open_to = [name for name, said in zip(self.principals, row.statuses, strict=True) if said[0] == "2"]
        name = next((one for one in ("A", "admin", *open_to) if one in open_to), "A")
        return self.world.tokens[name]

    def broken(self, row) -> dict:
        """The arguments of one request with one or two things wrong."""
        chance, parts = self.chance, dict(self._part(part) for part in row.sends.split(" | "))
        fields = self.operations[row.key].get("requestBody", {}).get("content", {})
        asked = {
            "path": fill_placeholders(row.path(), self.values),
            "headers": {"Idempotency-Key": secrets.token_hex(8)},
        }
        if token := self.token(row):
            asked["headers"]["Authorization"] = f"Bearer {token}"
        body, query = parts.get("json"), parts.get("query", "")
        kind = next(iter(fields), "application/json") if body is not None or fields else None
        kind = "application/x-ndjson" if "ndjson" in parts else kind
        data = parts.get("ndjson", b"") if body is None else self.encoded(kind, body)
        right = data or b"{}"
        for _ in range(chance.choice((1, 1, 1, 2))):
            what = chance.choices(
                ("value", "body", "query", "path", "header"),
                (8 if body else 0, 2 if kind else 0.3, 2, 1 if "<" in row.rule else 0, 1),
            )[0]
            if what == "value":
                data = self._with_a_bad_value(row, kind, body)
            elif what == "body":
                data, kind = chance.choice(list(whole_bodies(right))), kind or "application/json"
            elif what == "query":
                query = self._bad_query(row, query)
            elif what == "path":
                asked["path"] = self._bad_path(row)
            else:
                name = chance.choice(list(HEADERS))
                asked["headers"][name] = chance.choice(HEADERS[name])
        if kind and data:
            asked["headers"].setdefault("Content-Type", kind)
            asked["data"] = data
        asked["query_string"] = query
        return asked

    def _part(self, part):
        kind, _, text = part.partition(" ")
        if part[0] == "?":
            return "query", fill_placeholders(part[1:], self.values)
        if kind in ("json", "form"):
            return "json", json.loads(fill_placeholders(text, self.values))
        return (kind, fill_placeholders(text, self.values).encode()) if text else ("-", None)

    @staticmethod
    def encoded(kind, body):
        if "form" in (kind or ""):
            return "&".join(f"{quote(str(k))}={quote(str(v))}" for k, v in body.items()).encode()
        return json.dumps(body).encode()

    def _with_a_bad_value(self, row, kind, body):
        if "form" in kind:
            return self.encoded(kind, body | {self.chance.choice(list(body)): self.chance.choice(QUERIES)})
        body = body | self._one_more(row, kind, body)
        text = json.dumps(put(body, self.chance.choice(list(places(body))), "@@"))
        return text.replace('"@@"', self.chance.choice(VALUES), 1).encode()

    def _one_more(self, row, kind, body):
        """A field that the document names and the row does not send; {} where there is none."""
        schema = self.operations[row.key].get("requestBody", {}).get("content", {}).get(kind, {}).get("schema", {})
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        names = sorted(schema.get("properties", {}).keys() - body.keys())
        return {self.chance.choice(names): None} if names and self.chance.random() < 0.5 else {}

    def _bad_query(self, row, query):
        names = [p["name"] for p in self.operations[row.key].get("parameters", ()) if p.get("in") == "query"]
        name = self.chance.choice([*names, *names, "unknown", ""])
        bad = f"{quote(name)}={quote(self.chance.choice(QUERIES)[:6_000])}"
        return self.chance.choice(
            (bad, f"{query}&{bad}", f"{bad}&{bad}", "%", "=&=", "%ff=%fe", "a" * 8_000, "a=1;b=2")
        )

    def _bad_path(self, row):
        gap = fill_placeholders(row.path(), self.values).split("/")
        places = [at for at, part in enumerate(row.rule.split("/")) if "<" in part]
        bad = self.chance.choice(
            [*QUERIES, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "a/b", ".", "..", "x" * 300]
        )
        gap[self.chance.choice(places)] = quote(bad, safe="")
        return "/".join(gap)


class Faults(logging.Handler):
    """What the app's log told with a traceback."""

    def __init__(self):
        super().__init__()
        self.last = None
        for name in ("streamsvc", "streamsvc.app"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record):
        if record.exc_info:
            self.last = record.exc_info[1]


class Judge:
    """Whether an answer is one that the document allows."""

    def __init__(self, document):
        self.document, self.known = document, {}

    def fault(self, row, operation, answer) -> str | None:
        status = answer.status_code
        if status >= 500 and not (status == 503 and row.key == UNREADY):
            return f"{status}"
        if status < 400:
            return None
        if row.rule in OF_OAUTH and answer.mimetype == "application/json" and "error" in answer.json:
            return None
        if answer.mimetype != "application/problem+json":
            return f"{status} as {answer.mimetype}"
        said = operation.get("responses", {})
        described = said.get(str(status)) or said.get("default")
        if described is None:
            return None if not operation else f"{status} is not described"
        problem = next(self._validator(described).iter_errors(answer.json), None)
        if problem:
            return f"{status}: {problem.message}"
        return None if answer.json["status"] == status else f"{status} told as {answer.json['status']}"

    def _validator(self, response):
        while "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        schema = next(iter(response.get("content", {"": {"schema": {}}}).values()))["schema"]
        key = json.dumps(schema)
        if key not in self.known:
            whole = schema | {"components": self.document["components"]}
            self.known[key] = jsonschema.Draft202012Validator(whole)
        return self.known[key]


def send(app, row, asked):
    client = app.test_client(use_cookies=False)
    answer = client.open(
        asked["path"],
        method=row.method,
        query_string=asked["query_string"],
        data=asked.get("data"),
        headers=asked["headers"],
    )
    answer.get_data()
    answer.close()
    return answer


def fuzz(app, count, chance) -> tuple[Counter, dict[str, tuple]]:
    """(answers by status, {fault: an example})."""
    document = app.test_client().get("/openapi.json").json
    world, judge, faults = AccessWorld(app), Judge(document), Faults()
    requests, statuses, found = Requests(world, document, chance), Counter(), {}
    with progress_bar(count, "Broken requests") as bar:
        for number in range(count):
            row = requests.rows[number % len(requests.rows)]
            asked = requests.broken(row)
            faults.last = None
            answer = send(app, row, asked)
            statuses[answer.status_code] += 1
            if fault := judge.fault(row, requests.operations[row.key], answer):
                why = f"{type(faults.last).__name__}: {str(faults.last)[:150]}" if faults.last else answer.text[:150]
                found.setdefault(f"{row.method} {row.rule}: {fault}: {type(faults.last).__name__}", (asked, why))
            if number % BEFORE_RESTORING == BEFORE_RESTORING - 1:
                world.restore()
            bar.update(1)
    return statuses, found


def main():
    parser = argparse.ArgumentParser("python -m bench.malformed", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (one is started)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", action="store_true", help="read JSON carelessly: it must be found")
    asked = parser.parse_args()
    if asked.plant:
        edge.parse_strict_json = json.loads
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(database(asked.database, folder))
        settings = Settings(
            database_url=url, secret_key=("a secret for measuring alone, long enough",), sandbox=True, **CHEAP_HASHING
        )
        app = create_app(settings.with_defaults(), now=Clock())
        with app.app_context():
            flask_migrate.upgrade()
        print(f"{report.machine()}\n{asked.database}, {asked.requests} requests, seed {asked.seed}", flush=True)
        statuses, found = fuzz(app, asked.requests, random.Random(asked.seed))
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
    for fault, (example, why) in found.items():
        shown = {name: value if len(str(value)) < 300 else f"{str(value)[:300]}…" for name, value in example.items()}
        print(f"{fault}\n    {why}\n    {shown}")
    print(f"{statuses.total()} answers: " + ", ".join(f"{n} × {status}" for status, n in sorted(statuses.items())))
    print(f"{len(found)} faults")
    sys.exit(bool(found) != asked.plant)


if __name__ == "__main__":
    main()
