"""Households, and the trials and introductory prices that they have had or were promised: each is had once.

A household is an account and all accounts that share one of its cards, current or removed, or its device. IP addresses
do not identify a household: carriers put thousands of homes behind one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Invoice,
    InvoiceLine,
    PaymentMethod,
    Price,
    StoreSubscription,
    StoreTransaction,
    Subscription,
    SubscriptionEvent,
)
from streamsvc.operations.billing.core import event_store
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.lines import list_effective_events, replay_timeline
from streamsvc.rules.billing.paid import Line
from streamsvc.storage import lock_order
from streamsvc.storage.database import db

if TYPE_CHECKING:
    from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate

Conditions = list[sa.ColumnElement[bool]]


def household_conditions(account: Account, device_hash: str | None) -> Conditions:
    """Return the conditions of which each selects subscriptions of the account's household."""
    households: Conditions = [Subscription.account_id == account.id, Subscription.account_id.in_(_holders(account))]
    if device_hash:
        households.append(Subscription.device_hash == device_hash)
    return households


def _holders(account: Account) -> sa.Select:
    """Select the ids of the accounts that share a card with the account."""
    fingerprints = sa.select(PaymentMethod.fingerprint).where(PaymentMethod.account_id == account.id)
    return sa.select(PaymentMethod.account_id).where(PaymentMethod.fingerprint.in_(fingerprints))


def lock_households(members: Iterable[tuple[Account, str | None]]) -> None:
    """Lock the households of these (account, device hash) until the commit, so that one transaction decides at a time.

    A household is locked by each of its cards and by its device: two accounts of one household share one of these.
    SQLite needs no lock, since it has one writer at a time.
    """
    members = list(members)
    cards = sa.select(PaymentMethod.fingerprint).where(
        PaymentMethod.account_id.in_([account.id for account, _ in members]), PaymentMethod.fingerprint.is_not(None)
    )
    names = {f"card {fingerprint}" for fingerprint in db.session.scalars(cards)}
    names |= {f"device {device_hash}" for _, device_hash in members if device_hash}
    for name in sorted(names):
        lock_order.note_lock(db.session(), lock_order.Rank.HOUSEHOLD, name)
    if names and db.session.get_bind().dialect.name == "postgresql":
        name_column = sa.func.unnest(sa.cast(sorted(names), ARRAY(sa.Text))).column_valued("name")
        db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name_column, 0))))


def lock_household(aggregate: "SubscriptionAggregate") -> None:
    """Lock the household of a subscription."""
    lock_households([(aggregate.account, aggregate.subscription.device_hash)])


def lock_households_with_offers(aggregates: Iterable["SubscriptionAggregate"]) -> None:
    """Lock the households of those subscriptions that were promised a trial or an introductory price."""
    members = [
        (aggregate.account, aggregate.subscription.device_hash)
        for aggregate in aggregates
        if any(_is_offer(event) for event in aggregate.facts.events)
    ]
    if members:
        lock_households(members)


def _is_offer(event: fact.Event) -> bool:
    price = getattr(event, "price", None)
    return bool((price and price.intro) or getattr(event, "trial_days", 0))


def _invoice_conditions(account: Account, device_hash: str | None) -> Conditions:
    """Return the conditions of which each selects invoices of the household, also for what was transferred since."""
    billed = [Invoice.account_id == account.id, Invoice.account_id.in_(_holders(account))]
    return [*billed, *household_conditions(account, device_hash)]


def can_start_trial(account: Account, device_hash: str | None) -> bool:
    """Return whether the account's household has not had a trial yet.

    A trial counts even if its subscription was transferred to another account, and so does one at an app store. Locks
    the household.
    """
    lock_households([(account, device_hash)])
    if _has_trial_invoice(Invoice.account_id == account.id, fact.BASE_ITEM) or _has_had_store_trial(account):
        return False
    statements = (
        db.select(Subscription.id).where(Subscription.trial_end.is_not(None), is_household).limit(1)
        for is_household in household_conditions(account, device_hash)
    )
    return not any(db.session.scalar(query) for query in statements)


def _has_had_store_trial(account: Account) -> bool:
    """Return whether the household has had a trial at an app store: a subscription, or a payment of nothing for one.

    The payment stays with the account that made it when the subscription moves to another.
    """
    household = sa.union_all(sa.select(sa.literal(account.id)), _holders(account))
    trials = sa.select(StoreSubscription.id).where(
        StoreSubscription.account_id.in_(household), StoreSubscription.had_trial
    )
    free_periods = sa.select(StoreTransaction.id).where(
        StoreTransaction.account_id.in_(household), StoreTransaction.amount_minor == 0
    )
    return any(db.session.scalar(query.limit(1)) is not None for query in (trials, free_periods))


