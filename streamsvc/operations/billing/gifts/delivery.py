"""Delivery of gifts: the mail with the code, on its day, to the recipient or else to the buyer."""

from datetime import datetime
from typing import Any

from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftPurchase, Price
from streamsvc.operations.billing.core import gift_purchases
from streamsvc.operations.billing.core.notices import format_amount
from streamsvc.operations.billing.gifts.purchasing import require_delivery_day
from streamsvc.operations.outbox.mail import deliver_mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.billing.calendar import civil_day, start_of_day
from streamsvc.rules.billing.inputs import GiftDeliveryInput
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.billing import GiftAlreadyDelivered, GiftNotDeliverable
from streamsvc.security import rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row, reload_row
from streamsvc.worker import jobs

MAIL_JOB = "gift.mail"
MAX_DELIVERIES = 3


def count_gift_mail(account_id: str, recipient: str | None) -> None:
    """Count a mail that an account has sent to somebody else's address. Raises TooManyAttempts.

    Must not be called inside a transaction.
    """
    if recipient is None or not current_settings().login_throttle:
        return
    with rate_limits.counter_transaction() as counters:
        counters.hit(limits.GIFT_MAILS_BY_ACCOUNT, account_id)
        counters.hit(limits.GIFT_MAILS_TO_ADDRESS, email_key(recipient))


def update_delivery(purchase: GiftPurchase, account: Account, body: GiftDeliveryInput, now: datetime) -> None:
    """Change to whom, with which words, and on which day a gift is delivered that is not yet.

    The caller holds the account's lock. Raises GiftAlreadyDelivered, Invalid.
    """
    if purchase.state(now) not in ("awaiting_payment", "scheduled"):
        raise GiftAlreadyDelivered
    if "deliver_on" in body:
        body = {**body, "deliver_on": require_delivery_day(body["deliver_on"], civil_day(now, account.time_zone))}
    for name, value in body.items():
        setattr(purchase, name, value)
    if purchase.gift_code:
        gift_purchases.schedule_delivery(purchase, account, now)


@jobs.job_handler(gift_purchases.DELIVERY_JOB, jobs.INTERACTIVE_LANE)
def start_delivery(payload: dict, now: datetime) -> None:
    """Mark a gift as delivered and enqueue its mail, if its day has come. It cannot be changed from then on."""
    purchase_id = payload["purchase_id"]
    account = lock_existing_row(Account, db.session.get_one(GiftPurchase, purchase_id).account_id)
    purchase = reload_row(GiftPurchase, purchase_id)
    is_due = start_of_day(purchase.deliver_on, account.time_zone) <= now
    if is_due and purchase.state(now) == "scheduled":
        purchase.delivered_at = now
        _enqueue_gift_mail(purchase, now)


def resend_gift(purchase: GiftPurchase, now: datetime) -> None:
    """Enqueue the mail with the code again. The caller holds the account's lock. Raises GiftNotDeliverable."""
    if purchase.state(now) != "delivered" or purchase.deliveries >= MAX_DELIVERIES:
        raise GiftNotDeliverable
    _enqueue_gift_mail(purchase, now)


def deliver_scheduled_gifts(account_id: str, now: datetime) -> None:
    """Deliver at once what an account has bought and not delivered yet, because the account is about to be erased.

    A gift for nobody else is not sent: its buyer has the code.
    """
    for purchase in db.session.scalars(GiftPurchase.select_owned(account_id)):
        if purchase.state(now) == "scheduled" and purchase.recipient_email:
            purchase.delivered_at = now
            purchase.deliveries += 1
            payload = _mail_payload(purchase) | {"recipient": _recipient_facts(purchase)}
            jobs.enqueue_job(MAIL_JOB, payload, now)


def _enqueue_gift_mail(purchase: GiftPurchase, now: datetime) -> None:
    purchase.deliveries += 1
    jobs.enqueue_job(MAIL_JOB, _mail_payload(purchase), now, f"gift mail {purchase.id} {purchase.deliveries}")


def _mail_payload(purchase: GiftPurchase) -> dict:
    return {"purchase_id": purchase.id}


def _recipient_facts(purchase: GiftPurchase) -> dict[str, str | None]:
    names = ("recipient_email", "recipient_name", "sender_name", "message")
    return {name: getattr(purchase, name) for name in names}


@jobs.job_handler(MAIL_JOB, jobs.INTERACTIVE_LANE)
def send_gift_mail(payload: dict, now: datetime) -> None:
    """Send the mail with a gift's code, unless it was redeemed or revoked in the meantime."""
    purchase = db.session.get_one(GiftPurchase, payload["purchase_id"])
    if purchase.state(now) != "delivered":
        return
    facts = payload.get("recipient") or _recipient_facts(purchase)
    to = facts["recipient_email"]
    kind = "gift" if to else "gift_bought"
    if to is None:
        account = db.session.get_one(Account, purchase.account_id)
        if account.status == "deleted":  # its address is another's, or nobody's, now
            return
        to = account.email
    deliver_mail(kind, to, _mail_context(purchase, facts), now)


def _mail_context(purchase: GiftPurchase, facts: dict) -> dict[str, Any]:
    code = purchase.gift_code
    assert code is not None, "a gift that was delivered has a code"
    price = db.session.get_one(Price, purchase.price_id) if purchase.price_id else None
    return {
        "code": code.code,
        "service": current_settings().service_name,
        "link": f"{current_settings().public_url}/#/gift?code={code.code}",
        "amount": format_amount(purchase.amount_minor, purchase.currency),
        "plan": price and price.plan.name,
        "periods": purchase.periods,
        "interval": price and _describe_interval(price),
        "until": code.expires_at and code.expires_at.date().isoformat(),
        **{name: facts[name] for name in ("recipient_name", "sender_name", "message")},
    }


def _describe_interval(price: Price) -> str:
    return price.interval if price.interval_count == 1 else f"{price.interval_count} {price.interval}s"
