"""Referrals: the referrer and the referred account are both credited once the referred account has paid."""

import secrets
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Invoice,
    Payment,
    PaymentMethod,
    Payout,
    Referral,
    ReferralCode,
    ReferralReward,
    Subscription,
)
from streamsvc.operations.billing.core import ledger
from streamsvc.operations.billing.core.codes import CODE_ALPHABET
from streamsvc.operations.billing.core.credit import find_billing_currency, grant_credit
from streamsvc.rules.billing.referrals import earned_reward
from streamsvc.rules.refusals.billing import ReferralCodeInvalid
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs

REWARD_JOB = "referral.reward"
REVOCATION_JOB = "referral.revoke"
REFERRAL_CODE_LENGTH = 8


def get_or_create_referral_code(account_id: str, now: datetime) -> str:
    """Return the account's referral code, creating it on first use."""
    lock_row(Account, account_id)
    referral_code = db.session.get(ReferralCode, account_id)
    if referral_code is None:
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(REFERRAL_CODE_LENGTH))
        referral_code = ReferralCode(account_id=account_id, code=code, created_at=now)
        db.session.add(referral_code)
        db.session.flush()
    return referral_code.code


def count_referrals(account_id: str) -> dict[str, int]:
    """Count the accounts that this account referred, and how many of those referrals were rewarded."""
    statement = sa.select(sa.func.count(), sa.func.count(Referral.rewarded_at)).where(
        Referral.referrer_id == account_id
    )
    referred, rewarded = db.session.execute(statement).one()
    return {"referred": referred, "rewarded": rewarded}


def create_referral(subscription: Subscription, code: str, now: datetime) -> None:
    """Record who referred the subscription's account.

    Raises ReferralCodeInvalid if the code is unknown or of the account's own household, or if the account has been
    invoiced before: referrals are for an account's first subscription only.
    """
    referrer_id = db.session.scalar(sa.select(ReferralCode.account_id).where(ReferralCode.code == code.strip().upper()))
    account_id = subscription.account_id
    issued_invoice = (
        sa.select(Invoice.id).where(Invoice.account_id == account_id, Invoice.issued_at.is_not(None)).limit(1)
    )
    if referrer_id is None or is_own_household(subscription, referrer_id) or db.session.scalar(issued_invoice):
        raise ReferralCodeInvalid
    if previous := db.session.get(Referral, account_id):  # left by a subscription whose first payment never succeeded
        db.session.delete(previous)
        db.session.flush()
    db.session.add(
        Referral(account_id=account_id, referrer_id=referrer_id, subscription_id=subscription.id, created_at=now)
    )


def is_own_household(subscription: Subscription, referrer_id: str) -> bool:
    """Whether the referrer is the subscription's own household: the same account, card (even if removed), or device."""
    if referrer_id == subscription.account_id:
        return True
    fingerprints = sa.select(PaymentMethod.fingerprint).where(PaymentMethod.account_id == subscription.account_id)
    same_card = sa.exists().where(
        PaymentMethod.account_id == referrer_id,
        PaymentMethod.fingerprint.in_(fingerprints.where(PaymentMethod.fingerprint.is_not(None))),
    )
    same_device = sa.exists().where(
        Subscription.account_id == referrer_id, Subscription.device_hash == (subscription.device_hash or "")
    )
    return bool(db.session.scalar(sa.select(sa.or_(same_card, same_device))))


def enqueue_reward_if_referred(account_id: str, now: datetime) -> None:
    """Enqueue the reward of an account that has paid for its subscription, if it was referred and has none yet."""
    referral = db.session.get(Referral, account_id)
    if referral and referral.rewarded_at is None and referral.revoked_at is None:
        jobs.enqueue_job(REWARD_JOB, {"account_id": account_id}, now, f"referral {account_id}")


def enqueue_revocation_if_rewarded(account_id: str, cause_id: str, now: datetime) -> None:
    """Enqueue the check whether a referred account's reward still stands: a refund or a dispute returned its money."""
    referral = db.session.get(Referral, account_id)
    if referral and referral.rewarded_at and referral.revoked_at is None:
        key = f"referral {account_id} after {cause_id} {now.isoformat()}"
        jobs.enqueue_job(REVOCATION_JOB, {"account_id": account_id}, now, key)


