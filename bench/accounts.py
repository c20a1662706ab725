"""Accounts, devices and sessions, inserted as rows by the thousand, as targets for simulated attacks."""

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bench.__main__ import create_database
from streamsvc.app import create_app
from streamsvc.models import Account, Device, Session
from streamsvc.rules.sign_in.sessions import hash_token, new_token
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id

ONE_DAY = timedelta(days=1)
"""Longer than any run: added to times that must not expire meanwhile."""


@contextmanager
def migrated_database(kind: str, folder: Path, env: dict):
    """Create a migrated database of this kind, and yield the environment that an app on it needs."""
    with create_database(kind, folder) as url:
        env = env | {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
        subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
        yield env


@contextmanager
def local_app_context(env: dict):
    """The context of an app in this process, on the service's database; closes all its connections at the end."""
    app = create_app(Settings.from_env(env))
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def account_rows(names, password_hash: str | None, **columns) -> list[dict]:
    """Rows of accounts with the address name@bench.example; `columns` are set on all of them."""
    now = datetime.now(UTC)
    common = {"country": "DE", "time_zone": "UTC", "locale": "en", "status": "active", "created_at": now}
    common |= {"password_hash": password_hash} | columns
    emails = (f"{name}@bench.example" for name in names)
    return [{"id": new_id("acc"), "email": email, "email_key": email} | common for email in emails]


def device_row(account: dict) -> dict:
    now = datetime.now(UTC)
    row = {"id": new_id("dev"), "account_id": account["id"], "name": "TV", "kind": "tv"}
    return row | {"created_at": now, "last_seen_at": now}


def session_row(device: dict) -> tuple[str, dict]:
    """(token, row) of a session on the device, which counts as recently authenticated throughout the run."""
    now, token = datetime.now(UTC), new_token()
    row = {"id": new_id("ses"), "account_id": device["account_id"], "device_id": device["id"], "lifetime": "tv"}
    row |= {"epoch": 0, "created_at": now, "last_seen_at": now, "authenticated_at": now + ONE_DAY}
    return token, row | {"token_hash": hash_token(token)}


def insert_rows(accounts=(), devices=(), sessions=()) -> None:
    """Insert the rows and commit."""
    for model, rows in ((Account, accounts), (Device, devices), (Session, sessions)):
        if rows:
            db.session.execute(sa.insert(model), list(rows))
    db.session.commit()
