"""Referrals: the referrer and the referred account are both credited once the referred account has paid."""

import secrets
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Referral, ReferralCode, ReferralReward, Subscription
from streamsvc.operations.billing.core.codes import CODE_ALPHABET
from streamsvc.operations.billing.core.credit import grant_credit
from streamsvc.rules.refusals.billing import ReferralCodeInvalid
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs

REWARD_JOB = "referral.reward"
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

    Raises ReferralCodeInvalid if the code is unknown or the account's own, or if the account has been invoiced before:
    referrals are for an account's first subscription only.
    """
    referrer_id = db.session.scalar(sa.select(ReferralCode.account_id).where(ReferralCode.code == code.strip().upper()))
    account_id = subscription.account_id
    issued_invoice = (
        sa.select(Invoice.id).where(Invoice.account_id == account_id, Invoice.issued_at.is_not(None)).limit(1)
    )
    if referrer_id is None or referrer_id == account_id or db.session.scalar(issued_invoice):
        raise ReferralCodeInvalid
    if previous := db.session.get(Referral, account_id):  # left by a subscription whose first payment never succeeded
        db.session.delete(previous)
        db.session.flush()
    db.session.add(
        Referral(account_id=account_id, referrer_id=referrer_id, subscription_id=subscription.id, created_at=now)
    )


def enqueue_reward_if_referred(account_id: str, now: datetime) -> None:
    """Enqueue the referral reward of an account that has paid, if it was referred and the reward is outstanding."""
    referral = db.session.get(Referral, account_id)
    if referral and referral.rewarded_at is None:
        jobs.enqueue_job(REWARD_JOB, {"account_id": account_id}, now, f"referral {account_id}")


@jobs.job_handler(REWARD_JOB)
def grant_referral_reward(payload: dict, now: datetime) -> None:
    """Credit the referrer and the referred account at the program's current amounts.

    The currency is that of the referred account's subscription. No program in that currency: no credit.
    """
    referral = db.session.get(Referral, payload["account_id"])
    if referral is None or referral.rewarded_at:
        return
    for account_id in sorted((referral.account_id, referral.referrer_id)):
        lock_row(Account, account_id)
    currency = db.session.get_one(Subscription, referral.subscription_id).currency
    program = db.session.get(ReferralReward, currency)
    referral.rewarded_at = now
    if program is None:
        return
    amounts = ((referral.referrer_id, program.referrer_minor), (referral.account_id, program.newcomer_minor))
    for account_id, amount_minor in amounts:
        if amount_minor:
            grant_credit(db.session.get_one(Account, account_id), amount_minor, currency, "Referral", now)
