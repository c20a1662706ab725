"""Price migrations: move subscriptions to a new price at their first renewal on or after a day, with days of notice.

A migration is posted once and then holds for everyone who has, or comes to, the old price. Those who have or plan it
now are scheduled here, in batches; the others when their price is set (core/price_changes.py). Until its renewal a
subscription can be taken out: the migration is withdrawn, or, if it allows that, declined by the subscriber.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Price,
    PriceMigration,
    PriceMigrationTarget,
    Subscription,
    SubscriptionAddonPrice,
)
from streamsvc.models.subscriptions.migrations import TARGET_KINDS, TARGET_STATES
from streamsvc.operations.billing.core import notices, price_changes
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.inputs import PriceMigrationInput, PriceMigrationPreviewInput
from streamsvc.rules.billing.recurring import monthly_rate
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import batching_session, db, new_id, reload_row
from streamsvc.worker import jobs

MIGRATION_JOB = "price.migrate"
WITHDRAWAL_JOB = "price.migrate.undo"
MIGRATION_BATCH_SIZE = 200
Step = Callable[[SubscriptionAggregate, str, str | None], None]


def start_migration(body: PriceMigrationInput, now: datetime, actor: str) -> dict:
    """Create a price migration and schedule it for all affected subscriptions. Commits in batches. Raises Invalid.

    Returns the migration's view and the number of `subscriptions` affected. The first batch is processed at once, the
    others by the worker, which also continues if this process dies.
    """
    get_migrated_prices(body["from_price_id"], body["to_price_id"])
    effective = first_migration_day(body["effective"], body["notice_days"], now)
    migration = PriceMigration(**{**body, "effective": effective}, id=new_id("mig"), created_at=now)
    db.session.add(migration)
    db.session.flush()
    migration_id, dedupe = migration.id, f"{MIGRATION_JOB} {migration.id}"
    jobs.enqueue_job(MIGRATION_JOB, {"migration": migration_id, "actor": actor, "after": ""}, now, dedupe)
    db.session.commit()
    if _schedule_batch(migration_id, actor, "", now) is None:
        jobs.cancel_job(dedupe)
    view = migration_view(db.session.get_one(PriceMigration, migration_id))
    counts = view["counts"]
    return view | {"subscriptions": sum(counts[name] for name in (*TARGET_KINDS, "unprocessed"))}


def first_migration_day(effective: date, notice_days: int, now: datetime) -> date:
    """Return the first day on which a migration posted now can apply: after the days of notice."""
    return max(effective, now.date() + timedelta(days=notice_days))


def get_migrated_prices(from_price_id: str, to_price_id: str) -> tuple[Price, Price]:
    """Return the old and the new price of a migration. Raises Invalid unless the one can replace the other."""
    old_price, new_price = db.session.get(Price, from_price_id), db.session.get(Price, to_price_id)
    if old_price is None or new_price is None or old_price.id == new_price.id:
        raise Invalid(errors={"to_price_id": ["from_price_id and to_price_id must be two different existing prices."]})
    if (old_price.currency, old_price.terms.interval) != (new_price.currency, new_price.terms.interval):
        raise Invalid(errors={"to_price_id": ["Must have the currency and interval of the old price."]})
    if new_price.plan.addon and new_price.plan_id != old_price.plan_id:
        raise Invalid(
            errors={"to_price_id": ["This price is of an add-on; only another price of that add-on can move to it."]}
        )
    return old_price, new_price


def preview_migration(body: PriceMigrationPreviewInput, now: datetime) -> dict:
    """Return what a migration with these terms would do: the subscriptions it moves and the change of revenue.

    Writes nothing. Raises Invalid.
    """
    old_price, new_price = get_migrated_prices(body["from_price_id"], body["to_price_id"])
    affected = affected_subscriptions_statement(
        old_price, new_price, body["started_before"], body["country"]
    ).subquery()
    total = count_rows(sa.select(affected))
    base = count_rows(sa.select(affected).where(affected.c.price_id == old_price.id))
    addon = count_rows(sa.select(affected).where(affected.c.id.in_(_with_addon_price(old_price.id))))
    monthly_minor = monthly_rate(new_price.terms) - monthly_rate(old_price.terms)
    return {
        "effective": first_migration_day(body["effective"], body["notice_days"], now),
        "subscriptions": total,
        "base": base,
        "addon": addon,
        "planned": total - base - addon,
        "currency": new_price.currency,
        "renewal_change_minor": total * (new_price.amount_minor - old_price.amount_minor),
        "mrr_change_minor": total * monthly_minor,
    }


def count_rows(statement: sa.Select) -> int:
    """Count the rows that the statement selects."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(statement.subquery())) or 0


