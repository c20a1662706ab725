"""The table of peers: how each is served, and what it needs to be installed."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from bench.servers import ROOT

FASTIFY = "bench/peers/fastify"
PATHS = ("session", "list", "list-fresh", "title")
"""The hot paths that peers know. To them, `list` and `list-fresh` are the same."""
COMPILING_REQUESTS = 10_000
"""Requests on a path after which Node has compiled it: one of the first takes five times the processor time."""


@dataclass(frozen=True)
class Peer:
    """`kind`, `app`: those of `servers.run_server`. `modules`: of Python, from the extra `bench`.

    `warm_up`: requests on each path before it is timed.
    """

    kind: str
    app: str
    modules: tuple[str, ...] = ()
    warm_up: int = 0


PEERS = {
    "bare WSGI": Peer("sync", "bench.peers.bare_wsgi:app"),
    "Flask + SQLAlchemy + marshmallow": Peer("sync", "bench.peers.flask_orm:app"),
    "FastAPI + SQLAlchemy + Pydantic": Peer("uvicorn", "bench.peers.fastapi_orm:app", ("fastapi", "uvicorn")),
    "Django REST framework": Peer("sync", "bench.peers.django_rest.wsgi:app", ("django", "rest_framework")),
    "Fastify + better-sqlite3": Peer("node", f"{FASTIFY}/server.mjs", warm_up=COMPILING_REQUESTS),
}


def find_missing(name: str) -> str | None:
    """Return what a peer needs and is not installed; None if it can be measured."""
    peer = PEERS[name]
    if peer.kind == "node":
        if shutil.which("node") is None:
            return "Node is not installed"
        folder = ROOT / FASTIFY / "node_modules" / "better-sqlite3" / "build" / "Release"
        return None if folder.exists() else "its npm packages are not installed, or not compiled: make bench"
    missing = [module for module in peer.modules if find_spec(module) is None]
    return f"{' and '.join(missing)} not installed: make bench" if missing else None


def list_measurable(names: Iterable[str]) -> list[str]:
    """Return the peers of these names that can be measured."""
    return [name for name in names if find_missing(name) is None]
