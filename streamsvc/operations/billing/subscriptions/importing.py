"""Import of active subscribers from another system, without charging them for periods that they paid for there.

Lines are imported in sets: each set is one transaction, whose reads and writes are those of all its lines together. A
set that fails is halved until the lines that fail are alone, so that every line has the result that it has by itself.
Subscribers are identified by the other system's id, so importing a file twice changes nothing, and an interrupted
import is simply run again.
"""

import time
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from marshmallow import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from streamsvc.gateways.payments import current_provider
from streamsvc.http.edge import flatten_messages, parse_strict_json
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.accounts.accounts import NewAccount, check_new_email, create_accounts
from streamsvc.operations.billing.core import batches, credit, customers
from streamsvc.operations.billing.stores.refreshing import retry_after_refresh
from streamsvc.operations.billing.subscriptions.subscribe import start_subscription
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import SubscriptionInput
from streamsvc.rules.emails import email_key, imitated_email_key
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.billing import AlreadySubscribed
from streamsvc.rules.refusals.requests import Invalid, Malformed
from streamsvc.schemas.admin.subscribers import SubscriberRowIn
from streamsvc.storage.database import batching_session, db, transaction_began_at
from streamsvc.storage.unit_of_work import UnitOfWork, unit_of_work, with_defaults

IMPORT_ACTOR = "import"
LINE_SCHEMA = SubscriberRowIn()
MAX_LOCK_S, MIN_SET_SIZE, MAX_SET_SIZE = 0.03, 16, 200
"""How long a set may keep others from writing, and how many lines it may have; the fewest take about as long."""
ACCOUNT_FIELDS = ("country", "time_zone", "locale", "name")
Terms = tuple
"""What identifies a price in a line: (plan, currency, amount_minor, interval, interval_count)."""


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

    def reject(self, number: int, external_id: str | None, error: Exception) -> None:
        """Report a rejected line with each of its errors."""
        self.counts["rejected"] += 1
        self.rejections += [SubscriberRejection(number, external_id, *values) for values in _list_line_errors(error)]


class Line(NamedTuple):
    """A valid line: its number, the id exactly as written, and the loaded SubscriberRowIn."""

    number: int
    external_id: str
    subscriber: dict

    @property
    def email_key(self) -> str:
        return email_key(self.subscriber["email"])

    @property
    def request_key(self) -> str:
        return f"{IMPORT_ACTOR} {self.subscriber['external_id']}"

    @property
    def names(self) -> set[str]:
        """What no two lines of one set may have in common."""
        imitated = imitated_email_key(self.subscriber["email"])
        return {self.email_key, self.request_key} | ({imitated} if imitated else set())


def import_subscribers(
    path: Path | str,
    now: datetime,
    dry_run: bool = False,
    on_progress: Callable[[], None] = lambda: None,
    max_set_size: int = MAX_SET_SIZE,
) -> SubscriberImportReport:
    """Import an NDJSON file. With `dry_run` every line is imported and rolled back."""
    report, size = SubscriberImportReport(), batches.BatchSize(MAX_LOCK_S, max_set_size, MIN_SET_SIZE, MIN_SET_SIZE)
    with Path(path).open("rb") as file:
        for lines in _split_into_sets(_load_lines(file, report, on_progress), size):
            _import_set(report, lines, now, dry_run, size)
    report.rejections.sort(key=lambda rejection: rejection.line)
    return report


def _load_lines(
    file: Iterable[bytes], report: SubscriberImportReport, on_progress: Callable[[], None]
) -> Iterator[Line]:
    """Yield the lines that have the form of a subscriber; the others are rejected. A byte order mark is dropped."""
    for number, raw in enumerate(file, 1):
        on_progress()
        if number == 1:
            raw = raw.removeprefix(BOM_UTF8)
        if not raw.strip():
            continue
        report.lines += 1
        record = None
        try:
            record = parse_strict_json(raw)
            subscriber = LINE_SCHEMA.load(record)
            yield Line(number, record["external_id"], subscriber)
        except (ValidationError, Refusal) as error:
            report.reject(number, record.get("external_id") if isinstance(record, dict) else None, error)


