"""A service to torture: `streamsvc serve` on a new database, with a local payment provider in this process."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import flask_migrate
import psutil
import sqlalchemy as sa

from bench.servers import ROOT
from bench.torture.core import Check, Context, Deadline
from streamsvc.app import create_app
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id
from tests.worlds.billing_world import FEATURES
from tests.worlds.postgres import postgres_server
from tests.worlds.service import TIMEOUT_S, Service
from tests.worlds.stripe_server import SECRET_KEY, StripeState, stripe_server

PLANTED = Path(__file__).parent / "planted"
MAX_STREAMS, PRICE_MINOR, START_TIMEOUT_S = 2, 999, 180
FILMS = 4


class World:
    """The service, its database and its payment provider."""

    def __init__(self, service: Service, stripe: StripeState, url: str, postmaster: psutil.Process | None):
        self.service, self.stripe, self.url, self.postmaster = service, stripe, url, postmaster
        self.engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        self.key = self.price_id = ""
        self.film_ids: list[str] = []

    def prepare(self) -> None:
        """Migrate the database, start the service, and put a plan and a few films on sale."""
        with self.app_context():
            flask_migrate.upgrade()
            self.key = create_api_key("torture", ["admin"])
        self.service.start()
        self.wait_until_ready()
        prices = [{"currency": "USD", "amount_minor": PRICE_MINOR, "tax": "inclusive"}]
        plan = {"name": "Standard", "features": FEATURES | {"max_streams": MAX_STREAMS}, "prices": prices}
        document = self.demand("PUT", "/v1/admin/plans/standard", plan, self.key)
        self.price_id = document["prices"][0]["id"]
        for name in (f"film{number}" for number in range(FILMS)):
            film = {"external_id": name, "kind": "movie", "title": name, "runtime_s": 6000}
            self.film_ids.append(self.demand("PUT", f"/v1/admin/titles/{name}", film, self.key)["id"])

    def run_command(self, *arguments: str) -> str:
        """Run a `streamsvc` command and return what it prints. Raises RuntimeError if it fails."""
        result = self.service.command(*arguments)
        if result.returncode:
            raise RuntimeError(f"streamsvc {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout

    def wait_until_ready(self) -> None:
        """Wait until the service is ready. Raises RuntimeError with what `/readyz` says if it does not become so."""
        deadline = Deadline(START_TIMEOUT_S)
        while not self.service.is_ready():
            if deadline.has_passed():
                raise RuntimeError(f"not ready: {self.service.get('/readyz')}")
            time.sleep(0.1)

    def sign_up(self, name: str) -> tuple[str, str, str]:
        """Sign somebody up; returns (token, account id, profile id)."""
        body = {"email": f"{name}@torture.example", "password": "seven red herons", "country": "US"}
        document = self.demand("POST", "/v1/accounts", body)
        return document["token"], document["account"]["id"], document["profile"]["id"]

    def subscribe(self, token: str) -> str:
        """Add a card to the account, and subscribe; returns the id of the first invoice."""
        self.demand("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token)
        return self.demand("POST", "/v1/subscriptions", {"price_id": self.price_id}, token)["latest_invoice_id"]

    def demand(self, method: str, path: str, body: dict, token: str | None = None) -> dict:
        """Send a request that must succeed; repeated while the service is too busy. Raises RuntimeError."""
        key, deadline = new_id("key"), Deadline(TIMEOUT_S)
        while True:
            status, document = self.service.call(method, path, body, token, Idempotency_Key=key)
            if status in (200, 201):
                return document
            if deadline.has_passed() or status not in (0, 409, 503):
                raise RuntimeError(f"{method} {path}: {status} {document}")
            time.sleep(0.2)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The processes below `serve`: the master of the web processes, they themselves, and the worker."""
        masters = psutil.Process(self.service.process.pid).children()
        web = [p for p in self.service.children("gunicorn") if p not in masters]
        return {"master": [p for p in masters if p not in self.worker()], "web": web, "worker": self.worker()}

    def worker(self) -> list[psutil.Process]:
        return self.service.children("streamsvc.cli worker")

    @contextmanager
    def app_context(self, now=None) -> Iterator[None]:
        """The context of an app in this process on the service's database, with this clock."""
        app = create_app(Settings.from_env(self.service.env), now=now)
        with app.app_context():
            try:
                yield
            finally:
                db.session.remove()
                for engine in db.engines.values():
                    engine.dispose()

    def stop(self) -> None:
        """Stop the service, whatever state it is in."""
        self.engine.dispose()
        process = getattr(self.service, "process", None)
        if process is None or process.poll() is not None:
            return
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=TIMEOUT_S)
        for remaining in alive:
            remaining.kill()
        process.wait(TIMEOUT_S)

    def log_check(self) -> Check:
        """The log has no traceback: an error that the service did not expect."""
        log = self.service.log.read_text(errors="replace")
        last = log.rpartition("Traceback (most recent call last)")[2].strip().splitlines()
        figure = "none" if "Traceback" not in log else f"{log.count('Traceback')} tracebacks, such as {_summary(last)}"
        return Check("no traceback in the log", "Traceback" not in log, figure)


def _summary(lines: list[str]) -> str:
    """The error of a traceback, and where it was raised."""
    end = next((n for n, line in enumerate(lines) if line[:1].isalpha()), len(lines) - 1)
    places = [line.strip() for line in lines[:end] if "streamsvc" in line and line.strip().startswith("File")]
    return f"{lines[end][:150]} {''.join(places[-1:])}" if lines else "?"


@contextmanager
def torture_world(context: Context, database_url: str = "", **env: str) -> Iterator[World]:
    """A prepared world; `env` are further settings of its service."""
    with ExitStack() as stack:
        url, postmaster = database_url or f"sqlite:///{context.folder / 'torture.sqlite3'}", None
        if context.database == "postgresql":
            server_url = stack.enter_context(postgres_server())
            url, postmaster = create_durable_database(server_url), find_postmaster(server_url)
        address, stripe = stack.enter_context(stripe_server())
        service = Service(url, context.folder)
        service.env |= {
            "STREAMSVC_PAYMENT_PROVIDER": "stripe",
            "STREAMSVC_STRIPE_SECRET_KEY": SECRET_KEY,
            "STREAMSVC_STRIPE_WEBHOOK_SECRET": "whsec_torture",
            "STREAMSVC_STRIPE_URL": address,
            "STREAMSVC_WEBHOOKS_TO_PRIVATE": "1",
            "STREAMSVC_BREACHED_PASSWORDS": "",
            "STREAMSVC_LOG_LEVEL": "warning",
            "PYTHONPATH": os.pathsep.join([str(PLANTED), str(ROOT)]),
            "TORTURE_PLANT": context.plant,
        }
        service.env |= env
        world = World(service, stripe, url, postmaster)
        stack.callback(world.stop)
        try:
            world.prepare()
            yield world
        except Exception as error:
            error.add_note(world.log_check().figure)
            raise


def create_durable_database(server_url: str) -> str:
    """Create a database whose commits survive a crash, on a test server whose commits by default do not."""
    engine = sa.create_engine(
        server_url.format("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE torture")
        connection.exec_driver_sql("ALTER DATABASE torture SET synchronous_commit = on")
    engine.dispose()
    return server_url.format("torture")


def find_postmaster(server_url: str) -> psutil.Process:
    folder = Path(server_url.partition("host=")[2])
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
