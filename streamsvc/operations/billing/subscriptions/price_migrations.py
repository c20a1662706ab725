"""A new price for those who bought the old one: at a renewal on or after the day, and after the days of notice.

It can be taken back, and declined where it says so, as long as the renewal has not come.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price, PriceMigration, Subscription
from streamsvc.operations.billing.core import notices
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

MIGRATION_JOB = "price.migrate"
WITHDRAWAL_JOB = "price.migrate.undo"
MIGRATION_BATCH_SIZE = 200


def start_migration(body: dict, now: datetime, actor: str) -> dict:
    """Schedule the move of everyone who has the old price. Commits as it goes. Raises Invalid."""
    old, new = db.session.get(Price, body["from_price_id"]), db.session.get(Price, body["to_price_id"])
    if old is None or new is None or old.id == new.id:
        raise Invalid(errors={"to_price_id": ["Give two prices that there are."]})
    if (old.currency, old.terms.interval) != (new.currency, new.terms.interval):
        raise Invalid(errors={"to_price_id": ["It must have the currency and the interval of the old one."]})
    effective = max(body["effective"], now.date() + timedelta(days=body["notice_days"]))
    row = PriceMigration(**{**body, "effective": effective}, id=new_id("mig"), created_at=now)
    db.session.add(row)
    db.session.flush()
    shown = migration_view(row) | {
        "subscriptions": db.session.scalar(
            sa.select(sa.func.count()).select_from(affected_subscriptions_statement(row).subquery())
        )
    }
    handle_migration_batch({"migration": row.id, "actor": actor, "after": ""}, now)
    return shown


def migration_view(migration: PriceMigration) -> dict:
    """The columns of a migration, as they are now."""
    return {column.key: getattr(migration, column.key) for column in migration.__table__.columns}


def affected_subscriptions_statement(migration: PriceMigration):
    """Whose price it moves: the ids of live subscriptions at the old price."""
    chosen = sa.select(Subscription.id).where(
        Subscription.price_id == migration.from_price_id, Subscription.status.in_(LIVE)
    )
    if migration.started_before:
        chosen = chosen.where(Subscription.started_on < migration.started_before)
    if migration.country:
        chosen = chosen.join(Account, Account.id == Subscription.account_id).where(Account.country == migration.country)
    return chosen


@jobs.job_handler(MIGRATION_JOB)
def handle_migration_batch(payload: dict, now: datetime) -> None:
    """Schedule the move for the next few subscriptions, and a job for those after them."""
    _process_batch(MIGRATION_JOB, payload, now, _schedule_new_price)


@jobs.job_handler(WITHDRAWAL_JOB)
def handle_withdrawal_batch(payload: dict, now: datetime) -> None:
    """Take the move back for the next few, and a job for those after them."""
    _process_batch(WITHDRAWAL_JOB, payload, now, _withdraw_new_price)


def _process_batch(job: str, payload: dict, now: datetime, step) -> None:
    row = db.session.get(PriceMigration, payload["migration"])
    after = (
        Subscription.id > payload["after"],
        sa.true() if job == WITHDRAWAL_JOB else sa.literal(not row.withdrawn_at),
    )
    few = db.session.scalars(
        affected_subscriptions_statement(row).where(*after).order_by(Subscription.id).limit(MIGRATION_BATCH_SIZE)
    ).all()
    for subscription_id in few:
        at = load_locked(subscription_id, now)
        step(at, db.session.get(PriceMigration, payload["migration"]), payload["actor"])
        db.session.commit()
    if len(few) == MIGRATION_BATCH_SIZE:
        jobs.enqueue_job(job, payload | {"after": few[-1]}, now)


def _schedule_new_price(aggregate: SubscriptionAggregate, migration: PriceMigration, actor: str) -> None:
    if aggregate.timeline.ended_on or find_scheduled_event(aggregate, migration):
        return
    old, new = db.session.get(Price, migration.from_price_id), db.session.get(Price, migration.to_price_id)
    aggregate.record_event(fact.PriceScheduled, new.terms, migration.effective, old.id, actor=actor)
    notices.enqueue_price_change_notice(aggregate, old, new, migration.effective)
    aggregate.save_projection()


def _withdraw_new_price(aggregate: SubscriptionAggregate, migration: PriceMigration, actor: str) -> None:
    event = find_scheduled_event(aggregate, migration)
    if event is None:
        return
    aggregate.record_event(fact.Reverted, event.ref, actor=actor)
    notices.enqueue_price_change_withdrawn_notice(
        aggregate, db.session.get(Price, migration.from_price_id), migration.effective
    )
    aggregate.save_projection()


def find_scheduled_event(aggregate: SubscriptionAggregate, migration: PriceMigration) -> fact.PriceScheduled | None:
    """The event by which the migration still waits for this subscription's renewal."""
    terms = (migration.to_price_id, migration.effective, migration.from_price_id)
    waiting = [one for one in aggregate.timeline.scheduled if (one.price.id, one.not_before, one.only_from) == terms]
    return waiting[0] if waiting else None


def withdraw_migration(migration_id: str, now: datetime, actor: str) -> dict:
    """Take a migration back for all whose renewal has not come. Commits as it goes. Raises WrongState."""
    row = db.session.get(PriceMigration, migration_id)
    if row.withdrawn_at:
        raise WrongState(detail="This price migration was withdrawn before.")
    row.withdrawn_at = now
    db.session.flush()
    shown = migration_view(row)
    handle_withdrawal_batch({"migration": migration_id, "actor": actor, "after": ""}, now)
    return shown


def list_declinable_migrations(subscription: Subscription) -> list[PriceMigration]:
    """The migrations that the subscription's owner may decline."""
    mine = sa.select(PriceMigration).where(
        PriceMigration.from_price_id == subscription.price_id,
        PriceMigration.can_decline,
        PriceMigration.withdrawn_at.is_(None),
    )
    return list(db.session.scalars(mine.order_by(PriceMigration.id)))


def decline_migration(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Keep the old price. Raises WrongState where nothing waits that may be declined."""
    waiting = [
        event
        for row in list_declinable_migrations(aggregate.subscription)
        if (event := find_scheduled_event(aggregate, row))
    ]
    if not waiting:
        raise WrongState(detail="No change of price waits that can be declined.")
    for event in waiting:
        aggregate.record_event(fact.Reverted, event.ref, actor=actor)