def _with_addon_price(price_id: str) -> sa.Select:
    """Return a statement that selects the subscriptions with an add-on at this price."""
    return sa.select(SubscriptionAddonPrice.subscription_id).where(SubscriptionAddonPrice.price_id == price_id)


def affected_subscriptions_statement(
    old_price: Price, new_price: Price, started_before: date | None, country: str | None
) -> sa.Select:
    """Return a statement that selects the live subscriptions that have or plan the old price.

    They have it as the price of the base plan or of an add-on, have scheduled a change to it, or come to it by another
    migration. Columns: id, price_id.
    """
    leading = sa.select(PriceMigration.id).where(PriceMigration.to_price_id == old_price.id)
    coming = sa.select(PriceMigrationTarget.subscription_id).where(
        PriceMigrationTarget.migration_id.in_(leading), PriceMigrationTarget.state == "scheduled"
    )
    having = [
        sa.select(Subscription.id).where(Subscription.price_id == old_price.id),
        sa.select(Subscription.id).where(Subscription.planned_price_id == old_price.id),
        coming,
    ]
    if old_price.plan_id == new_price.plan_id:
        having.append(_with_addon_price(old_price.id))
    statement = sa.select(Subscription.id, Subscription.price_id).where(
        Subscription.id.in_(sa.union_all(*having)), Subscription.status.in_(LIVE_STATUSES)
    )
    if started_before:
        statement = statement.where(Subscription.started_on < started_before)
    if country:
        statement = statement.join(Account, Account.id == Subscription.account_id).where(Account.country == country)
    return statement


def unprocessed_subscriptions_statement(migration: PriceMigration) -> sa.Select:
    """Return a statement that selects the affected subscriptions for which the migration was not scheduled yet."""
    old_price, new_price = Price.get_price(migration.from_price_id), Price.get_price(migration.to_price_id)
    targets = sa.select(PriceMigrationTarget.subscription_id).where(PriceMigrationTarget.migration_id == migration.id)
    affected = affected_subscriptions_statement(old_price, new_price, migration.started_before, migration.country)
    return affected.where(Subscription.id.not_in(targets))


def migration_view(migration: PriceMigration) -> dict:
    """Return a migration with its counts of subscriptions."""
    return migration_views([migration])[0]


def migration_views(migrations: Iterable[PriceMigration]) -> list[dict]:
    """Return migrations with their counts of subscriptions: by kind if still to be moved, else by state."""
    migrations = list(migrations)
    columns = (PriceMigrationTarget.migration_id, PriceMigrationTarget.state, PriceMigrationTarget.kind)
    of_migrations = PriceMigrationTarget.migration_id.in_([migration.id for migration in migrations])
    rows = db.session.execute(sa.select(*columns, sa.func.count()).where(of_migrations).group_by(*columns))
    names = (*TARGET_KINDS, *TARGET_STATES[1:], "unprocessed")
    counts = {migration.id: dict.fromkeys(names, 0) for migration in migrations}
    for migration_id, state, kind, count in rows:
        counts[migration_id][kind if state == "scheduled" else state] += count
    for migration in migrations:
        if not (migration.completed_at or migration.withdrawn_at):
            counts[migration.id]["unprocessed"] = count_rows(unprocessed_subscriptions_statement(migration))
    columns_of_view = PriceMigration.__table__.columns.keys()
    return [
        {name: getattr(migration, name) for name in columns_of_view} | {"counts": counts[migration.id]}
        for migration in migrations
    ]


