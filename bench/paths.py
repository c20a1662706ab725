"""The hot paths: what is asked, by whom, and which answers are right."""

import itertools
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime

REQUESTS = 2_000
GENRES = ("drama", "comedy", "action", "thriller", "romance", "horror", "crime", "adventure")
WORDS = ("spider man", "amelie", "god", "star wars", "the", "lov", "matrix", "shawshank", "night of", "juno", "alien")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str | None = None
    body: dict | None = None

    def raw(self, host: str) -> bytes:
        """The request as bytes for HTTP/1.1."""
        head = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        content = b"" if self.body is None else json.dumps(self.body).encode()
        if self.token:
            head.append(f"Authorization: Bearer {self.token}")
        if self.body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + content

    def environ(self) -> dict:
        """The same for a WSGI call."""
        from werkzeug.test import EnvironBuilder

        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return EnvironBuilder(self.path, method=self.method, headers=headers, json=self.body).get_environ()


def session(world):
    """Who is asking: session, account, profiles, subscription, entitlements."""
    return [Request("GET", "/v1/sessions/current", token) for token in world.tokens]


def list_of_50(world):
    """A page of 50 cards of one genre, in one of three orders."""
    sorts = ("-added", "-popularity", "title")
    queries = [f"?limit=50&genre={genre}&sort={sort}" for genre in GENRES for sort in sorts]
    return [Request("GET", "/v1/catalog/titles" + random.choice(queries), token) for token in world.tokens]


def title(world):
    """The page of one title."""
    return [Request("GET", f"/v1/catalog/titles/{random.choice(world.titles)}", token) for token in world.tokens]


def search(world):
    """What people type."""
    queries = [word.replace(" ", "+") for word in WORDS]
    return [Request("GET", f"/v1/catalog/search?q={random.choice(queries)}", token) for token in world.tokens]


def playback(world):
    """A playback that starts: decided, a place claimed, a grant signed."""
    turns = itertools.cycle(random.sample(world.titles, len(world.titles)))
    return [
        Request("POST", "/v1/playback", token, {"item_id": next(turns)})
        for _ in range(10)
        for token in random.sample(world.tokens, len(world.tokens))
    ]


def heartbeat(world):
    """A stream that is kept up: decided again, progress noted, the grant renewed."""
    told = {"position_s": 60, "state": "playing", "at": datetime.now(UTC).isoformat()}
    return [
        Request("POST", f"/v1/playback/{stream}/heartbeat", token, told)
        for stream, token in zip(world.streams, world.tokens, strict=True)
    ]


PATHS = {"session": session, "list": list_of_50, "title": title, "search": search, "playback": playback}
PATHS |= {"heartbeat": heartbeat}