def can_start_addon_trial(aggregate: "SubscriptionAggregate", addon: str) -> bool:
    """Return whether the household has neither had a trial of this add-on yet nor was promised one. Locks it."""
    lock_household(aggregate)
    return not (_has_had_addon_trial(aggregate, addon) or _is_addon_trial_promised(aggregate, addon))


def agreed_terms(aggregate: "SubscriptionAggregate", price: Price) -> tuple[fact.PriceTerms, bool]:
    """Return the terms at which the household gets the price, and whether these have its introductory amount.

    A household gets the introductory amounts of a plan once. A subscription that comes back to a price goes on with the
    introductory periods that it has left. Locks the household if the price has an introductory amount.
    """
    if price.terms.intro is None:
        return price.terms, True
    lock_household(aggregate)
    has_intro = not (_has_had_intro(aggregate, price) or _is_intro_promised(aggregate, price))
    return (price.terms if has_intro else replace(price.terms, intro=None)), has_intro


def withdraw_used_offers(aggregate: "SubscriptionAggregate", due: Sequence[Line]) -> bool:
    """Withdraw the offers of lines about to be billed that the household has had elsewhere since they were agreed.

    Accounts can come to share a card after both were promised an offer: the one that was charged first keeps it, and of
    those billed at the same time the one that subscribed first. Returns whether any was withdrawn, so that the lines
    have changed.
    """
    withdrawals = len(aggregate.facts.events)
    introductory = aggregate.timeline.introductory_lines
    if any(line.kind == "trial" or line.identity in introductory for line in due):
        lock_household(aggregate)
    for cause, item in {(line.cause, line.item) for line in due if line.kind == "trial"}:
        if item != fact.BASE_ITEM and (
            _has_had_addon_trial(aggregate, item) or _is_addon_trial_promised(aggregate, item, to_older=True)
        ):
            aggregate.record_event(fact.AddonTrialWithdrawn, cause)
    starts: dict[str, date] = {}
    for line in due:
        if line.identity in introductory:
            starts[line.price_id] = min(line.period.start, starts.get(line.price_id, line.period.start))
    for price_id in sorted(starts.keys() - _list_withdrawn_prices(aggregate.facts)):
        price, own_first_at = event_store.load_price(price_id), _find_first_charge(aggregate, price_id)
        if _has_had_intro(aggregate, price, own_first_at) or (
            own_first_at is None and _is_intro_promised(aggregate, price, to_older=True)
        ):
            is_invoiced = own_first_at or _has_invoiced_intro(aggregate, price_id)
            aggregate.record_event(fact.IntroWithdrawn, price_id, starts[price_id] if is_invoiced else None)
    return len(aggregate.facts.events) > withdrawals


def _has_invoiced_intro(aggregate: "SubscriptionAggregate", price_id: str) -> bool:
    """Return whether a period was invoiced at the price's introductory amount, if only on an invoice that is void."""
    introductory, booked = aggregate.timeline.introductory_lines, aggregate.facts.booked
    return any(
        line.price_id == price_id and line.identity in introductory and line.identity in booked
        for line in aggregate.timeline.lines
    )


def _list_withdrawn_prices(facts: fact.Facts) -> set[str]:
    """List the prices without an offer to withdraw: withdrawn already, or promised by an operator's migration."""
    chosen: set[str] = set()
    withdrawn: set[str] = set()
    migrated: set[str] = set()
    for event in facts.events:
        price = getattr(event, "price", None)
        if isinstance(event, fact.IntroWithdrawn):
            withdrawn.add(event.price_id)
        elif price:
            (migrated if getattr(event, "migration", None) else chosen).add(price.id)
    return withdrawn | (migrated - chosen)


