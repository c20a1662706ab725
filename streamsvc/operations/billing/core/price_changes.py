"""Changes of a subscription's prices that are still to come: price migrations, and the viewer's own scheduled change.

A migration concerns everyone who has the price that it replaces or comes to it: by a plan change, as an add-on, by an
import, or by another migration. So it is looked up wherever a price is set.
"""

from datetime import date
from typing import Any

import sqlalchemy as sa

from streamsvc.models.subscriptions import (
    Price,
    PriceMigration,
    PriceMigrationTarget,
    Subscription,
    SubscriptionAddonPrice,
)
from streamsvc.operations.billing.core import event_store
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import add_days
from streamsvc.rules.billing.lines import upcoming_price_steps
from streamsvc.rules.billing.price_migrations import PriceStep, close_over
from streamsvc.storage.database import db
from streamsvc.worker import jobs

NOTICE_JOB = "price.notice"
PRICE_EVENTS = (
    fact.Started,
    fact.Imported,
    fact.Gifted,
    fact.PriceChanged,
    fact.PriceScheduled,
    fact.AddonAdded,
    fact.Resumed,
    fact.EndDropped,
)
"""The events after which a subscription may have, or come to, a price that is being migrated."""


def sets_price(event: fact.Event) -> bool:
    """Return whether open migrations must be looked up after the event; not after a migration's own events."""
    return isinstance(event, PRICE_EVENTS) and not getattr(event, "only_from", None)


def schedule_open_migrations(aggregate: Any, actor: str | None = None) -> None:
    """Schedule each open migration of a price that the subscription has or comes to, and have the customer notified."""
    while missing := list_missing_migrations(aggregate):
        for migration in missing:
            _schedule_migration(aggregate, migration, actor)
    if aggregate.timeline.pending_migrations:
        enqueue_notice(aggregate)


def list_missing_migrations(aggregate: Any) -> list[PriceMigration]:
    """List the open migrations that concern the subscription and are not scheduled for it, declined or applied."""
    timeline = aggregate.timeline
    if timeline.ended_on or not timeline.prices:
        return []
    known = {event.migration for event in (*timeline.scheduled_prices, *timeline.applied_migrations)}
    missing = [
        migration
        for migration in PriceMigration.list_open(timeline.coming_prices)
        if migration.id not in known and is_in_cohort(aggregate, migration)
    ]
    if not missing:
        return []
    declined = {
        target.migration_id
        for target in PriceMigrationTarget.list_of_subscription(aggregate.subscription.id)
        if target.state == "declined"
    }
    return [migration for migration in missing if migration.id not in declined and _can_move(aggregate, migration)]


def is_in_cohort(aggregate: Any, migration: PriceMigration) -> bool:
    """Return whether the migration is meant for subscriptions of this age and accounts of this country."""
    is_old = migration.started_before is None or aggregate.subscription.started_on < migration.started_before
    return is_old and migration.country in (None, aggregate.account.country)


def _can_move(aggregate: Any, migration: PriceMigration) -> bool:
    """Return whether the migration could change a price of the subscription, and not to a plan that it has twice."""
    timeline, old, new = aggregate.timeline, *_load_prices(migration)
    if not timeline.awaits(_migration_event(aggregate, migration)):
        return False
    if target_kind(timeline, migration.from_price_id) == "addon":
        return old.plan_id == new.plan_id
    return new.plan.code not in timeline.prices


def _load_prices(migration: PriceMigration) -> tuple[Price, Price]:
    return event_store.load_price(migration.from_price_id), event_store.load_price(migration.to_price_id)


def target_kind(timeline: Any, from_price_id: str) -> str:
    """Return what has the price: the `base` plan, an `addon`, or a `planned` change, also by another migration."""
    addons = [price.id for item, price in timeline.prices.items() if item != fact.BASE_ITEM]
    if from_price_id in close_over(addons, timeline.scheduled_prices):
        return "addon"
    return "base" if from_price_id == timeline.price.id else "planned"


def _migration_event(aggregate: Any, migration: PriceMigration) -> fact.PriceScheduled:
    return fact.PriceScheduled(
        event_store.next_event_ref(aggregate.facts), aggregate.today, *_event_details(migration, aggregate.today)
    )


def _event_details(
    migration: PriceMigration, today: date
) -> tuple[fact.PriceTerms, date, str, str, date, tuple[str, ...]]:
    """Return the fields of the event that schedules the migration, after the days of notice from today on."""
    new_price = event_store.load_price(migration.to_price_id)
    not_before = max(migration.effective, add_days(today, migration.notice_days))
    includes = tuple(new_price.plan.includes)
    return new_price.terms, not_before, migration.from_price_id, migration.id, migration.effective, includes


def _schedule_migration(aggregate: Any, migration: PriceMigration, actor: str | None) -> None:
    details = _event_details(migration, aggregate.today)
    kind = target_kind(aggregate.timeline, migration.from_price_id)
    aggregate.record_event(fact.PriceScheduled, *details, actor=actor)
    key = (migration.id, aggregate.subscription.id)
    target = db.session.get(PriceMigrationTarget, key)
    if target is None:
        target = PriceMigrationTarget(migration_id=key[0], subscription_id=key[1])
        db.session.add(target)
    target.kind, target.state, target.not_before = kind, "scheduled", details[1]
    db.session.flush()


