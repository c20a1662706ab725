"""People, plans, and the passing of time for billing tests; everything but the sign-up goes through HTTP."""

import itertools
import logging
import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from streamsvc.models import Account, ApiKey, Device, Session
from streamsvc.operations.billing.books.audit import audit_billing
from streamsvc.operations.maintenance import job_handlers
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, SESSION_TOKEN_PREFIX, hash_token
from streamsvc.storage.database import db
from streamsvc.worker import jobs

assert job_handlers
_numbers = itertools.count(1)
LOCK_WAIT_S = 10
"""A killed process's transaction can keep its rows locked until PostgreSQL notices."""
FEATURES = {"max_streams": 2, "max_height": 1080, "max_profiles": 5, "max_devices": 5, "downloads": True, "ads": False}


class World:
    """The service with an operator who sells plans, and a clock that runs due jobs as it advances."""

    def __init__(self, app):
        self.app, self.clock = app, app.extensions["clock"]
        self.operator = Caller(app, self._api_key("admin"))

    def _api_key(self, *scopes):
        token = API_KEY_PREFIX + secrets.token_urlsafe(32)
        with self.app.app_context():
            db.session.add(
                ApiKey(name="tests", token_hash=hash_token(token), scopes=list(scopes), created_at=self.clock())
            )
            db.session.commit()
        return token

    def person(self, country="US", zone="UTC", card="pm_card_visa"):
        """Return a signed-in person with an account and, unless `card` is None, a card."""
        person = Person(self, country, zone)
        if card:
            person.add_card(card)
        return person

    def plan(self, code, *amounts, currency="USD", **terms):
        """Create a plan with a price per amount; return the price ids in the order of the amounts, or the only one."""
        prices = [{"currency": currency, "amount_minor": amount, "tax": "exclusive", **terms} for amount in amounts]
        return self.put_plan(code, prices)

    def put_plan(self, code, prices):
        plan = {"name": code.title(), "features": FEATURES, "prices": prices}
        response_prices = self.operator.put(f"/v1/admin/plans/{code}", plan).json["prices"]
        ids_by_amount = {price["amount_minor"]: price["id"] for price in response_prices}
        ids = [ids_by_amount[price["amount_minor"]] for price in prices]
        return ids[0] if len(ids) == 1 else ids

    def go_to(self, moment):
        """Advance the clock to the moment, running each job at the moment it falls due."""
        to = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment).replace(tzinfo=UTC)
        deadline_s = time.monotonic() + LOCK_WAIT_S
        with self.app.app_context():
            while (due := jobs.find_next_due_job(to)) is not None:
                self.clock.at = max(self.clock.at, due.run_at)
                batch = jobs.lease_batch(to)
                if not batch:
                    assert time.monotonic() < deadline_s, "the due job stays locked"
                    time.sleep(0.02)
                    continue
                with fail_on_job_warnings():
                    assert jobs.run_batch(batch, self.clock.at) == len(batch), f"{batch[0].kind} failed"
        self.clock.at = max(self.clock.at, to)

    def charges(self, status="succeeded", kind="charge"):
        """Return the amounts that the provider charged or refunded, oldest first."""
        journal = self.operator.get("/v1/sandbox/payments").json["items"]
        return [
            charge["amount_minor"]
            for charge in reversed(journal)
            if charge["status"] == status and charge["kind"] == kind
        ]

    def differences(self):
        """Run the billing audit and return the differences."""
        with self.app.app_context():
            try:
                return audit_billing(self.clock.at)
            finally:
                db.session.rollback()

    def next_charge(self, what):
        assert self.operator.put("/v1/sandbox/payments", {"next": what}).status_code == 200


@contextmanager
def fail_on_job_warnings():
    """Fail the test on any warning of the job runner, including the one for a batch that falls back to single jobs."""
    handler = FailingHandler()
    jobs.log.addHandler(handler)
    try:
        yield
    finally:
        jobs.log.removeHandler(handler)


class FailingHandler(logging.Handler):
    def emit(self, record):
        raise AssertionError(record.getMessage()) from (record.exc_info or (None, None))[1]


class Caller:
    """An HTTP client with a token that sends a new idempotency key with each POST unless `key` is given."""

    def __init__(self, app, token):
        self.client, self.token = app.test_client(), token

    def headers(self, **more):
        return {"Authorization": f"Bearer {self.token}", **more}

    def get(self, path):
        return self.client.get(path, headers=self.headers())

    def put(self, path, body=None):
        return self.client.put(path, json=body, headers=self.headers())

    def patch(self, path, body):
        return self.client.patch(path, json=body, headers=self.headers())

    def delete(self, path):
        return self.client.delete(path, headers=self.headers())

    def post(self, path, body=None, key=None):
        key = key or secrets.token_hex(8)
        return self.client.post(path, json=body or {}, headers=self.headers(**{"Idempotency-Key": key}))


class Person(Caller):
    stays_signed_in = timedelta()
    """How long a session is used. Tests advance the clock by months; unused, a session lasts for 60 days."""

    def __init__(self, world, country, zone):
        self.world, self.signed_in_at, number = world, None, next(_numbers)
        with world.app.app_context():
            email = f"viewer{number}@example.com"
            account = Account(
                email=email, email_key=email, country=country, time_zone=zone, locale="en", created_at=world.clock()
            )
            db.session.add(account)
            db.session.flush()
            now = world.clock()
            device = Device(account_id=account.id, name="TV", kind="tv", created_at=now, last_seen_at=now)
            db.session.add(device)
            db.session.commit()
            self.id, self.device_id = account.id, device.id
        super().__init__(world.app, None)

    def headers(self, **more):
        now = self.world.clock.at
        if self.signed_in_at is None or not timedelta() <= now - self.signed_in_at <= self.stays_signed_in:
            self.sign_in()
        return super().headers(**more)

    def sign_in(self):
        """Create a session that starts now."""
        self.token, now = SESSION_TOKEN_PREFIX + secrets.token_urlsafe(32), self.world.clock()
        with self.world.app.app_context():
            times = {"created_at": now, "authenticated_at": now, "last_seen_at": now}
            values = {"token_hash": hash_token(self.token), "lifetime": "tv", "epoch": 0}
            db.session.add(Session(account_id=self.id, device_id=self.device_id, **values, **times))
            db.session.commit()
        self.signed_in_at = now

    def add_card(self, token="pm_card_visa"):
        response = self.post("/v1/payment-methods", {"token": token})
        assert response.status_code == 201, response.json
        return response.json["id"]

    def subscribe(self, price_id, **more):
        return self.post("/v1/subscriptions", {"price_id": price_id, **more})

    def subscription(self):
        return self.get("/v1/subscriptions").json["items"][0]

    def balances(self):
        return self.get("/v1/account/balance").json["balances"]

    def invoices(self):
        """Return all invoices, oldest first."""
        page = self.get("/v1/invoices?limit=100").json
        items = page["items"]
        while page["next_cursor"]:
            page = self.get(f"/v1/invoices?limit=100&cursor={page['next_cursor']}").json
            items += page["items"]
        return items[::-1]

    def lines(self):
        """Return (kind, start, end, amount) of every line, oldest first."""
        return [
            (line["kind"], line["period"]["start"], line["period"]["end"], line["amount_minor"])
            for invoice in self.invoices()
            for line in invoice["lines"]
            if line["period"]
        ]
