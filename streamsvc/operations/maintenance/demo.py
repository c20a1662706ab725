"""The demo data: real films, a few plans, a viewer and an operator's API key. Seeding again changes nothing."""

import base64
import hmac
import json
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from streamsvc.models import Account, ApiKey
from streamsvc.operations.accounts.accounts import register_account
from streamsvc.operations.accounts.api_keys import create_api_key_from_token
from streamsvc.operations.billing.plans import replace_plan
from streamsvc.rules.emails import email_key
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, hash_token
from streamsvc.schemas.subscriptions.subscriptions import PlanIn
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

FOLDER = Path(__file__).parent.parent.parent / "demo"
CATALOG = FOLDER / "catalog.ndjson.gz"
EMAIL = "viewer@example.com"


def demo_password() -> str:
    """Return the demo viewer's password, derived from this installation's secret key."""
    return "demo-" + _derive_secret("viewer's password")[:12]


def demo_operator_token() -> str:
    """Return the demo operator's API key, derived from this installation's secret key."""
    return API_KEY_PREFIX + "demo_" + _derive_secret("operator's key")


def _derive_secret(purpose: str) -> str:
    secret = current_settings().secret_key[0]
    digest = hmac.digest(secret.encode(), f"streamsvc demo: {purpose}".encode(), "sha256")
    return base64.b32encode(digest).decode().rstrip("=").lower()


def seed_accounts_and_plans(now: datetime) -> None:
    """Create the plans, the viewer and the operator's API key that do not exist yet. Commits."""
    for plan in json.loads((FOLDER / "plans.json").read_text()):
        replace_plan(plan["code"], PlanIn().load(plan), now)
    if Account.find_by_email_key(email_key(EMAIL)) is None:
        register_account(EMAIL, demo_password(), "US", now, name="Demo Viewer", verified=True)
    if not db.session.scalar(sa.select(ApiKey.id).where(ApiKey.token_hash == hash_token(demo_operator_token()))):
        create_api_key_from_token("demo operator", ["admin"], demo_operator_token(), expires_at=None)
    db.session.commit()