def _split_into_sets(lines: Iterable[Line], size: batches.BatchSize) -> Iterator[list[Line]]:
    """Yield sets of lines that have nothing to do with each other, so that their order within a set does not matter."""
    lines_of_set: list[Line] = []
    names: set[str] = set()
    for line in lines:
        if len(lines_of_set) >= size.value or names & line.names:
            yield lines_of_set
            lines_of_set, names = [], set()
        lines_of_set.append(line)
        names |= line.names
    if lines_of_set:
        yield lines_of_set


def _import_set(
    report: SubscriberImportReport, lines: Sequence[Line], now: datetime, dry_run: bool, size: batches.BatchSize
) -> None:
    try:
        added = _import_together(lines, now) if len(lines) > 1 else _import_alone(lines[0], now)
        began_at = transaction_began_at()
        if dry_run:
            db.session.rollback()
        else:
            db.session.commit()
        size.adapt(len(lines), time.monotonic() - began_at)
        report.counts["added"] += added
        report.counts["unchanged"] += len(lines) - added
    except (Refusal, IntegrityError) as error:
        db.session.rollback()
        if len(lines) == 1:
            report.reject(lines[0].number, lines[0].external_id, error)
            return
    else:
        return
    finally:
        db.session.remove()
    middle = len(lines) // 2  # only now: a half must not see the session of the set that failed
    for half in (lines[:middle], lines[middle:]):
        _import_set(report, half, now, dry_run, size)


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


def _import_alone(line: Line, now: datetime) -> int:
    """Import a set of one line; the app stores are asked before a third subscription of its account is refused."""
    account_id = db.session.scalar(sa.select(Account.id).where(Account.email_key == line.email_key))
    if account_id is None:
        return _import_together([line], now)
    return retry_after_refresh(account_id, now, lambda: _import_together([line], now))


def _import_together(lines: Sequence[Line], now: datetime) -> int:
    """Import the lines that are new, in the caller's transaction; return how many.

    Raises Invalid, EmailTaken, AlreadySubscribed, PaymentOverdue for any of them.
    """
    keys = sa.select(Subscription.request_key).where(Subscription.request_key.in_([line.request_key for line in lines]))
    known = set(db.session.scalars(keys))
    lines = [line for line in lines if line.request_key not in known]
    for line in lines:
        if line.subscriber["paid_through"] <= civil_day(now, line.subscriber["time_zone"]):
            raise Invalid(
                errors={"paid_through": ["Must be in the future; renew the subscription in the other system first."]}
            )
    if lines:
        with unit_of_work(batching_session()) as work:
            accounts = _lock_or_create_accounts(lines, now)
            price_ids = _preload_prices(work, lines)
            batches.preload_accounts(work, accounts.values())
            for line in lines:  # first, since some of its queries would each write what the lines before have added
                _grant_credit(line, accounts[line.email_key], price_ids[line.number], now)
            for line in lines:
                _import_subscriber(line, accounts[line.email_key], price_ids[line.number], now)
    return len(lines)


def _lock_or_create_accounts(lines: Sequence[Line], now: datetime) -> dict[str, Account]:
    """Lock the accounts with the lines' addresses, by email key, creating those that do not exist.

    Their owners sign in after resetting the password. Raises EmailTaken, Invalid.
    """
    addresses = {line.email_key: line.subscriber for line in lines}
    imitated = {key for subscriber in addresses.values() if (key := imitated_email_key(subscriber["email"]))}
    statement = sa.select(Account.email_key).where(Account.email_key.in_(addresses.keys() | imitated))
    taken = set(db.session.scalars(statement))
    missing = [subscriber for key, subscriber in addresses.items() if key not in taken]
    for subscriber in missing:
        check_new_email(subscriber["email"])
        if imitated_email_key(subscriber["email"]) in taken:
            raise EmailTaken
    new_accounts = [
        NewAccount(subscriber["email"], None, **{name: subscriber[name] for name in ACCOUNT_FIELDS})
        for subscriber in missing
    ]
    if new_accounts:
        create_accounts(new_accounts, now, verified=True)
    return {account.email_key: account for account in batches.lock_accounts(Account.email_key.in_(addresses))}


