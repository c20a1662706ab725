"""The resources that operators change, with the members that the audit log compares: those of the API.

Secrets join as `Hidden`. What also changes without an operator (counters, times of use) is left out.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa
from marshmallow import Schema
from sqlalchemy.orm import InstrumentedAttribute, aliased

from streamsvc import clock
from streamsvc.models import (
    Account,
    AccountRecovery,
    ApiKey,
    Import,
    Job,
    OperatorAccount,
    OperatorCode,
    OperatorSession,
    Person,
    ServiceEpoch,
    Session,
    Stream,
    WebhookDelivery,
    WebhookEndpoint,
)
from streamsvc.models.subscriptions import (
    Coupon,
    GiftCode,
    Invoice,
    LegalEntity,
    Payout,
    Plan,
    PriceMigration,
    ReferralReward,
    StoreSubscription,
    Subscription,
    TaxRate,
)
from streamsvc.operations.billing.core import credit
from streamsvc.operations.billing.subscriptions.store_views import any_subscription_view
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.operations.catalog.browse import collections
from streamsvc.operations.catalog.channels import writing as channels
from streamsvc.operations.catalog.people import editing as people
from streamsvc.operations.catalog.titles import editing, writing
from streamsvc.operations.maintenance import failed_jobs
from streamsvc.operations.outbox import webhooks
from streamsvc.operations.outbox.audited_changes import AuditedResource, Hidden
from streamsvc.operations.playback import home
from streamsvc.operations.sign_in.recoveries import admin_recovery_view
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.accounts import AdminAccount
from streamsvc.schemas.admin.api_keys import ApiKeyOut
from streamsvc.schemas.admin.catalog import ImportOut
from streamsvc.schemas.admin.failed_jobs import JobOut
from streamsvc.schemas.admin.legal_entities import LegalEntityOut
from streamsvc.schemas.admin.operators import OperatorOut
from streamsvc.schemas.admin.payouts import PayoutOut
from streamsvc.schemas.admin.recoveries import AdminRecovery
from streamsvc.schemas.admin.subscriptions import (
    AdminSubscriptionOut,
    CouponAdminOut,
    PriceMigrationOut,
    ReferralRewardOut,
    TaxRateOut,
)
from streamsvc.schemas.admin.webhooks import WebhookDeliveryOut, WebhookEndpointOut
from streamsvc.schemas.subscriptions.invoices import InvoiceOut
from streamsvc.schemas.subscriptions.subscriptions import PlanOut
from streamsvc.storage.database import db


def _find_row(column: InstrumentedAttribute, value: str) -> Any:
    """Find the row with this key, locked as by the update that follows, so that nobody changes it in between."""
    model = column.class_
    statement = sa.select(model).where(column == value)
    return db.session.scalar(statement.with_for_update(of=model, key_share=True))


def _row_resource(
    resource_type: str,
    column: InstrumentedAttribute,
    schema: Schema,
    view: Callable[[Any], Any] = lambda row: row,
    hidden: dict[str, Callable[[Any], object]] | None = None,
    exists: Callable[[Any], bool] = lambda row: True,
) -> AuditedResource:
    """Return the resource of one row: found by `column`, with the members of an API schema.

    `view` converts the row to what the schema dumps; `hidden` is {member: function of the row} for secrets; `exists` is
    false for a row that the API treats as deleted.
    """

    def load(key: str) -> dict | None:
        row = _find_row(column, key)
        if row is None or not exists(row):
            return None
        return schema.dump(view(row)) | {name: Hidden(secret_of(row)) for name, secret_of in (hidden or {}).items()}

    return AuditedResource(resource_type, load)


def _load_subscription(key: str) -> dict | None:
    row = _find_row(Subscription.id, key) or _find_row(StoreSubscription.id, key)
    return AdminSubscriptionOut().dump(any_subscription_view(row)) if row is not None else None


def _load_account_sessions(account_id: str) -> dict:
    live = Session.live(account_id, clock.now()).with_only_columns(Session.id)
    return {"sessions": sorted(db.session.scalars(live))}


def _load_operator_sessions(operator_id: str) -> dict:
    live = OperatorSession.live(operator_id, clock.now()).with_only_columns(OperatorSession.id)
    return {"sessions": sorted(db.session.scalars(live))}


def _load_service_epoch(_: str) -> dict:
    return {"number": db.session.scalar(sa.select(ServiceEpoch.number)) or 0}


def _load_columns(column: InstrumentedAttribute, names: tuple[str, ...]) -> Callable[[str], dict | None]:
    """Return the loader of a row's columns."""

    def load(key: str) -> dict | None:
        row = _find_row(column, key)
        return row and {name: getattr(row, name) for name in names}

    return load