@jobs.job_handler(MIGRATION_JOB, jobs.BULK_LANE)
def handle_migration_batch(payload: dict, now: datetime) -> None:
    """Schedule a migration for the next batch of subscriptions, and enqueue a job for the one after."""
    last_id = _schedule_batch(payload["migration"], payload["actor"], payload["after"], now)
    if last_id:
        jobs.enqueue_job(MIGRATION_JOB, payload | {"after": last_id}, now)


@jobs.job_handler(WITHDRAWAL_JOB, jobs.BULK_LANE)
def handle_withdrawal_batch(payload: dict, now: datetime) -> None:
    """Withdraw a migration from the next batch of subscriptions, and enqueue a job for the one after."""
    if _withdraw_batch(payload["migration"], payload["actor"], now):
        jobs.enqueue_job(WITHDRAWAL_JOB, payload, now)


def _schedule_batch(migration_id: str, actor: str | None, after: str, now: datetime) -> str | None:
    """Schedule a migration for up to MIGRATION_BATCH_SIZE subscriptions after the id `after`.

    Commits after each. Returns the id of the last one; None if the migration is withdrawn or that was the last batch.
    """
    migration = reload_row(PriceMigration, migration_id)
    if migration.withdrawn_at:
        return None
    statement = unprocessed_subscriptions_statement(migration).with_only_columns(Subscription.id)
    ids = db.session.scalars(
        statement.where(Subscription.id > after).order_by(Subscription.id).limit(MIGRATION_BATCH_SIZE)
    ).all()
    _process_each(ids, migration_id, actor, now, _schedule_for)
    if len(ids) == MIGRATION_BATCH_SIZE:
        return ids[-1]
    db.session.get_one(PriceMigration, migration_id).completed_at = now
    db.session.commit()
    return None


def _withdraw_batch(migration_id: str, actor: str | None, now: datetime) -> bool:
    """Withdraw a migration from up to MIGRATION_BATCH_SIZE subscriptions. Commits. Returns whether more are left."""
    scheduled = PriceMigrationTarget.migration_id == migration_id, PriceMigrationTarget.state == "scheduled"
    statement = sa.select(PriceMigrationTarget.subscription_id).where(*scheduled)
    ids = db.session.scalars(statement.order_by(PriceMigrationTarget.subscription_id).limit(MIGRATION_BATCH_SIZE)).all()
    _process_each(ids, migration_id, actor, now, _withdraw_from)
    return len(ids) == MIGRATION_BATCH_SIZE


def _process_each(ids: Iterable[str], migration_id: str, actor: str | None, now: datetime, step: Step) -> None:
    for subscription_id in ids:
        aggregate = load_locked(subscription_id, now)
        step(aggregate, migration_id, actor)
        aggregate.save_projection()
        db.session.commit()


def _schedule_for(aggregate: SubscriptionAggregate, migration_id: str, actor: str | None) -> None:
    price_changes.schedule_open_migrations(aggregate, actor)
    price_changes.record_skipped_target(aggregate, db.session.get_one(PriceMigration, migration_id))


def _withdraw_from(aggregate: SubscriptionAggregate, migration_id: str, actor: str | None) -> None:
    _revert_migration(aggregate, migration_id, "withdrawn", actor)
    price_changes.enqueue_notice(aggregate, withdrawn=True)


def _revert_migration(aggregate: SubscriptionAggregate, migration_id: str, state: str, actor: str | None) -> None:
    """Revert the events by which the migration is scheduled, and set the target's state."""
    for event in [event for event in aggregate.timeline.scheduled_prices if event.migration == migration_id]:
        aggregate.record_event(fact.Reverted, event.ref, actor=actor)
    db.session.get_one(PriceMigrationTarget, (migration_id, aggregate.subscription.id)).state = state


def withdraw_migration(migration_id: str, now: datetime, actor: str | None) -> dict:
    """Withdraw a migration from all subscriptions not yet renewed to it. Commits in batches. Raises WrongState."""
    migration = db.session.get_one(PriceMigration, migration_id)
    if migration.withdrawn_at:
        raise WrongState(detail="This price migration has already been withdrawn.")
    migration.withdrawn_at = now
    dedupe = f"{WITHDRAWAL_JOB} {migration_id}"
    jobs.enqueue_job(WITHDRAWAL_JOB, {"migration": migration_id, "actor": actor}, now, dedupe)
    db.session.commit()
    if not _withdraw_batch(migration_id, actor, now):
        jobs.cancel_job(dedupe)
    return migration_view(db.session.get_one(PriceMigration, migration_id))


