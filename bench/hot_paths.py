"""The hot paths: for each, the requests that the viewers of a SeededService send."""

import itertools
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.http_client import encode_request

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


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str | None = None
    body: dict | None = None

    def encode(self, host: str) -> bytes:
        """The request as HTTP/1.1 bytes."""
        return encode_request(host, self.method, self.path, self.body, self.token)

    def environ(self) -> dict:
        """The request as a WSGI environment."""
        from werkzeug.test import EnvironBuilder

        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return EnvironBuilder(self.path, method=self.method, headers=headers, json=self.body).get_environ()


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


HOT_PATHS = {
    "session": session_requests,
    "list": list_requests,
    "title": title_requests,
    "search": search_requests,
    "playback": playback_requests,
    "heartbeat": heartbeat_requests,
    "progress": progress_requests,
}
