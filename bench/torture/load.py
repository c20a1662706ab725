"""A mixed load: people sign up, pay, watch and get refunds, while imported subscribers become due for renewal."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bench.torture.clients import PATIENCE_S, Client, Journal
from bench.torture.core import Context
from bench.torture.world import MAX_STREAMS, World
from streamsvc.operations.billing.subscriptions.importing import import_subscribers

PASSWORD = "seven red herons"
CARDS = ("pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined")
RENEWALS_PER_WAVE, WAVE_EVERY_S = 8, 2.0


class Load:
    """Clients and renewals that run until stopped. `journal` has the responses that the clients got."""

    def __init__(self, world: World, context: Context, clients: int = 6, renewals: bool = True) -> None:
        self.world, self.seed, self.journal, self.stopping = world, context.seed, Journal(), threading.Event()
        self.patience_s = 10.0 if context.plant else PATIENCE_S
        self.renewals_imported = 0
        self.threads = [threading.Thread(target=self._run_client, args=(n,)) for n in range(clients)]
        if renewals:
            self.threads.append(threading.Thread(target=self._import_waves))

    @contextmanager
    def running(self) -> Iterator[Journal]:
        for thread in self.threads:
            thread.start()
        try:
            yield self.journal
        finally:
            self.stopping.set()
            for thread in self.threads:
                thread.join()

    def _run_client(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        while not self.stopping.is_set():
            try:
                Household(self, rng).live()
            except Exception as error:
                self.journal.unexpected.append(repr(error)[:300])
                time.sleep(0.2)

    def _import_waves(self) -> None:
        while not self.stopping.wait(WAVE_EVERY_S):
            try:
                self.import_subscribers(RENEWALS_PER_WAVE)
            except sa.exc.SQLAlchemyError:  # the database is down: the wave is imported again
                self.renewals_imported -= RENEWALS_PER_WAVE
            except Exception as error:
                self.journal.unexpected.append(repr(error))

    def import_subscribers(self, count: int) -> None:
        """Import subscribers who were due a day ago; the worker renews and charges them."""
        past = datetime.now(UTC) - timedelta(days=2)
        file = self.world.service.log.parent / "subscribers.ndjson"
        file.write_text("".join(self._subscriber_line(past) for _ in range(count)))
        with self.world.app_context(now=lambda: past):
            report = import_subscribers(file, past)
        if report.rejections:
            raise ValueError(str(report.rejections[0]))

    def _subscriber_line(self, past: datetime) -> str:
        number, self.renewals_imported = self.renewals_imported, self.renewals_imported + 1
        stripe = self.world.stripe
        with stripe.lock:
            customer = stripe.create_customer({"email": f"due{number}@torture.example"})["id"]
            method = stripe.attach("pm_card_visa", {"customer": customer})["id"]
        line = {"external_id": f"due{number}", "email": f"due{number}@torture.example", "country": "US"}
        line |= {"price_id": self.world.price_id, "started_on": f"{past - timedelta(days=30):%F}"}
        line |= {"paid_through": f"{past + timedelta(days=1):%F}"}
        return json.dumps(line | {"payment_method": {"reference": f"{customer}/{method}"}}) + "\n"


class Household:
    """One account, from sign-up to its last request. Every success is noted in the journal."""

    def __init__(self, load: Load, rng: random.Random) -> None:
        self.world, self.journal, self.rng, self.stopping = load.world, load.journal, rng, load.stopping
        self.client = Client(load.world.service.port, load.journal, load.patience_s)
        self.email = f"viewer{rng.randrange(2**60)}@torture.example"

    def live(self) -> None:
        if not self.sign_up():
            return
        if self.subscribe():
            for act, share in ((self.watch, 1.0), (self.get_refund, 0.4)):
                if self.rng.random() < share and not self.stopping.is_set():
                    act()
        if self.rng.random() < 0.15:
            self.get_disabled()

    def sign_up(self) -> bool:
        body = {"email": self.email, "password": PASSWORD, "country": "US", "device": {"name": "TV", "kind": "tv"}}
        status, document = self.client.send("POST", "/v1/accounts", body)
        if status != 201:
            self.expect(status, "sign-up", 0)
            return False
        self.token, self.account_id = document["token"], document["account"]["id"]
        self.profile_id = document["profile"]["id"]
        self.journal.acknowledge("accounts", self.account_id)
        return True

    def subscribe(self) -> str | None:
        """Add a card and subscribe; returns the id of the subscription if it is active."""
        card = {"token": self.rng.choice(CARDS)}
        status, document = self.client.send("POST", "/v1/payment-methods", card, self.token)
        if status != 201:
            self.expect(status, "card", 0, 503)
            return None
        self.journal.acknowledge("payment_methods", document["id"])
        status, document = self.client.send("POST", "/v1/subscriptions", {"price_id": self.world.price_id}, self.token)
        if status != 201:
            self.expect(status, f"subscription {document.get('code')}", 0, 402)
            return None
        self.journal.acknowledge("subscriptions", document["id"])
        return document["id"] if document["status"] == "active" else None  # not paid yet: the outcome is unknown

    def watch(self) -> None:
        """Start more streams at once than the plan allows, send heartbeats on one and stop it; rate and note films."""
        films = self.rng.sample(self.world.film_ids, MAX_STREAMS + 1)
        with ThreadPoolExecutor(len(films)) as pool:
            started = [stream_id for stream_id in pool.map(self.start_stream, films) if stream_id]
        if len(started) > MAX_STREAMS:
            self.journal.over_limit.append(f"{len(started)} streams of {self.account_id} at once")
        for position_s in range(60, 60 * self.rng.randrange(2, 6), 60):
            if started and not self.stopping.is_set():
                at = f"{datetime.now(UTC):%FT%TZ}"
                body = {"position_s": position_s, "state": "playing", "at": at}
                self.client.send_once("POST", f"/v1/playback/{started[0]}/heartbeat", body, self.token)
        if started and self.client.send("DELETE", f"/v1/playback/{started[0]}", None, self.token)[0] == 204:
            self.journal.acknowledge("stopped streams", started[0])
        path, film_id = f"/v1/profiles/{self.profile_id}", films[0]
        if self.client.send("PUT", f"{path}/watchlist/{film_id}", None, self.token)[0] == 204:
            self.journal.acknowledge("watchlist", self.profile_id, film_id)
        body = {"rating": self.rng.choice(("up", "down"))}
        if self.client.send("PUT", f"{path}/ratings/{film_id}", body, self.token)[0] == 204:
            self.journal.acknowledge("ratings", self.profile_id, film_id)

    def start_stream(self, film_id: str) -> str | None:
        status, document = self.client.send("POST", "/v1/playback", {"item_id": film_id}, self.token)
        if status == 201:
            self.journal.acknowledge("streams", document["stream_id"])
            return document["stream_id"]
        self.expect(status, f"playback {document.get('code')}", 0, 409)
        return None

    def get_refund(self) -> None:
        """An operator refunds a part of the first invoice."""
        status, document = self.client.send("GET", "/v1/invoices", None, self.token)
        if status != 200 or not document["items"]:
            self.expect(status, "invoices", 0)
            return
        path = f"/v1/admin/invoices/{document['items'][0]['id']}/refunds"
        body = {"amount_minor": self.rng.randrange(100, 300)}
        status, document = self.client.send("POST", path, body, self.world.key)
        if status == 201:
            self.journal.acknowledge("refunds", document["id"])
        else:
            self.expect(status, f"refund {document.get('code')}", 0)

    def get_disabled(self) -> None:
        """An operator disables the account; its token must not be accepted afterwards."""
        path = f"/v1/admin/accounts/{self.account_id}"
        if self.client.send("PATCH", path, {"status": "disabled"}, self.world.key)[0] == 200:
            self.journal.disabled.add(self.account_id)
            status, _ = self.client.send("GET", "/v1/sessions/current", None, self.token)
            self.expect(status, "session of a disabled account", 0, 401)

    def expect(self, status: int, what: str, *statuses: int) -> None:
        if status not in statuses:
            self.journal.unexpected.append(f"{what}: {status}")
