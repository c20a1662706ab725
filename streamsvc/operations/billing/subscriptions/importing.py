"""Live subscribers of another system, line by line: nobody is charged for what they have paid there.

Each line is a unit of work of its own. A subscriber is known by the other system's id: the same file twice changes
nothing, and a file that was cut short is simply imported again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from marshmallow import ValidationError
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways.payments import provider
from streamsvc.http.edge import flatten_messages, parse_strict_json
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, Price, Subscription
from streamsvc.operations.accounts.accounts import NewAccount, create_account
from streamsvc.operations.billing.core import credit
from streamsvc.operations.billing.subscriptions.subscribe import start_subscription
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.billing import AlreadySubscribed
from streamsvc.rules.refusals.requests import Invalid, Malformed
from streamsvc.schemas.admin.subscribers import SubscriberLine
from streamsvc.storage.database import db, lock_row

IMPORT_ACTOR = "import"
LINE_SCHEMA = SubscriberLine()


class SubscriberRejection(NamedTuple):
    line: int
    external_id: str | None
    field: str
    code: str
    reason: str


@dataclass
class SubscriberImportReport:
    """What became of a file: added + unchanged + rejected = lines."""

    lines: int = 0
    counts: Counter = field(default_factory=Counter)
    rejections: list[SubscriberRejection] = field(default_factory=list)


def import_subscribers(
    path: Path | str, now: datetime, dry_run: bool = False, on_progress: Callable[[], None] = lambda: None
) -> SubscriberImportReport:
    """Import a file of NDJSON. With `dry_run` every line is tried and taken back."""
    report = SubscriberImportReport()
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            on_progress()
            if raw.strip():
                report.lines += 1
                _import_line(report, number, raw, now, dry_run)
    return report


def _import_line(report: SubscriberImportReport, number: int, raw: bytes, now: datetime, dry_run: bool) -> None:
    told = None
    try:
        told = parse_strict_json(raw)
        outcome = import_subscriber(LINE_SCHEMA.load(told), now)
        if dry_run:
            db.session.rollback()
        else:
            db.session.commit()
        report.counts[outcome] += 1
    except (ValidationError, Refusal, IntegrityError) as error:
        db.session.rollback()
        external_id = told.get("external_id") if isinstance(told, dict) else None
        report.counts["rejected"] += 1
        report.rejections += [SubscriberRejection(number, external_id, *flaw) for flaw in _list_line_errors(error)]
    finally:
        db.session.remove()


def _list_line_errors(error) -> list[tuple[str, str, str]]:
    """(field, code, reason) of all that is wrong with a line."""
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
    """Bring one subscriber along, in the caller's unit of work: added or unchanged.

    Raises Invalid, AlreadySubscribed.
    """
    key = f"{IMPORT_ACTOR} {subscriber['external_id']}"
    if db.session.scalar(sa.select(Subscription.id).where(Subscription.request_key == key)):
        return "unchanged"
    if subscriber["paid_through"] <= civil_day(now, subscriber["time_zone"]):
        raise Invalid(errors={"paid_through": ["It has passed: the other system has to renew it first."]})
    account = _get_or_create_account(subscriber, now)
    method = subscriber["payment_method"] and _get_or_create_payment_method(account, subscriber["payment_method"], now)
    asked = {
        "price_id": subscriber["price_id"] or _get_price_id(subscriber),
        "start_date": subscriber["started_on"],
        "paid_through": subscriber["paid_through"],
        "anchor_day": subscriber["anchor_day"],
        "payment_method_id": method and method.id,
    }
    at = start_subscription(account, asked, now, IMPORT_ACTOR, key, payment_method_required=False)
    if subscriber["cancel_at_period_end"]:
        at.record_event(fact.EndScheduled, None, False, actor=IMPORT_ACTOR)
    at.save_projection()
    if subscriber["credit_minor"]:
        credit.grant_credit(account, subscriber["credit_minor"], at.subscription.currency, "Brought along", now)
    return "added"


def _get_or_create_account(subscriber: dict, now: datetime) -> Account:
    """The account of this e-mail, or a new one: its owner gets in by asking for a new password."""
    known = Account.find_by_email_key(email_key(subscriber["email"]))
    names = ("country", "time_zone", "locale", "name")
    new = NewAccount(subscriber["email"], None, **{name: subscriber[name] for name in names})
    return lock_row(Account, known.id if known else create_account(new, now, verified=True))


def _get_or_create_payment_method(account: Account, details: dict, now: datetime) -> PaymentMethod:
    """What the payment provider already keeps, under its reference there."""
    known = PaymentMethod.kept(account.id).where(PaymentMethod.reference == details["reference"])
    method = db.session.scalar(known)
    if method is None:
        first = PaymentMethod.default_of(account.id) is None
        kept = {"account_id": account.id, "provider": provider().name, "is_default": first, "created_at": now}
        method = PaymentMethod(**kept, **details)
        db.session.add(method)
        db.session.flush()
    return method


def _get_price_id(subscriber: dict) -> str:
    """The price of these terms that is on sale. Raises Invalid where there is none, or more than one."""
    terms = subscriber["price"]
    found = db.session.scalars(
        sa.select(Price.id).where(
            Price.plan.has(code=terms["plan"]),
            Price.retired_at.is_(None),
            *(getattr(Price, name) == terms[name] for name in terms if name != "plan"),
        )
    ).all()
    if len(found) != 1:
        raise Invalid(errors={"price": [f"{len(found)} prices on sale have these terms; put the plan first."]})
    return found[0]
