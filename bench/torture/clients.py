"""Clients under faults: what they did, which responses they got, and how long it took."""

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from streamsvc.storage.database import new_id

RETRY_AFTER_S, PATIENCE_S, TIMEOUT_S = 0.2, 90.0, 30.0
UNDECIDED = (0, 409, 429)
"""Without a response, while the first request runs, or too often: the same request is sent again, like a 5xx."""


@dataclass
class Journal:
    """The responses that all clients got, shared by their threads."""

    acknowledged: dict[str, set[tuple]] = field(default_factory=dict)
    """Table -> the keys of the rows that the service said it has saved."""
    disabled: set[str] = field(default_factory=set)
    """Accounts that were disabled."""
    statuses: Counter = field(default_factory=Counter)
    """Responses by status; 0 is none."""
    times_s: list[float] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    """Requests that got no definite response within `PATIENCE_S`."""
    unexpected: list[str] = field(default_factory=list)
    over_limit: list[str] = field(default_factory=list)
    """Accounts that had more live streams at some moment than their plan allows."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, table: str, *key: str) -> None:
        with self.lock:
            self.acknowledged.setdefault(table, set()).add(key)

    def note(self, status: int, elapsed_s: float) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.times_s.append(elapsed_s)

    def count_acknowledged(self) -> int:
        return sum(len(keys) for keys in self.acknowledged.values())

    def describe(self) -> str:
        """Responses by status, as text."""
        return ", ".join(
            f"{count} × {status or 'no response'}" for status, count in sorted(self.statuses.items()) if count
        )


def request(port: int, method: str, path: str, body=None, token: str | None = None, key: str | None = None, **options):
    """(status, document) of one request on a new connection; (0, {}) without a response. `timeout_s`: 30 by default."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Idempotency-Key": key} if key else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=options.get("timeout_s", TIMEOUT_S))
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw or b"{}")
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


class Client:
    """A client that repeats each request, under one idempotency key, until it gets a definite response."""

    def __init__(self, port: int, journal: Journal, patience_s: float = PATIENCE_S) -> None:
        self.port, self.journal, self.patience_s = port, journal, patience_s

    def send_once(self, method: str, path: str, body=None, token=None, key=None) -> tuple[int, dict]:
        started = time.monotonic()
        status, document = request(self.port, method, path, body, token, key)
        self.journal.note(status, time.monotonic() - started)
        return status, document

    def send(self, method: str, path: str, body=None, token=None) -> tuple[int, dict]:
        """(status, document) of the first definite response; (0, {}) if there was none in time."""
        key = new_id("key") if method == "POST" else None
        end = time.monotonic() + self.patience_s
        while time.monotonic() < end:
            status, document = self.send_once(method, path, body, token, key)
            is_in_use = document.get("code") == "idempotency_key_in_use"
            if status not in UNDECIDED and status < 500:
                return status, document
            if status == 409 and not is_in_use:
                return status, document
            time.sleep(RETRY_AFTER_S)
        self.journal.unanswered.append(f"{method} {path}: {status} {document.get('code', '')}")
        return 0, {}