def _has_had_intro(aggregate: "SubscriptionAggregate", price: Price, before: datetime | None = None) -> bool:
    """Return whether the household was charged an introductory price of the plan, other than by this subscription.

    `before`: only charges issued before that moment count.
    """
    is_other = sa.or_(InvoiceLine.subscription_id != aggregate.subscription.id, InvoiceLine.price_id != price.id)
    charged = (
        sa.select(InvoiceLine.subscription_id, InvoiceLine.identity)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .join(Price, Price.id == InvoiceLine.price_id)
        .join(Subscription, Subscription.id == Invoice.subscription_id)
        .where(Invoice.issued_at.is_not(None), Invoice.status != "void", InvoiceLine.kind == "charge", is_other)
        .where(Price.plan_id == price.plan_id, Price.intro_periods.is_not(None))
    )
    if before:
        charged = charged.where(Invoice.issued_at < before)
    identities: dict[str, set[str | None]] = {}
    for household in _invoice_conditions(aggregate.account, aggregate.subscription.device_hash):
        for subscription_id, identity in db.session.execute(charged.where(household)):
            identities.setdefault(str(subscription_id), set()).add(identity)
    return any(
        replay_timeline(event_store.load_facts(subscription_id), aggregate.today).introductory_lines & charges
        for subscription_id, charges in identities.items()
    )


def _find_first_charge(aggregate: "SubscriptionAggregate", price_id: str) -> datetime | None:
    """Find when the subscription was first charged this price."""
    statement = (
        sa.select(sa.func.min(Invoice.id))
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(InvoiceLine.subscription_id == aggregate.subscription.id, InvoiceLine.price_id == price_id)
        .where(InvoiceLine.kind == "charge", Invoice.issued_at.is_not(None), Invoice.status != "void")
    )
    first_id = db.session.scalar(statement)
    return db.session.get_one(Invoice, first_id).issued_at if first_id else None


def _is_intro_promised(aggregate: "SubscriptionAggregate", price: Price, to_older: bool = False) -> bool:
    """Return whether another live subscription of the household has, or comes to, an introductory price of the plan."""
    plan_prices = sa.select(Price.id).where(Price.plan_id == price.plan_id, Price.intro_periods.is_not(None))
    price_ids = set(db.session.scalars(plan_prices))
    promised = SubscriptionEvent.data["price"].as_string().in_(price_ids)
    for subscription_id in _list_other_live(aggregate, promised, to_older):
        timeline = replay_timeline(event_store.load_facts(subscription_id), aggregate.today)
        planned = [event.price for event in timeline.scheduled_prices if event.price and event.only_from is None]
        if any(terms.intro and terms.id in price_ids for terms in (*timeline.prices.values(), *planned)):
            return True
    return False


def _is_addon_trial_promised(aggregate: "SubscriptionAggregate", addon: str, to_older: bool = False) -> bool:
    """Return whether another live subscription of the household was promised a trial of the add-on."""
    is_added = SubscriptionEvent.kind == event_store.EVENT_KINDS[fact.AddonAdded]
    promised = sa.and_(is_added, SubscriptionEvent.data["item"].as_string() == addon)
    return any(
        isinstance(event, fact.AddonAdded) and event.item == addon and event.trial_days
        for subscription_id in _list_other_live(aggregate, promised, to_older)
        for event in list_effective_events(event_store.load_facts(subscription_id))
    )


def _list_other_live(
    aggregate: "SubscriptionAggregate", is_promise: sa.ColumnElement[bool], only_older: bool
) -> set[str]:
    """List the ids of other live subscriptions of the household that have such an event."""
    account, device_hash = aggregate.account, aggregate.subscription.device_hash
    billed = sa.select(Invoice.subscription_id).where(
        sa.or_(Invoice.account_id == account.id, Invoice.account_id.in_(_holders(account)))
    )
    statement = (
        sa.select(Subscription.id)
        .join(SubscriptionEvent, SubscriptionEvent.subscription_id == Subscription.id)
        .where(Subscription.status.in_(LIVE_STATUSES), Subscription.id != aggregate.subscription.id, is_promise)
    )
    if only_older:
        statement = statement.where(Subscription.id < aggregate.subscription.id)
    households = (*household_conditions(account, device_hash), Subscription.id.in_(billed))
    return {row for household in households for row in db.session.scalars(statement.where(household))}


def _has_had_addon_trial(aggregate: "SubscriptionAggregate", addon: str) -> bool:
    """Return whether the household was given a trial of the add-on."""
    conditions = _invoice_conditions(aggregate.account, aggregate.subscription.device_hash)
    return any(_has_trial_invoice(is_household, addon) for is_household in conditions)


def _has_trial_invoice(condition: sa.ColumnElement[bool], item: str) -> bool:
    """Return whether there is an issued invoice with a trial of the item, for a condition on it or its subscription."""
    is_trial = (Invoice.issued_at.is_not(None), InvoiceLine.kind == "trial", InvoiceLine.item == item)
    statement = (
        sa.select(Invoice.id)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .join(Subscription, Subscription.id == Invoice.subscription_id)
        .where(*is_trial, condition)
    )
    return db.session.scalar(statement.limit(1)) is not None
