"""The hot paths: for each, the requests that the viewers of a SeededService send."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bench.http_client import encode_request
from bench.seeded_service import PASSWORD, SeededService

GENRES = ("drama", "comedy", "action", "thriller", "romance", "horror", "crime", "adventure")
QUERIES = (
    "spider man",
    "amelie",
    "god",
    "star wars",
    "the",
    "lov",
    "matrix",
    "shawshank",
    "night of",
    "juno",
    "alien",
)
KEPT_HOMES = 50
"""How many viewers read their home page, no more than requests that warm a path up."""
MISSPELT = ("spiderman retruns", "godfahter", "shawshenk", "matirx", "jurasic park")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str | None = None
    body: dict | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, host: str) -> bytes:
        """The request as HTTP/1.1 bytes."""
        return encode_request(host, self.method, self.path, self.body, self.token, dict(self.headers))

    def environ(self) -> dict:
        """The request as a WSGI environment."""
        from werkzeug.test import EnvironBuilder

        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= dict(self.headers)
        return EnvironBuilder(self.path, method=self.method, headers=headers, json=self.body).get_environ()


@dataclass(frozen=True)
class HotPath:
    """What viewers ask for. `is_fresh`: of a service that keeps no responses; `is_conditional`: they have it already.

    `connections`: how many ask at a time, where it is not the run's number: a process refuses sign-ins that would wait.
    """

    requests: Callable[[SeededService], list[Request]]
    is_fresh: bool = False
    is_conditional: bool = False
    connections: int | None = None


def call_app(app, environ: dict) -> tuple[str, bytes]:
    """The status line and the body of the response of a WSGI application, which need not have a `close`."""
    statuses = []
    chunks = app.wsgi_app(environ, lambda status, headers, _=None: statuses.append(status))
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return statuses[0], body


def session_requests(service):
    """Read the current session: account, profiles, subscription, entitlements."""
    return [Request("GET", "/v1/sessions/current", token) for token in service.tokens]


def list_requests(service):
    """List 50 titles of one genre, in one of three orders."""
    sorts = ("-added", "-popularity", "title")
    queries = [f"?limit=50&genre={genre}&sort={sort}" for genre in GENRES for sort in sorts]
    return [Request("GET", "/v1/catalog/titles" + random.choice(queries), token) for token in service.tokens]


def title_requests(service):
    """Read one title."""
    return [Request("GET", f"/v1/catalog/titles/{random.choice(service.titles)}", token) for token in service.tokens]


def search_requests(service):
    """Search for typical queries."""
    queries = [query.replace(" ", "+") for query in QUERIES]
    return [Request("GET", f"/v1/catalog/search?q={random.choice(queries)}", token) for token in service.tokens]


def playback_requests(service):
    """Start playback: decide on access, claim a stream slot, sign a grant."""
    titles = itertools.cycle(random.sample(service.titles, len(service.titles)))
    return [
        Request("POST", "/v1/playback", token, {"item_id": next(titles)})
        for _ in range(10)
        for token in random.sample(service.tokens, len(service.tokens))
    ]


def heartbeat_requests(service):
    """Send a heartbeat: decide on access again, save the progress, renew the grant."""
    body = {"position_s": 60, "state": "playing", "at": datetime.now(UTC).isoformat()}
    return [
        Request("POST", f"/v1/playback/{stream}/heartbeat", token, body)
        for stream, token in zip(service.streams, service.tokens, strict=True)
    ]


def progress_requests(service):
    """Report the progress of a film without a stream."""
    body = {"position_s": 60, "duration_s": 6000, "at": datetime.now(UTC).isoformat()}
    return [
        Request("PUT", f"/v1/profiles/{profile}/progress/{random.choice(service.titles)}", token, body)
        for profile, token in zip(service.profiles, service.tokens, strict=True)
    ]


def typo_requests(service):
    """Search with a typing error."""
    queries = [query.replace(" ", "+") for query in MISSPELT]
    return [Request("GET", f"/v1/catalog/search?q={random.choice(queries)}", token) for token in service.tokens]


def filters_requests(service):
    """Read the filters of the catalogue."""
    return [Request("GET", "/v1/catalog/filters", token) for token in service.tokens]


def home_requests(service):
    """Read the home page again. It depends on the profile's progress, so only a few viewers take turns."""
    return [Request("GET", "/v1/catalog/home", token) for token in service.tokens[:KEPT_HOMES]]


def plans_requests(service):
    """Read the plans, without a session."""
    return [Request("GET", f"/v1/plans?country={country}") for country in ("DE", "AT", "FR")]


def invoices_requests(service):
    """List twelve invoices."""
    return [Request("GET", "/v1/invoices?limit=12", token) for token in service.tokens[: service.invoiced]]


def verify_requests(service):
    """Ask, as a media server does, whether a playback token opens a path."""
    return [
        Request("GET", "/v1/playback/verify", token, headers=(("X-Original-URI", uri),))
        for token, uri in service.start_streams()
    ]


def sign_in_requests(service):
    """Sign in with a password; each viewer has an address of their own."""
    return [
        Request("POST", "/v1/sessions", body={"email": email, "password": PASSWORD}, headers=random_address())
        for email in service.emails
    ]


def sign_up_requests(service):
    """Create an account; each viewer has an address of their own."""
    rest = {"password": PASSWORD, "country": "DE", "time_zone": "Europe/Berlin", "locale": "de"}
    names = (f"new{random.randrange(10**12)}@bench.example" for _ in range(5_000))
    return [Request("POST", "/v1/accounts", body={"email": name} | rest, headers=random_address()) for name in names]


def random_address() -> tuple[tuple[str, str], ...]:
    return (("X-Forwarded-For", ".".join(str(random.randrange(1, 255)) for _ in range(4))),)


def add_etags(app, requests: list[Request]) -> list[Request]:
    """The requests of viewers who have the documents already."""
    conditional = []
    for request in requests[:200]:
        etag = app.test_client().open(request.environ()).headers["ETag"]
        conditional.append(replace(request, headers=(*request.headers, ("If-None-Match", etag))))
    return conditional


HOT_PATHS = {
    "session": HotPath(session_requests),
    "list": HotPath(list_requests),
    "list-304": HotPath(list_requests, is_conditional=True),
    "list-fresh": HotPath(list_requests, is_fresh=True),
    "title": HotPath(title_requests),
    "search": HotPath(search_requests),
    "search-fresh": HotPath(search_requests, is_fresh=True),
    "typo-fresh": HotPath(typo_requests, is_fresh=True),
    "filters": HotPath(filters_requests),
    "filters-fresh": HotPath(filters_requests, is_fresh=True),
    "home": HotPath(home_requests),
    "plans": HotPath(plans_requests),
    "verify": HotPath(verify_requests),
    "invoices": HotPath(invoices_requests),
    "playback": HotPath(playback_requests),
    "heartbeat": HotPath(heartbeat_requests),
    "progress": HotPath(progress_requests),
    "sign-in": HotPath(sign_in_requests, connections=1),
    "sign-up": HotPath(sign_up_requests, connections=1),
}