def record_skipped_target(aggregate: Any, migration: PriceMigration) -> None:
    """Record that the migration was not scheduled for the subscription, so that it is not tried again each hour."""
    key = (migration.id, aggregate.subscription.id)
    if db.session.get(PriceMigrationTarget, key) is None:
        kind = target_kind(aggregate.timeline, migration.from_price_id)
        target = PriceMigrationTarget(kind=kind, state="skipped", not_before=migration.effective)
        target.migration_id, target.subscription_id = key
        db.session.add(target)


def postpone_unannounced_migrations(aggregate: Any) -> None:
    """Move migrations of which the customer is not notified yet to the end of their days of notice from today on."""
    for step in list_unannounced_steps(aggregate):
        event = step.scheduled
        migration = event.migration and db.session.get(PriceMigration, event.migration)
        if migration and event.not_before < add_days(aggregate.today, migration.notice_days):
            aggregate.record_event(fact.Reverted, event.ref)
            aggregate.record_event(fact.PriceScheduled, *_event_details(migration, aggregate.today))


def upcoming_steps(aggregate: Any) -> list[PriceStep]:
    """Return the changes of prices that the scheduled migrations will cause, oldest first."""
    return upcoming_price_steps(aggregate.facts, aggregate.timeline, aggregate.today)


def list_unannounced_steps(aggregate: Any) -> list[PriceStep]:
    """Return the upcoming changes of prices of which the customer was not notified."""
    announced = aggregate.subscription.announced_prices
    return [step for step in upcoming_steps(aggregate) if step_key(step) not in announced]


def step_key(step: PriceStep) -> list[str]:
    """Return what a notice says of a change, as stored in `announced_prices`."""
    return [step.item, step.price.id, step.scheduled.not_before.isoformat()]


def announced_steps_to_come(aggregate: Any) -> list[list[str]]:
    """Return the announced changes that have not taken place yet."""
    timeline = aggregate.timeline
    past = {(step.item, step.price.id) for step in timeline.price_steps}
    current = {(item, price.id) for item, price in timeline.prices.items()}
    return [key for key in aggregate.subscription.announced_prices if (key[0], key[1]) not in past | current]


def enqueue_notice(aggregate: Any, withdrawn: bool = False) -> None:
    """Have the worker notify the customer of what is new about their coming prices, once for the history as it is.

    `withdrawn`: a migration was withdrawn.
    """
    subscription = aggregate.subscription
    dedupe = f"price notice {subscription.id} {len(aggregate.facts.events)} {subscription.status}"
    payload = {"subscription_id": subscription.id, "withdrawn": withdrawn}
    jobs.enqueue_job(NOTICE_JOB, payload, aggregate.now, dedupe)


def project_prices(aggregate: Any) -> None:
    """Write the subscription's coming prices and the states of its migrations to the rows."""
    row, timeline = aggregate.subscription, aggregate.timeline
    own = next((event for event in timeline.scheduled_prices if event.only_from is None), None)
    row.planned_price_id = own.price.id if own and own.price else None
    _replace_addon_prices(row, {item: price.id for item, price in timeline.prices.items() if item != fact.BASE_ITEM})
    pending = _find_next_base_price(aggregate, own)
    row.pending_price_id, row.pending_on = pending or (None, None)
    update_targets(aggregate)


def _replace_addon_prices(row: Subscription, prices: dict[str, str]) -> None:
    """Store the add-ons' prices, also in the table by which they are found, if they have changed."""
    if row.addon_prices == prices:
        return
    row.addon_prices = prices
    db.session.flush()
    db.session.execute(sa.delete(SubscriptionAddonPrice).where(SubscriptionAddonPrice.subscription_id == row.id))
    for item, price_id in prices.items():
        db.session.add(SubscriptionAddonPrice(subscription_id=row.id, item=item, price_id=price_id))
    db.session.flush()


def _find_next_base_price(aggregate: Any, own: fact.PriceScheduled | None) -> tuple[str, date] | None:
    """Return the next price of the base plan and the day from which it applies; None if none is coming."""
    timeline = aggregate.timeline
    end = timeline.paid_through or timeline.paid_from
    steps = upcoming_steps(aggregate) if timeline.pending_migrations else []
    steps = [step for step in steps if step.item == fact.BASE_ITEM]
    if own and own.price:
        start = max(own.not_before, end)
        return steps[0].price.id if steps and steps[0].start <= start else own.price.id, start
    return (steps[0].price.id, max(steps[0].scheduled.not_before, end)) if steps else None


def update_targets(aggregate: Any) -> None:
    """Update what the migrations mean to the subscription: scheduled, applied, or skipped."""
    row, timeline = aggregate.subscription, aggregate.timeline
    has_ended = timeline.ended_on or row.status == "canceled"
    pending = {} if has_ended else {event.migration: event for event in timeline.pending_migrations if event.migration}
    if not pending and not row.open_migrations:
        return
    applied = {event.migration for event in timeline.applied_migrations}
    for target in PriceMigrationTarget.list_of_subscription(row.id):
        if event := pending.get(target.migration_id):
            target.state, target.not_before = "scheduled", event.not_before
            target.kind = target_kind(timeline, event.only_from or "")
        elif target.migration_id in applied:
            target.state = "applied"
        elif target.state == "scheduled":
            target.state = "skipped"
    row.open_migrations = len(pending)
