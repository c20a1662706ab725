"""Writes that responses confirmed as saved, and which of them a database lacks afterwards."""

import secrets
import time
from datetime import UTC, datetime
from itertools import pairwise
from operator import itemgetter

import flask_migrate
import psycopg

from streamsvc.app import create_app
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.worlds.databases import close_app
from tests.worlds.playback_steps import FILM, World
from tests.worlds.threads import RunningThreads

STORED = {
    "accounts": "SELECT id FROM accounts WHERE id = ANY(%s)",
    "payments": "SELECT invoice_id FROM payments WHERE status = 'succeeded' AND invoice_id = ANY(%s)",
    "progress": "SELECT profile_id FROM progress WHERE position_s > 0 AND profile_id = ANY(%s)",
}
"""What finds the ids of a kind that a database has."""


def put_on_sale(url: str, secret_key: str, films: int = 1) -> tuple[str, str]:
    """Migrate a database and put a plan and films on sale; returns the ids of the price and of one film."""
    app = create_app(Settings(database_url=url, secret_key=(secret_key,), sandbox=True).with_defaults())
    with app.app_context():
        flask_migrate.upgrade()
    world = World(app)
    world.put_titles(FILM, *(FILM | {"external_id": f"film{n}", "title": f"Film {n}"} for n in range(1, films)))
    price_id = world.put_plan()
    with app.app_context():
        db.session.remove()
    close_app(app)
    return price_id, world.ids["film"]


class AcknowledgedWrites(RunningThreads):
    """New viewers who sign up, pay and report a position, in threads, until they are stopped.

    `call(method, path, body, token, **headers)` sends a request and returns (status, document), with status 0 if there
    was no response.
    """

    def __init__(self, call, price_id: str, item_id: str, threads: int = 4) -> None:
        super().__init__(threads)
        self.call, self.price_id, self.item_id = call, price_id, item_id
        self.ids: dict[str, list[str]] = {kind: [] for kind in STORED}
        self.failures: list[tuple[int, str]] = []
        self.times: list[float] = []
        """When each acknowledgement came, by the monotonic clock."""

    def run(self) -> None:
        while not self.stopping.is_set():
            if not self._live():
                time.sleep(0.05)

    def _live(self) -> bool:
        """One viewer's first minute; False if it was cut short."""
        body = {"email": f"{secrets.token_hex(8)}@scale.example", "password": "seven red herons", "country": "DE"}
        viewer = self._send("accounts", lambda document: document["account"]["id"], "POST", "/v1/accounts", body)
        if viewer is None:
            return False
        token, profile_id = viewer["token"], viewer["profile"]["id"]
        if self._send(None, None, "POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token) is None:
            return False
        order = {"price_id": self.price_id}
        if self._send("payments", itemgetter("latest_invoice_id"), "POST", "/v1/subscriptions", order, token) is None:
            return False
        path = f"/v1/profiles/{profile_id}/progress/{self.item_id}"
        report = {"position_s": 600, "duration_s": 6000, "at": datetime.now(UTC).isoformat()}
        return self._send("progress", lambda _: profile_id, "PUT", path, report, token) is not None

    def _send(self, kind, find_id, method, path, body, token=None) -> dict | None:
        """Send a request, and note what it saved; returns its document, or None if it failed."""
        status, document = self.call(method, path, body, token, Idempotency_Key=secrets.token_hex(8))
        if status not in (200, 201):
            self.failures.append((status, document.get("code", "")))
            return None
        self.times.append(time.monotonic())
        if kind is not None:
            self.ids[kind].append(find_id(document))
        return document

    def longest_gap_s(self, since: float) -> float:
        """The longest time without an acknowledgement from a moment until now, in seconds."""
        times = [since, *sorted(at for at in list(self.times) if at > since), time.monotonic()]
        return max(after - before for before, after in pairwise(times))

    def find_lost(self, url: str) -> dict[str, int]:
        """How many of each kind a database lacks."""
        with psycopg.connect(url) as connection:
            return {
                kind: len(set(ids) - {row[0] for row in connection.execute(STORED[kind], [ids])})
                for kind, ids in self.ids.items()
            }