def _load_gift_codes(first_id: str) -> dict:
    """Return what gift codes that were created together have in common, with their ids: the codes are worth money."""
    first = db.session.get_one(GiftCode, first_id)
    names = ("currency", "amount_minor", "expires_at", "price_id", "periods")
    together = (GiftCode.id >= first.id, *(getattr(GiftCode, name) == getattr(first, name) for name in names[:2]))
    ids = sa.select(GiftCode.id).where(GiftCode.created_at == first.created_at, *together).order_by(GiftCode.id)
    return {name: getattr(first, name) for name in names} | {"ids": list(db.session.scalars(ids))}


def _list_recovery_codes(operator: OperatorAccount) -> list[str]:
    hashes = sa.select(OperatorCode.code_hash).where(OperatorCode.operator_id == operator.id)
    return sorted(db.session.scalars(hashes))


def _load_collection(code: str) -> dict | None:
    try:
        return collections.get_collection_definition(code)
    except NotFound:
        return None


def _load_tax_rates(country: str) -> dict | None:
    """Return the members of the standard rate, and in `rates` the country's other rates by category."""
    rates = db.session.scalars(sa.select(TaxRate).where(TaxRate.country == country).with_for_update(key_share=True))
    by_category = {rate.category: TaxRateOut().dump(rate) for rate in rates}
    members = by_category.pop(STANDARD_CATEGORY, {})
    return members | ({"rates": by_category} if by_category else {}) or None


def _load_title(name: str) -> dict | None:
    row = db.session.execute(editing.STORED_TITLE, {"name": name}).first()
    return row and {"id": row.id} | editing.decode_title_record(row)


def _load_person(external_id: str) -> dict | None:
    row = db.session.execute(people.STORED_PERSON, {"name": external_id}).first()
    return row and {"id": row.id} | people.decode_person_record(row)


def _load_person_by_id(person_id: str) -> dict | None:
    target = aliased(Person)
    select = sa.select(Person.name, Person.external_id, target.id.label("merged_into"))
    merged = select.outerjoin(target, target.pk == Person.merged_into)
    row = db.session.execute(merged.where(Person.id == person_id)).first()
    return row and row._asdict()


def _webhook_endpoint_view(row: WebhookEndpoint) -> dict:
    """Return the endpoint's columns, with a URL that has neither a password nor a query: both may be secrets."""
    names = ("id", "kinds", "created_at", "disabled_at")
    parts = urlsplit(row.url)
    url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return {name: getattr(row, name) for name in names} | {"url": url}


def _find_url_secrets(row: WebhookEndpoint) -> tuple[str, str] | None:
    parts = urlsplit(row.url)
    secrets = parts.netloc.rpartition("@")[0], parts.query
    return secrets if any(secrets) else None