@jobs.recurring_job("price.migrate.late", every=timedelta(hours=1))
def schedule_late_targets(payload: dict, now: datetime) -> None:
    """Schedule migrations for subscriptions that were missed, and withdraw them from those that were.

    A subscription that starts while its price's migration is being posted knows nothing of it, and neither does the
    migration of the subscription; an account that moves to another country joins the cohort of that country.
    """
    for migration in db.session.scalars(sa.select(PriceMigration).order_by(PriceMigration.id)).all():
        batch = {"migration": migration.id, "actor": None, "after": ""}
        if migration.withdrawn_at:
            is_scheduled = PriceMigrationTarget.migration_id == migration.id, PriceMigrationTarget.state == "scheduled"
            if db.session.scalar(sa.select(PriceMigrationTarget.migration_id).where(*is_scheduled).limit(1)):
                jobs.enqueue_job(WITHDRAWAL_JOB, batch, now)
        elif migration.completed_at and db.session.scalar(
            unprocessed_subscriptions_statement(migration).with_only_columns(Subscription.id).limit(1)
        ):
            jobs.enqueue_job(MIGRATION_JOB, batch, now)


@jobs.job_handler(price_changes.NOTICE_JOB)
def send_price_notice(payload: dict, now: datetime) -> None:
    """Notify a customer of their coming prices, unless they know them; a changed notice says that it is a correction.

    The days of notice count from the notice: a migration that would apply earlier is postponed.
    """
    aggregate = load_locked(payload["subscription_id"], now)
    if aggregate.subscription.status in ("incomplete", "canceled"):
        return
    price_changes.postpone_unannounced_migrations(aggregate)
    price_changes.schedule_open_migrations(aggregate)
    announced, steps = price_changes.announced_steps_to_come(aggregate), price_changes.upcoming_steps(aggregate)
    keys = [price_changes.step_key(step) for step in steps]
    if keys and keys != announced:
        notices.enqueue_price_change_notice(aggregate, steps, corrects=bool(announced))
        aggregate.subscription.announced_prices = keys
    elif announced and not keys and payload["withdrawn"]:
        item, _, day = announced[0]
        notices.enqueue_price_change_withdrawn_notice(aggregate, item, day)
        aggregate.subscription.announced_prices = []
    aggregate.save_projection()


def list_declinable_migrations(subscription: Subscription) -> list[PriceMigration]:
    """List the scheduled migrations that the subscriber can decline."""
    targets = batching_session().preloaded(PriceMigrationTarget.subscription_id, subscription.id)
    if targets is not None:
        return [db.session.get_one(PriceMigration, target.migration_id) for target in targets]
    statement = join_declinable_targets(sa.select(PriceMigration))
    return list(db.session.scalars(statement.where(PriceMigrationTarget.subscription_id == subscription.id)))


def join_declinable_targets(select: Any) -> Any:
    """Join a SELECT of migrations and their targets, oldest first: those that the subscriber can decline."""
    is_target = PriceMigrationTarget.migration_id == PriceMigration.id, PriceMigrationTarget.state == "scheduled"
    is_declinable = PriceMigration.can_decline, PriceMigration.withdrawn_at.is_(None)
    return select.where(*is_target, *is_declinable).order_by(PriceMigration.id)


def decline_migration(aggregate: SubscriptionAggregate, actor: str | None) -> None:
    """Decline the scheduled price migrations and keep the old price. Raises WrongState if there are none to decline."""
    migration_ids = [migration.id for migration in list_declinable_migrations(aggregate.subscription)]
    if not migration_ids:
        raise WrongState(detail="There is no scheduled price change that can be declined.")
    for migration_id in migration_ids:
        _revert_migration(aggregate, migration_id, "declined", actor)
    aggregate.subscription.announced_prices = [
        price_changes.step_key(step)
        for step in price_changes.upcoming_steps(aggregate)
        if price_changes.step_key(step) in aggregate.subscription.announced_prices
    ]
    if aggregate.timeline.pending_migrations:
        price_changes.enqueue_notice(aggregate)
