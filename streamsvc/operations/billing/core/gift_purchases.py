"""Gifts that viewers buy: the code comes into being with the money, and is revoked when the money goes back."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftCode, GiftPurchase, Invoice
from streamsvc.operations.billing.core.codes import generate_gift_code
from streamsvc.rules.billing.calendar import civil_day, start_of_day
from streamsvc.rules.billing.gifts import gift_expiry_day
from streamsvc.rules.refusals.billing import GiftAlreadyRedeemed
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

DELIVERY_JOB = "gift.deliver"


def create_bought_code(invoice: Invoice, now: datetime) -> None:
    """Create the code of a gift whose invoice was paid for the first time, and enqueue its delivery."""
    purchase = GiftPurchase.find_by_invoice(invoice)
    if purchase is None or purchase.gift_code_id:
        return
    account = db.session.get_one(Account, purchase.account_id)
    today = civil_day(now, account.time_zone)
    purchase.deliver_on = max(purchase.deliver_on, today)  # it may have been paid days later
    code = GiftCode(
        id=new_id("gif"),
        code=generate_gift_code(),
        currency=purchase.currency,
        amount_minor=purchase.amount_minor,
        price_id=purchase.price_id,
        periods=purchase.periods,
        created_at=now,
    )
    db.session.add(code)
    db.session.flush()
    purchase.gift_code_id, purchase.gift_code = code.id, code
    schedule_delivery(purchase, account, now)


def schedule_delivery(purchase: GiftPurchase, account: Account, now: datetime) -> None:
    """Enqueue the mail for the purchase's day, from which its time until it expires counts as well."""
    code, day = purchase.gift_code, purchase.deliver_on
    assert code is not None, "only a gift that was paid is delivered"
    expires_on = gift_expiry_day(day, current_settings().gift_expiry_months)
    code.expires_at = start_of_day(expires_on, account.time_zone) if expires_on else None
    moment = max(now, start_of_day(day, account.time_zone))
    jobs.enqueue_job(DELIVERY_JOB, {"purchase_id": purchase.id}, moment, f"gift {purchase.id} {moment.isoformat()}")


def has_usable_code(invoice: Invoice) -> bool:
    """Whether the invoice is for a gift whose code is neither redeemed nor revoked; an expired one counts as well."""
    purchase = GiftPurchase.find_by_invoice(invoice)
    code = purchase.gift_code if purchase else None
    return code is not None and code.redeemed_at is None and code.revoked_at is None


def revoke_code(invoice: Invoice, cause: str, now: datetime) -> bool:
    """Revoke the code of the gift that the invoice is for; False if there is none, or it was redeemed or revoked.

    `cause`: `refund` or `dispute`.
    """
    purchase = GiftPurchase.find_by_invoice(invoice)
    if purchase is None or purchase.gift_code is None or not GiftCode.revoke(purchase.gift_code.id, now):
        return False
    purchase.revoked_for = cause
    db.session.refresh(purchase.gift_code)
    return True


def require_not_redeemed(invoice: Invoice) -> None:
    """Raise GiftAlreadyRedeemed if the invoice is for a gift that was redeemed."""
    purchase = GiftPurchase.find_by_invoice(invoice)
    if purchase and purchase.gift_code:
        db.session.refresh(purchase.gift_code)
        if purchase.gift_code.redeemed_at:
            raise GiftAlreadyRedeemed
