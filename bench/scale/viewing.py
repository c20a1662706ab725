"""Viewers who browse and play through HAProxy, and a count of what they got."""

import secrets
import time
from typing import NamedTuple

from tests.worlds.threads import RunningThreads


class Outcome(NamedTuple):
    """A response: when it came, by the monotonic clock, its status (0: none came), and what was asked for."""

    at: float
    status: int
    what: str


class Traffic:
    """Sends requests and counts the responses, for all threads of a run."""

    def __init__(self, service) -> None:
        self.service, self.outcomes = service, []

    def call(self, method, path, body=None, token=None, **headers) -> tuple[int, dict]:
        """Send a request and note its outcome; returns (status, document)."""
        status, document = self.service.call(method, path, body, token, **headers)
        what = "read" if method == "GET" else "write"
        self.outcomes.append(Outcome(time.monotonic(), status, what))
        return status, document


class Viewers(RunningThreads):
    """Threads that each sign in, list titles, play one with heartbeats, and look at their history."""

    def __init__(self, traffic: Traffic, price_id: str, item_id: str, threads: int) -> None:
        super().__init__(threads)
        self.traffic, self.price_id, self.item_id = traffic, price_id, item_id

    def run(self) -> None:
        body = {"email": f"{secrets.token_hex(8)}@scale.example", "password": "seven red herons", "country": "DE"}
        self._repeat("POST", "/v1/accounts", body)
        credentials = {name: body[name] for name in ("email", "password")}
        while not self.stopping.is_set():
            status, signed_in = self.traffic.call("POST", "/v1/sessions", credentials)
            if status == 201:
                self._watch(signed_in["token"])
            else:
                time.sleep(0.1)

    def _repeat(self, method: str, path: str, body: dict, token: str | None = None) -> None:
        """Send what must have succeeded before the rest makes sense, until it has."""
        key = secrets.token_hex(8)
        while not self.stopping.is_set():
            if self.traffic.call(method, path, body, token, Idempotency_Key=key)[0] in (200, 201):
                return
            time.sleep(0.1)

    def _watch(self, token: str) -> None:
        call = self.traffic.call
        if not call("GET", "/v1/subscriptions", token=token)[1].get("items"):
            self._repeat("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token)
            self._repeat("POST", "/v1/subscriptions", {"price_id": self.price_id}, token)
        call("GET", f"/v1/catalog/titles?limit={secrets.randbelow(40) + 1}", token=token)
        call("GET", f"/v1/catalog/titles/{self.item_id}", token=token)
        status, stream = call("POST", "/v1/playback", {"item_id": self.item_id}, token)
        for position_s in (10, 20, 30):
            if status == 201:
                report = {"position_s": position_s, "state": "stopped" if position_s == 30 else "playing"}
                call("POST", f"/v1/playback/{stream['stream_id']}/heartbeat", report, token)
        _, profiles = call("GET", "/v1/profiles", token=token)
        for profile in profiles.get("items", [])[:1]:
            call("GET", f"/v1/profiles/{profile['id']}/history", token=token)
