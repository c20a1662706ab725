"""Accounts, devices and sessions by the thousand, as rows: what an attack falls on."""

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bench.__main__ import database
from streamsvc.app import create_app
from streamsvc.models import Account, Device, Session
from streamsvc.rules.sign_in.sessions import hash_token, new_token
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id

NO_WINDOW_CLOSES = timedelta(days=1)


@contextmanager
def empty_service(kind: str, folder: Path, env: dict):
    """A migrated database of this kind; gives the environment that an app on it needs."""
    with database(kind, folder) as url:
        env = env | {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
        subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
        yield env


@contextmanager
def at_the_desk(env: dict):
    """An app in this process, on the service's database; nothing of it is left open."""
    app = create_app(Settings.from_env(env))
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def accounts(names, password_hash: str | None, **more) -> list[dict]:
    """Rows of accounts, name@bench.example each; `more` columns for all."""
    now = datetime.now(UTC)
    same = {"country": "DE", "time_zone": "UTC", "locale": "en", "status": "active", "created_at": now}
    same |= {"password_hash": password_hash} | more
    mails = ((name, f"{name}@bench.example") for name in names)
    return [{"id": new_id("acc"), "email": mail, "email_key": mail} | same for _, mail in mails]


def device_of(account: dict) -> dict:
    now = datetime.now(UTC)
    row = {"id": new_id("dev"), "account_id": account["id"], "name": "TV", "kind": "tv"}
    return row | {"created_at": now, "last_seen_at": now}


def session_of(device: dict) -> tuple[str, dict]:
    """(token, row) of a session on the device, whose window for sensitive calls stays open."""
    now, token = datetime.now(UTC), new_token()
    row = {"id": new_id("ses"), "account_id": device["account_id"], "device_id": device["id"], "lifetime": "tv"}
    row |= {"epoch": 0, "created_at": now, "last_seen_at": now, "authenticated_at": now + NO_WINDOW_CLOSES}
    return token, row | {"token_hash": hash_token(token)}


def keep(accounts=(), devices=(), sessions=()) -> None:
    """Insert the rows, and commit."""
    for kind, rows in ((Account, accounts), (Device, devices), (Session, sessions)):
        if rows:
            db.session.execute(sa.insert(kind), list(rows))
    db.session.commit()