@jobs.job_handler(REWARD_JOB)
def grant_referral_reward(payload: dict, now: datetime) -> None:
    """Credit the referrer and the referred account at the program's current amounts, each in its own currency.

    No program in that currency: no credit. Less if a part of the money has gone back already, and no reward if nothing
    of it was kept, or if the account turns out to be of the referrer's own household.
    """
    referral = _lock_referral(payload["account_id"])
    if referral is None or referral.rewarded_at or referral.revoked_at:
        return
    subscription = db.session.get_one(Subscription, referral.subscription_id)
    kept_minor = _kept_amount(referral.account_id)
    if is_own_household(subscription, referral.referrer_id) or kept_minor <= 0:
        referral.revoked_at = now
        return
    referral.rewarded_at, referral.rewards = now, []
    for account_id in (referral.referrer_id, referral.account_id):
        currency = find_billing_currency(account_id) or subscription.currency
        program = db.session.get(ReferralReward, currency)
        is_referrer = account_id == referral.referrer_id
        amount_minor = 0 if program is None else program.referrer_minor if is_referrer else program.newcomer_minor
        amount_minor = earned_reward(amount_minor, kept_minor, _first_payment_amount(referral.account_id))
        if amount_minor:
            grant_credit(db.session.get_one(Account, account_id), amount_minor, currency, "Referral", now)
            reward = {"account_id": account_id, "currency": currency, "amount_minor": amount_minor}
            referral.rewards = [*referral.rewards, reward]


@jobs.job_handler(REVOCATION_JOB)
def revoke_referral_reward(payload: dict, now: datetime) -> None:
    """Take back what is unspent of the rewards that the money kept from the referred account no longer earns."""
    referral = _lock_referral(payload["account_id"])
    if referral is None or referral.revoked_at:
        return
    kept_minor, first_minor = _kept_amount(referral.account_id), _first_payment_amount(referral.account_id)
    if kept_minor <= 0:
        referral.revoked_at = now
    rewards = []
    for reward in referral.rewards or []:
        account, currency = db.session.get_one(Account, reward["account_id"]), reward["currency"]
        unearned_minor = reward["amount_minor"] - earned_reward(reward["amount_minor"], kept_minor, first_minor)
        taken_minor = reward.get("taken_back_minor", 0)
        due_minor = min(unearned_minor - taken_minor, ledger.account_credit(account.id, currency))
        if due_minor > 0:
            grant_credit(account, -due_minor, currency, "Referral taken back", now)
            reward = reward | {"taken_back_minor": taken_minor + due_minor}
        rewards.append(reward)
    referral.rewards = rewards


def _lock_referral(account_id: str) -> Referral | None:
    """Return the referral under the locks of both accounts."""
    referral = db.session.get(Referral, account_id)
    for locked_id in sorted((referral.account_id, referral.referrer_id)) if referral else ():
        lock_row(Account, locked_id)
    return referral and db.session.get(Referral, account_id, populate_existing=True)


def _first_payment_amount(account_id: str) -> int:
    """Return what the account paid, in minor units, on the first invoice of a subscription that it paid."""
    first_invoice_id = _paid_for_subscriptions(Payment.invoice_id, account_id).order_by(Payment.settled_at).limit(1)
    amount = sa.func.coalesce(sa.func.sum(Payment.amount_minor), 0)
    of_first = Payment.invoice_id == first_invoice_id.scalar_subquery()
    return int(db.session.scalars(_paid_for_subscriptions(amount, account_id).where(of_first)).one())


def _paid_for_subscriptions(column: Any, account_id: str) -> sa.Select[Any]:
    """Select a column of the account's payments that succeeded, also if they are disputed now."""
    return (
        sa.select(column)
        .select_from(Payment)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(Payment.account_id == account_id, Payment.status.in_(("succeeded", "disputed")))
        .where(Invoice.subscription_id.is_not(None))
    )


def _kept_amount(account_id: str) -> int:
    """Return what the account has paid for subscriptions, less what went back, in minor units.

    A gift that it bought does not count: its money comes back to whom it is given to, perhaps the referrer. What goes
    back is refunds, disputes, and payouts of the account's own money by bank transfer.
    """
    kept = Payment.amount_minor - Payment.refunded_minor - Payment.disputed_minor
    paid = _paid_for_subscriptions(sa.func.coalesce(sa.func.sum(kept), 0), account_id)
    own_minor = sa.case(
        (Payout.bank_transfer_minor > Payout.forced_minor, Payout.bank_transfer_minor - Payout.forced_minor), else_=0
    )
    transferred = sa.select(sa.func.coalesce(sa.func.sum(own_minor), 0)).where(
        Payout.account_id == account_id, Payout.bank_transfer_status.in_(("pending", "paid"))
    )
    return int(db.session.scalars(paid).one()) - int(db.session.scalars(transferred).one())
