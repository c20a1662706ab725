"""Account credit: granted by operators, redeemed from gift codes, and applied to open invoices before any charge."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftCode, LedgerEntry
from streamsvc.operations.billing.core import issuing, ledger
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.rules.refusals.billing import GiftCodeInvalid
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


def redeem_gift_code(account: Account, code: str, now: datetime) -> GiftCode:
    """Redeem a gift code for account credit. Raises GiftCodeInvalid."""
    gift = GiftCode.find_by_code(code)
    if gift is None or (gift.expires_at and gift.expires_at <= now) or not GiftCode.redeem(gift.id, account.id, now):
        raise GiftCodeInvalid
    db.session.refresh(gift)
    amount_minor = gift.amount_minor
    ledger.post_account_journal(
        account.id,
        gift.currency,
        "gift",
        now,
        note=f"Gift {code}",
        goodwill=amount_minor,
        customer_credit=-amount_minor,
    )
    return gift


def apply_new_credit(account: Account, currency: str, now: datetime) -> None:
    """Apply new credit to open invoices and update the live subscription, which may no longer be past due."""
    issuing.pay_open_invoices_from_credit(account.id, currency, now)
    update_live_subscription(account, now)