ACCOUNT = _row_resource("account", Account.id, AdminAccount())
ACCOUNT_CREDIT = AuditedResource("account", lambda key: {"credit_balances": credit.list_credit_balances(key)})
ACCOUNT_SESSIONS = AuditedResource("account", _load_account_sessions)
API_KEY = _row_resource("api_key", ApiKey.id, ApiKeyOut(exclude=("last_used_at",)))
CHANNEL = AuditedResource("channel", channels.load_channel_members, lock=writing.lock_catalog, id_member="external_id")
COLLECTION = AuditedResource("collection", _load_collection, lock=writing.lock_catalog)
COUPON = _row_resource("coupon", Coupon.code, CouponAdminOut(exclude=("redeemed",)))
GIFT_CODES = AuditedResource("gift_codes", _load_gift_codes)
FAILED_JOBS = AuditedResource(
    "failed_jobs", lambda _: {"count_by_kind": failed_jobs.count_failed_jobs_by_kind()}, only_id="failed_jobs"
)
HOME = AuditedResource(
    "home", lambda _: {"items": home.list_configured_rows()}, lock=writing.lock_catalog, only_id="home"
)
IMPORT = _row_resource("import", Import.id, ImportOut())
INVOICE = _row_resource("invoice", Invoice.id, InvoiceOut(), invoice_view)
JOB = _row_resource("job", Job.id, JobOut())
LEGAL_ENTITY = _row_resource("legal_entity", LegalEntity.code, LegalEntityOut(exclude=("updated_at",)))
OPERATOR = _row_resource(
    "operator",
    OperatorAccount.id,
    OperatorOut(),
    hidden={
        "password": lambda row: row.password_hash,
        "authenticator": lambda row: row.totp_encrypted,
        "pending_authenticator": lambda row: row.totp_pending_encrypted,
        "recovery_codes": _list_recovery_codes,
    },
)
OPERATOR_SESSION = AuditedResource(
    "operator_session", _load_columns(OperatorSession.id, ("operator_id", "created_at", "ended_at"))
)
OPERATOR_SESSIONS = AuditedResource("operator", _load_operator_sessions)
PAYOUT = _row_resource("payout", Payout.id, PayoutOut())
PERSON = AuditedResource("person", _load_person, lock=writing.lock_catalog, id_member="external_id")
PERSON_BY_ID = AuditedResource("person", _load_person_by_id, lock=writing.lock_catalog)
PLAN = _row_resource("plan", Plan.code, PlanOut())
PRICE_MIGRATION = _row_resource("price_migration", PriceMigration.id, PriceMigrationOut(exclude=("counts",)))
RECOVERY = _row_resource(
    "account_recovery", AccountRecovery.id, AdminRecovery(), lambda row: admin_recovery_view(row, clock.now())
)
REFERRAL_REWARD = _row_resource("referral_reward", ReferralReward.currency, ReferralRewardOut())
SERVICE_EPOCH = AuditedResource("service_epoch", _load_service_epoch, only_id="service")
SESSION = AuditedResource(
    "session",
    _load_columns(
        Session.id, ("account_id", "profile_id", "created_at", "ended_at", "impersonated_by", "impersonation_reason")
    ),
)
STREAM = AuditedResource(
    "stream", _load_columns(Stream.id, ("account_id", "item_id", "started_at", "ended_at", "end_reason"))
)
SUBSCRIPTION = AuditedResource("subscription", _load_subscription)
TAX_RATE = AuditedResource("tax_rate", _load_tax_rates)
TITLE = AuditedResource("title", _load_title, lock=writing.lock_catalog, id_member="external_id")
WEBHOOK_DELIVERY = _row_resource("webhook_delivery", WebhookDelivery.id, WebhookDeliveryOut())
WEBHOOK_REDELIVERIES = AuditedResource(
    "webhook_deliveries", lambda _: {"given_up": webhooks.count_given_up(None)}, only_id="webhook_deliveries"
)
WEBHOOK_ENDPOINT = _row_resource(
    "webhook_endpoint",
    WebhookEndpoint.id,
    WebhookEndpointOut(),
    _webhook_endpoint_view,
    hidden={"secret": lambda row: row.secret_encrypted, "url_secrets": _find_url_secrets},
    exists=lambda row: row.removed_at is None,
)
