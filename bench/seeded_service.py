"""A service under test: the demo catalogue, and viewers who are signed in, subscribed and watching."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa

from streamsvc.app import create_app
from streamsvc.http.kept_responses import ResponseCache
from streamsvc.models import Account, Device, Profile, Session, Stream, StreamDevice, Title
from streamsvc.models.subscriptions import Invoice, InvoiceLine, Payment, Plan, Price, Subscription
from streamsvc.rules.sign_in.sessions import hash_token, new_token
from streamsvc.security import password_hashing
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id

VIEWERS = 2_000
INVOICED, INVOICES = 200, 12
"""How many viewers have invoices, and how many each."""
PASSWORD = "a long secret 7"
MAX_STREAMS = 1_000_000
"""The plan's stream limit during the benchmark, so that every playback request claims a slot and none is rejected."""


def create_app_without_kept_responses():
    """The app, which builds each document anew."""
    app = create_app()
    keep_no_responses(app)
    return app


def keep_no_responses(app) -> None:
    app.extensions["kept_responses"] = ResponseCache(max_bytes=0)


class SeededService:
    """A migrated and seeded database, with the tokens and ids in it. `env`: the environment of a server on it.

    `has_demo`: the demo's data are already there; else they are imported.
    """

    def __init__(self, env: dict, viewers: int = VIEWERS, has_demo: bool = False):
        self.env, self.viewers = env, viewers
        for command in () if has_demo else (["db", "upgrade"], ["demo", "seed"]):
            subprocess.run(
                [sys.executable, "-m", "streamsvc.cli", *command], env=env, check=True, stdout=subprocess.DEVNULL
            )
        self.app = create_app(Settings.from_env(env))
        with self.app.app_context():
            self.titles = db.session.scalars(sa.select(Title.id).order_by(Title.id).limit(5_000)).all()
            self.tokens = self._insert_viewers(datetime.now(UTC))
            db.session.commit()
            if db.engine.dialect.name == "postgresql":
                with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("ANALYZE")
            for engine in db.engines.values():
                engine.dispose()

    def reset(self) -> None:
        """Restore the initial state: one live stream per viewer, and a session that was just used.

        The streams live for a day, since a run takes longer than the 90 seconds that a heartbeat gives them. A session
        whose last use was five minutes ago costs a write, of which a process makes up to 20 a second: a larger share of
        the requests the busier the machine is.
        """
        with self.app.app_context():
            now = datetime.now(UTC)
            live = {"ended_at": None, "expires_at": now + timedelta(days=1)}
            db.session.execute(sa.update(Session).values(last_seen_at=now))
            db.session.execute(sa.delete(Stream).where(Stream.id > max(self.streams)))
            db.session.execute(sa.update(Stream).values(live))
            db.session.commit()

    def _insert_viewers(self, now: datetime) -> list[str]:
        plan = db.session.scalar(sa.select(Plan).where(Plan.code == "premium"))
        price = db.session.scalar(sa.select(Price).where(Price.plan_id == plan.id).limit(1))
        plan.features = plan.features | {"max_streams": MAX_STREAMS}
        rows = {model: [] for model in (Account, Profile, Device, Session, Subscription, StreamDevice, Stream)}
        rows |= {Invoice: [], InvoiceLine: [], Payment: []}
        tokens = [new_token() for _ in range(self.viewers)]
        self.streams, self.profiles = [], []
        password_hash, self.invoiced = password_hashing.hash_password(PASSWORD), INVOICED
        self.emails = [f"viewer{number}@bench.example" for number in range(self.viewers)]
        for number, token in enumerate(tokens):
            ids = {prefix: new_id(prefix) for prefix in ("acc", "pro", "dev", "ses", "sub", "str")}
            for model, row in _viewer_rows(number, token, ids, plan, price, random.choice(self.titles), now).items():
                rows[model].append(row)
            self.streams.append(ids["str"])
            self.profiles.append(ids["pro"])
            rows[Account][-1] |= {"password_hash": password_hash}
            if number < INVOICED:
                for model, of_model in _invoice_rows(ids, price, now).items():
                    rows[model] += of_model
        for model, of_model in rows.items():
            db.session.execute(sa.insert(model), of_model)
        return tokens

    def start_streams(self) -> list[tuple[str, str]]:
        """(playback token, path that it opens) of some new streams; the tokens hold for 90 seconds."""
        client, started = self.app.test_client(), []
        for token in self.tokens[:50]:
            headers = {"Authorization": f"Bearer {token}"}
            response = client.post("/v1/playback", json={"item_id": random.choice(self.titles)}, headers=headers)
            assert response.status_code == 201, response.text
            path = urlsplit(response.json["manifests"][0]["url"]).path
            started.append((response.json["grant"]["token"], path.rpartition("/")[0] + "/1.ts"))
        return started