def _preload_prices(work: UnitOfWork, lines: Sequence[Line]) -> dict[int, str]:
    """Preload the lines' prices with their plans, and their open migrations; return the ids by line number.

    Raises Invalid unless exactly one price on sale has a line's terms.
    """
    by_id = {line.subscriber["price_id"] for line in lines} - {None}
    by_terms = {_requested_terms(line.subscriber["price"]) for line in lines if line.subscriber["price"]}
    columns = (Plan.code, Price.currency, Price.amount_minor, Price.interval, Price.interval_count)
    have_terms = [
        sa.and_(*(column == value for column, value in zip(columns, terms, strict=True))) for terms in by_terms
    ]
    is_on_sale = sa.and_(Price.retired_at.is_(None), sa.or_(sa.false(), *have_terms))
    statement = sa.select(Price).join(Plan, Plan.id == Price.plan_id).where(sa.or_(Price.id.in_(by_id), is_on_sale))
    prices = list(db.session.scalars(statement.options(joinedload(Price.plan)).order_by(Price.id)))
    batches.preload_prices(work, prices, by_id)
    ids: dict[Terms, list[str]] = {terms: [] for terms in by_terms}
    for price in prices:
        terms = (price.plan.code, price.currency, price.amount_minor, price.interval, price.interval_count)
        if terms in ids and price.retired_at is None:
            ids[terms].append(price.id)
    return {line.number: line.subscriber["price_id"] or _only_price(ids, line.subscriber["price"]) for line in lines}


def _requested_terms(price: dict) -> Terms:
    return price["plan"], price["currency"], price["amount_minor"], price["interval"], price["interval_count"]


def _only_price(ids: dict[Terms, list[str]], price: dict) -> str:
    price_ids = ids[_requested_terms(price)]
    if len(price_ids) != 1:
        reason = f"{len(price_ids)} prices on sale have these terms; exactly one must. Check the plan's prices."
        raise Invalid(errors={"price": [reason]})
    return price_ids[0]


def _grant_credit(line: Line, account: Account, price_id: str, now: datetime) -> None:
    price = db.session.get(Price, price_id)
    if price and line.subscriber["credit_minor"]:
        credit.grant_credit(account, line.subscriber["credit_minor"], price.currency, "Imported balance", now)


def _import_subscriber(line: Line, account: Account, price_id: str, now: datetime) -> None:
    """Import one subscriber into a locked account. Raises Invalid, AlreadySubscribed, PaymentOverdue."""
    subscriber = line.subscriber
    method = subscriber["payment_method"] and _get_or_create_payment_method(account, subscriber["payment_method"], now)
    body: SubscriptionInput = {
        "price_id": price_id,
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
        line.request_key,
        payment_method_required=False,
        paid_through=subscriber["paid_through"],
    )
    if subscriber["cancel_at_period_end"]:
        aggregate.record_event(fact.EndScheduled, None, False, actor=IMPORT_ACTOR)
    aggregate.save_projection()


def _get_or_create_payment_method(account: Account, details: dict, now: datetime) -> PaymentMethod:
    """Return the payment method with the provider's reference, storing it if it is new."""
    methods = PaymentMethod.list_active(account.id)
    method = next((method for method in methods if method.reference == details["reference"]), None)
    if method is None:
        values = {
            "account_id": account.id,
            "provider": current_provider().name,
            "is_default": PaymentMethod.find_default(account.id) is None,
            "created_at": now,
        }
        method = with_defaults(PaymentMethod(**values, **details))
        db.session.add(method)
        customers.record_customer_of(method, now)
        db.session.flush()
    return method
