"""Price migrations: move subscriptions to a new price at their first renewal on or after a day, with days of notice.

Until that renewal a migration can be withdrawn and, if it allows that, declined by the subscriber.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price, PriceMigration, Subscription
from streamsvc.operations.billing.core import notices
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.subscriptions.subscribe import require_base_plan
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.inputs import PriceMigrationInput
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

MIGRATION_JOB = "price.migrate"
WITHDRAWAL_JOB = "price.migrate.undo"
MIGRATION_BATCH_SIZE = 200
Step = Callable[[SubscriptionAggregate, PriceMigration, str], None]


def start_migration(body: PriceMigrationInput, now: datetime, actor: str) -> dict:
    """Create a price migration and schedule it for all affected subscriptions. Commits in batches. Raises Invalid.

    Returns the migration's columns and the number of `subscriptions` affected.
    """
    old_price, new_price = db.session.get(Price, body["from_price_id"]), db.session.get(Price, body["to_price_id"])
    if old_price is None or new_price is None or old_price.id == new_price.id:
        raise Invalid(errors={"to_price_id": ["from_price_id and to_price_id must be two different existing prices."]})
    if (old_price.currency, old_price.terms.interval) != (new_price.currency, new_price.terms.interval):
        raise Invalid(errors={"to_price_id": ["Must have the currency and interval of the old price."]})
    require_base_plan(new_price, "to_price_id")
    effective = max(body["effective"], now.date() + timedelta(days=body["notice_days"]))
    migration = PriceMigration(**{**body, "effective": effective}, id=new_id("mig"), created_at=now)
    db.session.add(migration)
    db.session.flush()
    view = migration_view(migration) | {
        "subscriptions": db.session.scalar(
            sa.select(sa.func.count()).select_from(affected_subscriptions_statement(migration).subquery())
        )
    }
    handle_migration_batch({"migration": migration.id, "actor": actor, "after": ""}, now)
    return view


def migration_view(migration: PriceMigration) -> dict:
    """Return the columns of a migration."""
    return {column.key: getattr(migration, column.key) for column in migration.__table__.columns}


def affected_subscriptions_statement(migration: PriceMigration) -> sa.Select[str]:
    """Return a statement that selects the ids of the live subscriptions to be migrated."""
    statement = sa.select(Subscription.id).where(
        Subscription.price_id == migration.from_price_id, Subscription.status.in_(LIVE_STATUSES)
    )
    if migration.started_before:
        statement = statement.where(Subscription.started_on < migration.started_before)
    if migration.country:
        statement = statement.join(Account, Account.id == Subscription.account_id).where(
            Account.country == migration.country
        )
    return statement


@jobs.job_handler(MIGRATION_JOB)
def handle_migration_batch(payload: dict, now: datetime) -> None:
    """Schedule the new price for the next batch of subscriptions, and enqueue a job for the one after."""
    _process_batch(MIGRATION_JOB, payload, now, _schedule_new_price)


@jobs.job_handler(WITHDRAWAL_JOB)
def handle_withdrawal_batch(payload: dict, now: datetime) -> None:
    """Withdraw the new price from the next batch of subscriptions, and enqueue a job for the one after."""
    _process_batch(WITHDRAWAL_JOB, payload, now, _withdraw_new_price)


def _process_batch(job: str, payload: dict, now: datetime, step: Step) -> None:
    migration = db.session.get_one(PriceMigration, payload["migration"])
    conditions = (
        Subscription.id > payload["after"],
        sa.true() if job == WITHDRAWAL_JOB else sa.literal(not migration.withdrawn_at),
    )
    subscription_ids = db.session.scalars(
        affected_subscriptions_statement(migration)
        .where(*conditions)
        .order_by(Subscription.id)
        .limit(MIGRATION_BATCH_SIZE)
    ).all()
    for subscription_id in subscription_ids:
        aggregate = load_locked(subscription_id, now)
        step(aggregate, db.session.get_one(PriceMigration, payload["migration"]), payload["actor"])
        db.session.commit()
    if len(subscription_ids) == MIGRATION_BATCH_SIZE:
        jobs.enqueue_job(job, payload | {"after": subscription_ids[-1]}, now)


def _schedule_new_price(aggregate: SubscriptionAggregate, migration: PriceMigration, actor: str) -> None:
    if aggregate.timeline.ended_on or find_scheduled_event(aggregate, migration):
        return
    old_price, new_price = Price.get_price(migration.from_price_id), Price.get_price(migration.to_price_id)
    aggregate.record_event(fact.PriceScheduled, new_price.terms, migration.effective, old_price.id, actor=actor)
    notices.enqueue_price_change_notice(aggregate, old_price, new_price, migration.effective)
    aggregate.save_projection()


def _withdraw_new_price(aggregate: SubscriptionAggregate, migration: PriceMigration, actor: str) -> None:
    event = find_scheduled_event(aggregate, migration)
    if event is None:
        return
    aggregate.record_event(fact.Reverted, event.ref, actor=actor)
    notices.enqueue_price_change_withdrawn_notice(
        aggregate, Price.get_price(migration.from_price_id), migration.effective
    )
    aggregate.save_projection()


def find_scheduled_event(aggregate: SubscriptionAggregate, migration: PriceMigration) -> fact.PriceScheduled | None:
    """Find the event by which the migration is scheduled for the subscription's renewal."""
    terms = (migration.to_price_id, migration.effective, migration.from_price_id)
    scheduled = aggregate.timeline.scheduled_prices
    matching = [
        event for event in scheduled if event.price and (event.price.id, event.not_before, event.only_from) == terms
    ]
    return matching[0] if matching else None


def withdraw_migration(migration_id: str, now: datetime, actor: str) -> dict:
    """Withdraw a migration from all subscriptions not yet renewed to it. Commits in batches. Raises WrongState."""
    migration = db.session.get_one(PriceMigration, migration_id)
    if migration.withdrawn_at:
        raise WrongState(detail="This price migration has already been withdrawn.")
    migration.withdrawn_at = now
    db.session.flush()
    view = migration_view(migration)
    handle_withdrawal_batch({"migration": migration_id, "actor": actor, "after": ""}, now)
    return view


def list_declinable_migrations(subscription: Subscription) -> list[PriceMigration]:
    """List the migrations that the subscriber can decline."""
    statement = sa.select(PriceMigration).where(
        PriceMigration.from_price_id == subscription.price_id,
        PriceMigration.can_decline,
        PriceMigration.withdrawn_at.is_(None),
    )
    return list(db.session.scalars(statement.order_by(PriceMigration.id)))


def decline_migration(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Decline the scheduled price migrations and keep the old price. Raises WrongState if there are none to decline."""
    events = [
        event
        for migration in list_declinable_migrations(aggregate.subscription)
        if (event := find_scheduled_event(aggregate, migration))
    ]
    if not events:
        raise WrongState(detail="There is no scheduled price change that can be declined.")
    for event in events:
        aggregate.record_event(fact.Reverted, event.ref, actor=actor)