def _viewer_rows(number, token, ids, plan, price, title_id, now) -> dict:
    """Model → row, for everything that one viewer has."""
    email = f"viewer{number}@bench.example"
    owner = {"account_id": ids["acc"]}
    tomorrow = now + timedelta(days=1)
    return {
        Account: {
            "id": ids["acc"],
            "email": email,
            "email_key": email,
            "country": "DE",
            "time_zone": "Europe/Berlin",
            "locale": "en",
            "status": "active",
            "created_at": now,
        },
        Profile: owner | {"id": ids["pro"], "name": "Viewer", "kids": False, "autoplay": True, "created_at": now},
        Device: owner | {"id": ids["dev"], "name": "TV", "kind": "tv", "created_at": now, "last_seen_at": now},
        Session: owner
        | {
            "id": ids["ses"],
            "device_id": ids["dev"],
            "profile_id": ids["pro"],
            "token_hash": hash_token(token),
            "lifetime": "tv",
            "epoch": 0,
            "created_at": now,
            "authenticated_at": now,
            "last_seen_at": now,
        },
        Subscription: owner
        | {
            "id": ids["sub"],
            "plan_id": plan.id,
            "price_id": price.id,
            "status": "active",
            "currency": price.currency,
            "time_zone": "Europe/Berlin",
            "started_on": now.date(),
            "period_start": now.date(),
            "period_end": now.date() + timedelta(days=30),
            "created_at": now,
        },
        StreamDevice: owner | {"device_id": ids["dev"], "first_played_at": now, "last_played_at": tomorrow},
        Stream: owner
        | {
            "id": ids["str"],
            "profile_id": ids["pro"],
            "session_id": ids["ses"],
            "device_id": ids["dev"],
            "title_id": title_id,
            "item_id": title_id,
            "country": "DE",
            "max_height": 2160,
            "state": "playing",
            "position_s": 0,
            "watched_s": 0,
            "started_at": now,
            "seen_at": now,
            "expires_at": tomorrow,
            "played_at": now,
        },
    }


def _invoice_rows(ids, price, now) -> dict:
    """Model → rows, for a year of paid invoices of one viewer."""
    rows = {Invoice: [], InvoiceLine: [], Payment: []}
    money = {"currency": price.currency, "created_at": now, "account_id": ids["acc"]}
    for month in range(INVOICES):
        start = now.date() - timedelta(days=30 * (INVOICES - month))
        invoice_id, end = new_id("inv"), start + timedelta(days=30)
        rows[Invoice].append(
            money
            | {
                "id": invoice_id,
                "subscription_id": ids["sub"],
                "number": f"{ids['acc']}-{month}",
                "status": "paid",
                "reason": "renewal",
                "customer": {"email": "viewer@bench.example", "country": "DE", "locale": "en"},
                "subtotal_minor": 1000,
                "discount_minor": 0,
                "tax_minor": 0,
                "total_minor": 1000,
                "amount_paid_minor": 1000,
                "issued_at": now,
                "due_date": start,
            }
        )
        rows[InvoiceLine].append(
            {
                "id": new_id("lin"),
                "invoice_id": invoice_id,
                "position": 0,
                "kind": "charge",
                "description": "Premium",
                "subscription_id": ids["sub"],
                "cause": "renewal",
                "item": "plan",
                "identity": f"renewal {month}",
                "price_id": price.id,
                "period_start": start,
                "period_end": end,
                "amount_minor": 1000,
            }
        )
        rows[Payment].append(
            money
            | {
                "id": new_id("pay"),
                "invoice_id": invoice_id,
                "status": "succeeded",
                "on_session": False,
                "amount_minor": 1000,
                "provider": "sandbox",
                "settled_at": now,
            }
        )
    return rows
