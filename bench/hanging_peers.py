"""python -m bench.hanging_peers: forty requests wait for a payment provider that hangs.

Starts `streamsvc serve` with a Stripe, and a range API for breached passwords, that accept connections and say nothing.
Forty clients add a payment method at the same time; meanwhile others ask for `/livez`, `/readyz` and the plans, and
somebody signs up and waits for the mail. Prints the responses by status, the slowest ones, and when the mail came.
"""

import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import report
from tests.conftest import migrate_database
from tests.service.test_mail import smtp_server
from tests.worlds.broken_peers import broken_peer, hang
from tests.worlds.service import Service, running_service

PATHS = ("/livez", "/readyz", "/v1/plans?country=DE")
PASSWORD = "a long secret 7"
CLIENTS, DURATION_S = 40, 12


class HangingService(NamedTuple):
    """A running service whose peers hang, and the mails that it sent."""

    service: "RawService"
    inbox: Any


class Measured(NamedTuple):
    """(status, Retry-After, seconds) of each payment request; (status, seconds) of others by path; seconds to mail."""

    payments: list[tuple[int, str | None, float]]
    others: dict[str, list[tuple[int, float]]]
    mail_s: float


class RawService:
    """Requests to a running service, of which status, headers or text matter."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.url = f"http://127.0.0.1:{service.port}"

    def raw(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path) as response:
            return response.read().decode()

    def sign_up(self, name: str) -> str:
        """Create an account; returns the token."""
        body = {"email": f"{name}@example.com", "password": PASSWORD, "country": "DE"}
        status, document = self.service.call("POST", "/v1/accounts", body)
        assert status == 201, document
        return document["token"]

    def add_method(self, token: str) -> tuple[int, str | None]:
        """(status, Retry-After)"""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/payment-methods", b'{"token": "pm_card_visa"}', headers)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Retry-After"]


@contextmanager
def hanging_service(url: str, folder: Path, call_budget_s: int) -> Iterator[HangingService]:
    """Serve a migrated database."""
    with broken_peer(hang) as port, smtp_server() as (inbox, smtp_port):
        settings = {
            "SANDBOX": "0",
            "ENV": "development",
            "METRICS": "1",
            "CALL_BUDGET_S": str(call_budget_s),
            "PAYMENT_PROVIDER": "stripe",
            "STRIPE_SECRET_KEY": "sk_test_1",
            "STRIPE_WEBHOOK_SECRET": "whsec_test",
            "STRIPE_URL": f"http://127.0.0.1:{port}",
            "BREACH_RANGE_URL": f"http://127.0.0.1:{port}/range",
            "MAIL_URL": f"smtp://127.0.0.1:{smtp_port}",
        }
        variables = {f"STREAMSVC_{name}": value for name, value in settings.items()}
        with running_service(url, folder, **variables) as service:
            yield HangingService(RawService(service), inbox)


def measure(hanging: HangingService, clients: int, duration_s: float) -> Measured:
    """Let clients add a payment method each, and for so long others do what needs no other service."""
    service = hanging.service
    tokens = [service.sign_up(f"payer{number}") for number in range(8)]
    stop_at = time.monotonic() + duration_s
    payments: list[tuple[int, str | None, float]] = []
    others: dict[str, list[tuple[int, float]]] = {path: [] for path in PATHS}

    def pay(token: str) -> None:
        started = time.monotonic()
        payments.append((*service.add_method(token), time.monotonic() - started))

    def read(path: str) -> None:
        while (started := time.monotonic()) < stop_at:
            others[path].append((service.service.call("GET", path)[0], time.monotonic() - started))
            time.sleep(0.05)

    threads = [threading.Thread(target=pay, args=(tokens[number % len(tokens)],)) for number in range(clients)]
    threads += [threading.Thread(target=read, args=(path,)) for path in PATHS]
    for thread in threads:
        thread.start()
    started, known = time.monotonic(), len(hanging.inbox.messages)
    service.sign_up("reader")
    while not any("reader@example.com" in to for to, _ in hanging.inbox.messages[known:]):
        assert time.monotonic() - started < 30, "no mail"
        time.sleep(0.02)
    mail_s = time.monotonic() - started
    for thread in threads:
        thread.join()
    return Measured(payments, others, mail_s)


def main() -> None:
    print(report.describe_machine())
    with tempfile.TemporaryDirectory(prefix="streamsvc-bench-") as name:
        url = f"sqlite:///{name}/hanging.sqlite"
        migrate_database(url)
        with hanging_service(url, Path(name), call_budget_s=10) as hanging:
            measured = measure(hanging, CLIENTS, DURATION_S)
    rows = {"POST /v1/payment-methods": [(status, seconds) for status, _, seconds in measured.payments]}
    for path, responses in (rows | measured.others).items():
        statuses = ", ".join(f"{count} × {status}" for status, count in Counter(r[0] for r in responses).items())
        print(f"{path:25} {statuses}; slowest {max(seconds for _, seconds in responses):.2f} s")
    print(f"sign-up to mail           {measured.mail_s:.2f} s")


if __name__ == "__main__":
    main()
