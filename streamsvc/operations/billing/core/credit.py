"""Account credit: granted by operators, redeemed from gift codes, and applied to open invoices before any charge."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftCode, Invoice, LedgerEntry, Price, Subscription
from streamsvc.operations.billing.core import balances, ledger
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.billing import GiftCodeCurrencyMismatch, GiftCodeInvalid
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db


def list_credit_balances(account_id: str) -> list[dict]:
    """List the account's nonzero credit balances, by currency."""
    rows = db.session.execute(
        sa.select(LedgerEntry.currency, -sa.func.sum(LedgerEntry.amount_minor))
        .where(LedgerEntry.account_id == account_id, LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.currency)
        .order_by(LedgerEntry.currency)
    )
    return [{"currency": currency, "amount_minor": int(amount)} for currency, amount in rows if amount]


def grant_credit(account: Account, amount_minor: int, currency: str, reason: str | None, now: datetime) -> None:
    """Grant credit; a negative amount takes back unused credit. Raises Invalid."""
    if amount_minor < 0 and -amount_minor > ledger.account_credit(account.id, currency):
        raise Invalid(errors={"amount_minor": ["The account does not have that much credit left."]})
    ledger.post_account_journal(
        account.id, currency, "credit", now, note=reason, goodwill=amount_minor, customer_credit=-amount_minor
    )
    apply_new_credit(account, currency, now)


def find_billing_currency(account_id: str) -> str | None:
    """Find the currency in which the account is billed: that of its live or last subscription, if it ever had one.

    A start that was never paid for does not count.
    """
    has_invoice = sa.exists().where(Invoice.subscription_id == Subscription.id, Invoice.issued_at.is_not(None))
    counts = sa.or_(Subscription.status.in_(LIVE_STATUSES), has_invoice)
    subscriptions = sa.select(Subscription.currency).where(Subscription.account_id == account_id, counts)
    return db.session.scalar(subscriptions.order_by(Subscription.id.desc()).limit(1))


def list_accepted_currencies(account: Account) -> set[str]:
    """List the currencies in which the account can use credit: its own, else those of the prices in its country.

    The set is empty while nothing is on sale there.
    """
    if currency := find_billing_currency(account.id):
        return {currency}
    return {price.currency for price in Price.list_on_sale(account.country)}


def find_redeemable_gift(code: str, now: datetime) -> GiftCode:
    """Find an unused gift code. Raises GiftCodeInvalid."""
    gift = GiftCode.find_by_code(code)
    if gift is None:
        raise GiftCodeInvalid(reason="unknown")
    if gift.redeemed_at:
        raise GiftCodeInvalid(reason="redeemed")
    if gift.revoked_at:
        raise GiftCodeInvalid(reason="revoked")
    if gift.expires_at and gift.expires_at <= now:
        raise GiftCodeInvalid(reason="expired")
    return gift


def redeem_for_credit(account: Account, gift: GiftCode, now: datetime, currencies: Collection[str]) -> None:
    """Redeem a gift code for account credit, if it is in one of these currencies; otherwise it remains usable.

    `currencies`: if there are none, any is accepted. Raises GiftCodeInvalid, GiftCodeCurrencyMismatch.
    """
    if currencies and gift.currency not in currencies:
        raise GiftCodeCurrencyMismatch(currency=gift.currency)
    if not GiftCode.redeem(gift.id, account.id, now):
        raise GiftCodeInvalid(reason="redeemed")
    db.session.refresh(gift)
    amount_minor = gift.amount_minor
    ledger.post_account_journal(
        account.id,
        gift.currency,
        "gift",
        now,
        note=f"Gift {gift.code}",
        goodwill=amount_minor,
        customer_credit=-amount_minor,
    )


def apply_new_credit(account: Account, currency: str, now: datetime) -> None:
    """Apply new credit to open invoices and update the live subscription, which may no longer be past due."""
    balances.pay_open_invoices_from_credit(account.id, currency, now)
    update_live_subscription(account, now)
