"""Limits against card testing: declined payments and added cards, by account, by card and by network address.

An attempt to pay is counted before it is made, so that a hundred concurrent ones count as a hundred, and refunded if no
payment of it was declined. One that the payer must authenticate stays counted until they do: whoever tries stolen cards
learns enough from the question. Retries by the worker, which follow the dunning schedule, do not count.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from streamsvc.models.subscriptions import Payment, PaymentMethod, Subscription
from streamsvc.rules import rate_limits as rules
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.billing import AuthenticationRequired, PaymentFailed
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.security import rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_one

PAYMENT_METHOD_REQUIRED = "payment_method_required"


@dataclass
class PaymentAttempt:
    """A customer's attempt to pay. `is_declined`: set by code that gets a declined payment back instead of an error."""

    is_declined: bool = False


@contextmanager
def limited_payment_attempt(
    account_id: str, facts: RequestFacts, method_id: str | None = None
) -> Iterator[PaymentAttempt]:
    """Run a request of a customer that may charge a card. Raises TooManyAttempts after too many declines.

    `method_id`: the payment method that it charges; None: the one that the account's subscription is charged to.
    """
    attempt = PaymentAttempt()
    limits = _payment_limits(account_id, method_id, facts) if current_settings().login_throttle else []
    _hit(limits)
    try:
        yield attempt
    except PaymentFailed as error:
        attempt.is_declined = error.members.get("decline_code") != PAYMENT_METHOD_REQUIRED
        raise
    except AuthenticationRequired:
        attempt.is_declined = True
        raise
    else:
        db.session.commit()
    finally:
        if not attempt.is_declined:
            db.session.rollback()  # after an error; on SQLite, its transaction would make the counters wait for itself
            _refund(limits)


def _payment_limits(account_id: str, method_id: str | None, facts: RequestFacts) -> list[rate_limits.Limit]:
    limits = [*_own_limits(account_id, _find_fingerprint(account_id, method_id))]
    return [*limits, (rules.DECLINES_BY_ADDRESS, facts.network)]


def _find_fingerprint(account_id: str, method_id: str | None) -> str | None:
    """Find the fingerprint of the card that will be charged, by a single read outside of a transaction."""
    is_live = sa.and_(Subscription.account_id == account_id, Subscription.status.in_(LIVE_STATUSES))
    own_id = sa.select(Subscription.payment_method_id).where(is_live).limit(1).scalar_subquery()
    preferred = sa.case((PaymentMethod.id == (method_id or own_id), 0), (PaymentMethod.is_default, 1), else_=2)
    conditions = PaymentMethod.account_id == account_id, PaymentMethod.removed_at.is_(None)
    methods = sa.select(PaymentMethod.fingerprint).where(*conditions)
    return (fetch_one(methods.order_by(preferred, PaymentMethod.id).limit(1)) or (None,))[0]


def _own_limits(account_id: str, fingerprint: str | None) -> list[rate_limits.Limit]:
    by_account: list[rate_limits.Limit] = [
        (rules.DECLINES_BY_ACCOUNT, account_id),
        (rules.DECLINES_BY_ACCOUNT_DAY, account_id),
    ]
    return [*by_account, (rules.DECLINES_BY_CARD, fingerprint)] if fingerprint else by_account


def _hit(limits: list[rate_limits.Limit]) -> None:
    if wait_s := max(rate_limits.resets_in(limits).values(), default=0):  # a storm of attempts writes nothing
        raise TooManyAttempts(wait_s)
    if limits:
        with rate_limits.counter_transaction() as counters:
            for limit in limits:
                counters.hit(*limit)


def _refund(limits: list[rate_limits.Limit]) -> None:
    if limits:
        with rate_limits.counter_transaction() as counters:
            for limit in limits:
                counters.refund(*limit)


def refund_authenticated_payment(payment: Payment) -> None:
    """Refund the attempt of a payment that its payer authenticated after all. Not inside a transaction."""
    if current_settings().login_throttle:
        limits = _own_limits(payment.account_id, payment.method.fingerprint if payment.method else None)
        db.session.commit()
        _refund(limits)


@contextmanager
def limited_card_attempt(account_id: str, facts: RequestFacts, rule: rules.RateLimit) -> Iterator[None]:
    """Run an attempt to add a card, or to get a setup secret, with which a card can be checked by its bank.

    Commits. It does not count if the provider, this service or its database was unavailable. Raises TooManyAttempts.
    """
    is_limited = current_settings().login_throttle
    limits: list[rate_limits.Limit] = [(rule, account_id), (rules.CARDS_BY_ADDRESS, facts.network)]
    _hit(limits if is_limited else [])
    try:
        yield
        db.session.commit()
    except (Refusal, SQLAlchemyError) as error:
        is_unavailable = isinstance(error, SQLAlchemyError) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if is_unavailable and is_limited:
            db.session.rollback()  # on SQLite, its transaction would make the counters wait for itself
            with suppress(SQLAlchemyError):  # the first error says what happened
                _refund(limits)
        raise


def count_store_purchase(account_id: str) -> None:
    """Count a purchase of an app store that is reported, each of which the store is asked for.

    Raises TooManyAttempts.
    """
    if current_settings().login_throttle:
        _hit([(rules.STORE_PURCHASES_BY_ACCOUNT, account_id)])


def count_gift_code_attempt(account_id: str, facts: RequestFacts) -> None:
    """Count a gift code that is tried, so that nobody finds one by trying. Raises TooManyAttempts."""
    if current_settings().login_throttle:
        _hit([(rules.GIFT_CODES_BY_ACCOUNT, account_id), (rules.SECRET_BY_ADDRESS, facts.network)])
