"""Compares the answers of peers with streamsvc's, field by field, before any of them is timed.

On the seeded database, where each viewer may see every title, and on a copy in which rights, ratings, profiles, plans
and sessions differ, so that what decides about visibility is compared, too.
"""

import http.client
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import servers
from bench.accounts import local_app_context
from bench.hot_paths import HOT_PATHS, Request
from bench.peers.stacks import PATHS, PEERS

SAMPLE = 60
"""Requests compared on each path."""
LIMITS = (Path(__file__).parent / "sql" / "limits.sql").read_text()


class DifferentAnswer(AssertionError):
    """A peer answers a request differently."""


def check_peers(service, names: list[str]) -> None:
    """Compare the answers of these peers with those of streamsvc. Raises DifferentAnswer."""
    service.reset()
    requests = sample_requests(service)
    with TemporaryDirectory(prefix="streamsvc-peers-") as folder:
        copy = service.env | {"STREAMSVC_DATABASE_URL": f"sqlite:///{folder}/limited.sqlite3"}
        with closing(sqlite3.connect(database_path(copy))) as connection:
            with closing(sqlite3.connect(database_path(service.env))) as original:
                original.backup(connection)
            connection.executescript(LIMITS)
        for env in (service.env, copy):
            with local_app_context(env) as app:
                client = app.test_client()
                expected = [client.open(request.environ()) for request in requests]
                env = peer_environment(env, app)
            for name in names:
                with servers.run_server(PEERS[name].kind, PEERS[name].app, env) as server:
                    for request, response in zip(requests, expected, strict=True):
                        body = response.json if response.status_code == 200 else None
                        compare_answers(name, request, (response.status_code, body), fetch(server.host, request))


def sample_requests(service) -> list[Request]:
    """The first viewers' requests on each path, and what is refused."""
    ways = dict.fromkeys(HOT_PATHS[path].requests for path in PATHS)
    sampled = [request for list_requests in ways for request in list_requests(service)[:SAMPLE]]
    refused = [Request("GET", request.path, token) for request in sampled[::SAMPLE] for token in ("sst_wrong", None)]
    unknown = Request("GET", "/v1/catalog/titles/ttl_unknown", service.tokens[0])
    return [*sampled, *refused, unknown]


def peer_environment(env: dict, app) -> dict:
    """The environment of a peer on the database of `env`: cursors are signed with the app's key."""
    return env | {"BENCH_CURSOR_KEY": app.extensions["settings"].secret_key[0]}


def database_path(env: dict) -> str:
    return env["STREAMSVC_DATABASE_URL"].removeprefix("sqlite:///")


def fetch(host: str, request: Request) -> tuple[int, Any]:
    """The status and, of a success, the JSON of a response."""
    headers = {"Authorization": f"Bearer {request.token}"} if request.token else {}
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request(request.method, request.path, headers=headers)
        response = connection.getresponse()
        content = response.read()
    return response.status, json.loads(content) if response.status == 200 else None


def compare_answers(name: str, request: Request, ours: tuple[int, Any], theirs: tuple[int, Any]) -> None:
    """Raises DifferentAnswer with the first difference."""
    for what, expected, actual in (("status", ours[0], theirs[0]), ("", ours[1], theirs[1])):
        found = find_difference(expected, actual, what)
        if found:
            raise DifferentAnswer(f"{name}, {request.method} {request.path}: {found}")


def find_difference(ours: Any, theirs: Any, where: str = "") -> str | None:
    """Return the first difference between two JSON documents; numbers are equal by value, in any order of members."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if key not in ours or key not in theirs:
                return f"{where}.{key} is only in {'streamsvc' if key in ours else 'the peer'}'s answer"
            if found := find_difference(ours[key], theirs[key], f"{where}.{key}"):
                return found
        return None
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        found = (find_difference(*pair, f"{where}[{n}]") for n, pair in enumerate(zip(ours, theirs, strict=True)))
        return next(filter(None, found), None)
    if ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool):
        return None
    return f"{where or 'the answer'} is {shorten(theirs)}, streamsvc's is {shorten(ours)}"


def shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
