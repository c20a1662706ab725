"""Who brings a newcomer has credit for it, and so has the newcomer: once the newcomer has paid."""

import secrets
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Referral, ReferralCode, ReferralReward, Subscription
from streamsvc.operations.billing.core.codes import CODE_ALPHABET
from streamsvc.operations.billing.core.credit import grant_credit
from streamsvc.rules.refusals.billing import ReferralCodeInvalid
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs

REWARD_JOB = "referral.reward"
REFERRAL_CODE_LENGTH = 8


def get_or_create_referral_code(account_id: str, now: datetime) -> str:
    """The code that the account passes on; made when it is first asked for."""
    lock_row(Account, account_id)
    kept = db.session.get(ReferralCode, account_id)
    if kept is None:
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(REFERRAL_CODE_LENGTH))
        kept = ReferralCode(account_id=account_id, code=code, created_at=now)
        db.session.add(kept)
        db.session.flush()
    return kept.code


def count_referrals(account_id: str) -> dict[str, int]:
    """How many newcomers the account brought, and for how many of them it was rewarded."""
    mine = sa.select(sa.func.count(), sa.func.count(Referral.rewarded_at)).where(Referral.referrer_id == account_id)
    referred, rewarded = db.session.execute(mine).one()
    return {"referred": referred, "rewarded": rewarded}


def create_referral(subscription: Subscription, code: str, now: datetime) -> None:
    """Remember who sent this newcomer. Raises ReferralCodeInvalid: it is for an account's first subscription only."""
    sender = db.session.scalar(sa.select(ReferralCode.account_id).where(ReferralCode.code == code.strip().upper()))
    me = subscription.account_id
    bought = sa.select(Invoice.id).where(Invoice.account_id == me, Invoice.number.is_not(None)).limit(1)
    if sender is None or sender == me or db.session.scalar(bought):
        raise ReferralCodeInvalid
    if earlier := db.session.get(Referral, me):  # of a start that was never paid for
        db.session.delete(earlier)
        db.session.flush()
    db.session.add(Referral(account_id=me, referrer_id=sender, subscription_id=subscription.id, created_at=now))


def enqueue_reward_if_referred(account_id: str, now: datetime) -> None:
    """Somebody paid: if they were brought and nobody was rewarded for it, that follows, in a job of its own."""
    if unit_of_work.get_or_load(
        ("is referred", account_id), lambda: account_id in list_accounts_awaiting_reward([account_id])
    ):
        jobs.enqueue_job(REWARD_JOB, {"account_id": account_id}, now, f"referral {account_id}")


def list_accounts_awaiting_reward(account_ids: list[str]) -> set[str]:
    """Those of the accounts for which a reward is still to come."""
    mine = sa.select(Referral.account_id).where(Referral.account_id.in_(account_ids), Referral.rewarded_at.is_(None))
    return set(db.session.scalars(mine))


@jobs.job_handler(REWARD_JOB)
def grant_referral_reward(payload: dict, now: datetime) -> None:
    """Credit both, in the currency of the newcomer's subscription; what the program gives today counts."""
    row = db.session.get(Referral, payload["account_id"])
    if row is None or row.rewarded_at:
        return
    for account_id in sorted((row.account_id, row.referrer_id)):
        lock_row(Account, account_id)
    currency = db.session.get(Subscription, row.subscription_id).currency
    program = db.session.get(ReferralReward, currency)
    row.rewarded_at = now
    if program is None:
        return
    amounts = ((row.referrer_id, program.referrer_minor), (row.account_id, program.newcomer_minor))
    for account_id, amount in amounts:
        if amount:
            grant_credit(db.session.get(Account, account_id), amount, currency, "Referral", now)
