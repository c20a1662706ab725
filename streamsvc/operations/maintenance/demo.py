"""The demo data: real films, short videos, a few plans, a viewer with a plan, and an operator's API key.

Seeding again changes nothing.
"""

import base64
import hmac
import json
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from streamsvc.models import Account, ApiKey, Collection
from streamsvc.models.subscriptions import Plan, Price, Subscription
from streamsvc.operations.accounts.accounts import register_account
from streamsvc.operations.accounts.api_keys import create_api_key_from_token
from streamsvc.operations.accounts.profiles import create_profile
from streamsvc.operations.billing.payments.methods import attach_payment_method
from streamsvc.operations.billing.plans import replace_plan
from streamsvc.operations.billing.subscriptions.subscribe import subscribe_account
from streamsvc.operations.catalog.browse.collections import replace_collection
from streamsvc.operations.playback.home import list_configured_rows, replace_home_rows
from streamsvc.rules.emails import email_key
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, hash_token
from streamsvc.schemas.catalog.browse import CollectionIn, HomeIn
from streamsvc.schemas.subscriptions.subscriptions import PlanIn, SubscriptionIn
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

FOLDER = Path(__file__).parent.parent.parent / "demo"
CATALOGS = (FOLDER / "catalog.ndjson.gz", FOLDER / "titles.ndjson")
"""The real films, and the titles that have a video in the demo."""
MEDIA = FOLDER / "media"
MEDIA_PATH = "/media/demo/"
"""Where the videos in MEDIA are served. What is below /media/ but not here is the stand-in of another title."""
STAND_IN = "stand-in"
EMAIL = "viewer@example.com"
COUNTRY, CURRENCY = "US", "USD"
PLAN, TEST_CARD = "premium", "pm_card_visa"
KIDS_MAX_AGE, MAX_PROFILES = 6, 7


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
    """Create the plans, the viewer with a subscription, and the operator's API key that do not exist yet. Commits."""
    for plan in json.loads((FOLDER / "plans.json").read_text()):
        replace_plan(plan["code"], PlanIn().load(plan), now)
    account = Account.find_by_email_key(email_key(EMAIL))
    account_id = account.id if account else _create_viewer(now)
    if not db.session.scalar(sa.select(ApiKey.id).where(ApiKey.token_hash == hash_token(demo_operator_token()))):
        create_api_key_from_token("demo operator", ["admin"], demo_operator_token(), expires_at=None)
    db.session.commit()
    if not db.session.scalar(sa.select(Subscription.id).where(Subscription.account_id == account_id).limit(1)):
        _subscribe_viewer(account_id, now)


def _create_viewer(now: datetime) -> str:
    account_id = register_account(EMAIL, demo_password(), COUNTRY, now, name="Demo Viewer", verified=True)
    create_profile(account_id, {"name": "Kids", "kids": True, "max_age": KIDS_MAX_AGE}, MAX_PROFILES, now)
    return account_id


def _subscribe_viewer(account_id: str, now: datetime) -> None:
    """Add a test card and subscribe, as the viewer would. Not if somebody changed what the demo sells. Commits."""
    on_sale = (
        sa.select(Price.id).join(Plan, Plan.id == Price.plan_id).where(Plan.code == PLAN, Price.interval == "month")
    )
    price_ids = db.session.scalars(on_sale.where(Price.currency == CURRENCY)).all()
    price = next((p for price_id in price_ids if (p := Price.find_on_sale(price_id, COUNTRY))), None)
    if price is None:
        return
    attach_payment_method(account_id, TEST_CARD, now)
    db.session.commit()
    subscribe_account(account_id, SubscriptionIn().load({"price_id": price.id}), now, account_id, request_key=None)


def seed_rows(now: datetime) -> None:
    """Create the collections that do not exist yet, and arrange the home page unless somebody has. Commits."""
    rows = json.loads((FOLDER / "rows.json").read_text(encoding="utf-8"))
    known = set(db.session.scalars(sa.select(Collection.code)))
    for collection in rows["collections"]:
        code = collection.pop("code")
        if code not in known:
            replace_collection(code, CollectionIn().load(collection), now)
    if not list_configured_rows():
        replace_home_rows(HomeIn().load({"items": rows["home"]})["items"])
    db.session.commit()
