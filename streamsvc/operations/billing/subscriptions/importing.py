"""Import of active subscribers from another system, without charging them for periods that they paid for there.

Each line is imported in its own transaction. Subscribers are identified by the other system's id, so importing a file
twice changes nothing, and an interrupted import is simply run again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from marshmallow import ValidationError
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways.payments import current_provider
from streamsvc.http.edge import flatten_messages, parse_strict_json
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, Price, Subscription
from streamsvc.operations.accounts.accounts import NewAccount, create_account
from streamsvc.operations.billing.core import credit, customers
from streamsvc.operations.billing.subscriptions.subscribe import start_subscription
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import SubscriptionInput
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.billing import AlreadySubscribed
from streamsvc.rules.refusals.requests import Invalid, Malformed
from streamsvc.schemas.admin.subscribers import SubscriberRowIn
from streamsvc.storage.database import db, lock_existing_row

IMPORT_ACTOR = "import"
LINE_SCHEMA = SubscriberRowIn()


class SubscriberRejection(NamedTuple):
    """One error in a line of the file."""

    line: int
    external_id: str | None
    field: str
    code: str
    reason: str


@dataclass
class SubscriberImportReport:
    """The result of an import: added + unchanged + rejected = lines."""

    lines: int = 0
    counts: Counter = field(default_factory=Counter)
    rejections: list[SubscriberRejection] = field(default_factory=list)


def import_subscribers(
    path: Path | str, now: datetime, dry_run: bool = False, on_progress: Callable[[], None] = lambda: None
) -> SubscriberImportReport:
    """Import an NDJSON file. With `dry_run` every line is imported and rolled back."""
    report = SubscriberImportReport()
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            on_progress()
            if raw.strip():
                report.lines += 1
                _import_line(report, number, raw, now, dry_run)
    return report


def _import_line(report: SubscriberImportReport, number: int, raw: bytes, now: datetime, dry_run: bool) -> None:
    record = None
    try:
        record = parse_strict_json(raw)
        outcome = import_subscriber(LINE_SCHEMA.load(record), now)
        if dry_run:
            db.session.rollback()
        else:
            db.session.commit()
        report.counts[outcome] += 1
    except (ValidationError, Refusal, IntegrityError) as error:
        db.session.rollback()
        external_id = record.get("external_id") if isinstance(record, dict) else None
        report.counts["rejected"] += 1
        report.rejections += [
            SubscriberRejection(number, external_id, *line_error) for line_error in _list_line_errors(error)
        ]
    finally:
        db.session.remove()


def _list_line_errors(error: Any) -> list[tuple[str, str, str]]:
    """List the errors of a line as (field, code, reason)."""
    if isinstance(error, ValidationError):
        return [(name, "invalid", reason) for name, reasons in flatten_messages(error.messages) for reason in reasons]
    if isinstance(error, Invalid):
        return [(name, error.code, reason) for name, reasons in error.members["errors"].items() for reason in reasons]
    if isinstance(error, Malformed):
        return [("line", error.code, error.detail)]
    if isinstance(error, IntegrityError):
        error = AlreadySubscribed()
    return [("email", error.code, error.detail)]


def import_subscriber(subscriber: dict, now: datetime) -> str:
    """Import one subscriber in the caller's transaction. Returns `added` or `unchanged`.

    Raises Invalid, AlreadySubscribed.
    """
    key = f"{IMPORT_ACTOR} {subscriber['external_id']}"
    if db.session.scalar(sa.select(Subscription.id).where(Subscription.request_key == key)):
        return "unchanged"
    if subscriber["paid_through"] <= civil_day(now, subscriber["time_zone"]):
        raise Invalid(
            errors={"paid_through": ["Must be in the future; renew the subscription in the other system first."]}
        )
    account = _get_or_create_account(subscriber, now)
    method = subscriber["payment_method"] and _get_or_create_payment_method(account, subscriber["payment_method"], now)
    body: SubscriptionInput = {
        "price_id": subscriber["price_id"] or _get_price_id(subscriber),
        "payment_method_id": method.id if method else None,
        "coupon": None,
        "coupons": [],
        "gift_code": None,
        "referral_code": None,
        "device_fingerprint": None,
        "anchor_day": subscriber["anchor_day"],
        "anchor_month": subscriber["anchor_month"],
        "start_date": subscriber["started_on"],
        "addons": [],
        "addon_items": [],
    }
    aggregate = start_subscription(
        account,
        body,
        now,
        IMPORT_ACTOR,
        key,
        payment_method_required=False,
        paid_through=subscriber["paid_through"],
    )
    if subscriber["cancel_at_period_end"]:
        aggregate.record_event(fact.EndScheduled, None, False, actor=IMPORT_ACTOR)
    aggregate.save_projection()
    if subscriber["credit_minor"]:
        credit.grant_credit(
            account, subscriber["credit_minor"], aggregate.subscription.currency, "Imported balance", now
        )
    return "added"


def _get_or_create_account(subscriber: dict, now: datetime) -> Account:
    """Lock the account with this email, or create one; its owner signs in after resetting the password."""
    account = Account.find_by_email_key(email_key(subscriber["email"]))
    names = ("country", "time_zone", "locale", "name")
    new_account = NewAccount(subscriber["email"], None, **{name: subscriber[name] for name in names})
    return lock_existing_row(Account, account.id if account else create_account(new_account, now, verified=True))


def _get_or_create_payment_method(account: Account, details: dict, now: datetime) -> PaymentMethod:
    """Return the payment method with the provider's reference, storing it if it is new."""
    statement = PaymentMethod.select_owned(account.id).where(PaymentMethod.reference == details["reference"])
    method = db.session.scalar(statement)
    if method is None:
        is_first = PaymentMethod.find_default(account.id) is None
        values = {
            "account_id": account.id,
            "provider": current_provider().name,
            "is_default": is_first,
            "created_at": now,
        }
        method = PaymentMethod(**values, **details)
        db.session.add(method)
        customers.record_customer_of(method, now)
        db.session.flush()
    return method


def _get_price_id(subscriber: dict) -> str:
    """Return the id of the price on sale with these terms. Raises Invalid unless there is exactly one."""
    terms = subscriber["price"]
    price_ids = db.session.scalars(
        sa.select(Price.id).where(
            Price.plan.has(code=terms["plan"]),
            Price.retired_at.is_(None),
            *(getattr(Price, name) == terms[name] for name in terms if name != "plan"),
        )
    ).all()
    if len(price_ids) != 1:
        raise Invalid(
            errors={
                "price": [
                    f"{len(price_ids)} prices on sale have these terms; exactly one must. Check the plan's prices."
                ]
            }
        )
    return price_ids[0]
