"""Changes to a subscription: each step records an event, invoices the lines it causes, and charges for them.

The steps run under the account's lock and commit nothing; `apply_change` commits, charges, and returns the result. A
preview runs the same step and rolls it back.
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import cache

from streamsvc.http import idempotency
from streamsvc.models.subscriptions import PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.billing.core import charging, debts, due_payments, method_selection, payment_limits
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, list_overdue_invoices, load_locked
from streamsvc.operations.billing.core.households import agreed_terms
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.billing.subscriptions import renewal
from streamsvc.operations.billing.subscriptions.addon_orders import list_unfitting_addons
from streamsvc.operations.billing.subscriptions.first_payment import raise_if_not_paid
from streamsvc.operations.billing.subscriptions.subscribe import cancel_abandoned_start, require_base_plan
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import ACCESS_STATUSES
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.changes import first_day_after_cancellation, first_day_of_new_price, is_upgrade
from streamsvc.rules.billing.debts import BLOCKING_STAGES
from streamsvc.rules.billing.inputs import CancellationInput, PlanChangeInput
from streamsvc.rules.billing.pauses import PauseRules
from streamsvc.rules.refusals.billing import (
    PauseLimitReached,
    PaymentFailed,
    PaymentMethodRequired,
    PaymentOverdue,
    WrongState,
)
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, reload_row

pause_rules_of = cache(PauseRules.parse)
ChangeStep = Callable[[SubscriptionAggregate], None]


def apply_change(subscription_id: str, step: ChangeStep, now: datetime) -> Subscription:
    """Apply the step, charge for it, and return the updated subscription. Commits.

    What the customer has changes only once the charge has succeeded (`granted_timeline`).
    Raises PaymentFailed, which means that the step was reverted, AuthenticationRequired, and whatever the step raises.
    """
    checkpoint = idempotency.load_checkpoint()
    if checkpoint is None:
        account_id = db.session.get_one(Subscription, subscription_id).account_id
        charging.refresh_waiting_payments(account_id, now)
        aggregate = load_locked(subscription_id, now)
        overdue_ids = {invoice.id for invoice in renewal.catch_up_billing(aggregate)}
        step(aggregate)
        payments = [] if aggregate.timeline.ended_on else due_payments.create_due_payments(aggregate, on_session=True)
        aggregate.save_projection()
        checkpoint = {"payments": [[payment.id, payment.invoice_id not in overdue_ids] for payment in payments]}
        idempotency.save_checkpoint(**checkpoint)
        db.session.commit()
    completed = [(charging.resume_payment(payment_id), is_of_step) for payment_id, is_of_step in checkpoint["payments"]]
    for payment in [payment for payment, is_of_step in completed if is_of_step]:
        raise_if_not_paid(payment)
    return reload_row(Subscription, subscription_id)


def change_plan(aggregate: SubscriptionAggregate, body: PlanChangeInput, actor: str) -> None:
    """Change to another price: `now`, at `period_end`, or `auto`, which upgrades now and downgrades at the end.

    During a trial `auto` means now. Raises Invalid, WrongState, PaymentOverdue, PaymentFailed.
    """
    require_changeable(aggregate)
    on_sale = Price.find_on_sale(body["price_id"], aggregate.account.country)
    price = check_new_price(aggregate, on_sale, body["anchor_day"])
    is_trial = aggregate.timeline.paid_through is None
    when = body["when"]
    if when == "auto":
        when = "now" if is_trial or is_upgrade(aggregate.timeline.price, price.terms) else "period_end"
    check_addons_fit(aggregate, price, when)
    includes, (terms, has_intro) = tuple(price.plan.includes), agreed_terms(aggregate, price)
    if when == "period_end":
        today = aggregate.today
        aggregate.record_event(fact.PriceScheduled, terms, today, includes=includes, has_intro=has_intro, actor=actor)
        if body["anchor_day"]:
            aggregate.record_event(fact.AnchorMoved, body["anchor_day"], bridges_late=True, actor=actor)
        return
    effective, today = aggregate.today, aggregate.today
    if aggregate.timeline.has_gifted_days(today):  # nothing was charged for them that could be credited
        raise WrongState(detail="A gift pays for this plan; change to another one at the end of the period.")
    if not is_trial:
        effective = first_day_of_new_price(aggregate.timeline.price_used_on(today), price.terms, today)
    details = (effective, body["anchor_day"], first_day_after_cancellation(today), includes, has_intro)
    aggregate.record_event(fact.PriceChanged, terms, *details, bridges_late=True, actor=actor)
    bill_change(aggregate)


def bill_change(aggregate: SubscriptionAggregate, reason: str = "change") -> None:
    """Invoice a change that takes effect only once it is paid for. Raises PaymentFailed without a payment method."""
    invoices = aggregate.create_due_invoices(reason, requires_payment=True)
    open_invoices = [invoice for invoice in invoices if invoice.status == "open"]
    if open_invoices and method_selection.select_invoice_method(open_invoices[0]) is None:
        raise PaymentFailed(decline_code=payment_limits.PAYMENT_METHOD_REQUIRED)


def check_new_price(aggregate: SubscriptionAggregate, price: Price | None, anchor_day: int | None) -> Price:
    """Check that the subscription can change to the price, with this anchor day (1 to 31) if one is given.

    `price`: None if it is not on sale in the account's country. Raises Invalid.
    """
    if price is None or price.currency != aggregate.subscription.currency:
        raise Invalid(
            errors={"price_id": ["No such price is on sale in the account's country and the subscription's currency."]}
        )
    require_base_plan(price, "price_id")
    if price.id == aggregate.timeline.price.id:
        raise Invalid(errors={"price_id": ["The subscription already has this price."]})
    if anchor_day and not price.terms.interval.months:
        raise Invalid(errors={"anchor_day": ["Only prices billed by the month or year have an anchor day."]})
    return price


def check_addons_fit(aggregate: SubscriptionAggregate, price: Price, when: str) -> None:
    """Raise Invalid if an add-on that the subscription has after the change does not fit the new price."""
    timeline = aggregate.timeline
    remaining = [
        addon.item
        for addon in timeline.billed_addons
        if when == "now" or (timeline.addon_end(addon) or date.max) > timeline.paid_end
    ]
    if unfitting := [item for item in remaining if not is_addon_fitting(timeline.price, price, item)]:
        raise Invalid(errors={"price_id": [f"Remove the add-ons first: {', '.join(sorted(unfitting))}."]})


def is_addon_fitting(former: fact.PriceTerms, price: Price, item: str) -> bool:
    """Return whether an add-on of the former price can stay with the new one, or is included in its plan."""
    if item in price.plan.includes:
        return True
    plan = Plan.find_by_code(item)
    is_sold = plan is None or not list_unfitting_addons(price.plan, [plan])
    return is_sold and item != price.plan.code and price.terms.interval == former.interval


def check_fits_scheduled_change(aggregate: SubscriptionAggregate, item: str) -> None:
    """Raise WrongState if the add-on would not fit the price to which a change is scheduled."""
    for change in aggregate.timeline.scheduled_prices:
        if change.price and not is_addon_fitting(aggregate.timeline.price, Price.get_price(change.price.id), item):
            raise WrongState(detail="The add-on does not fit the scheduled plan change; cancel the change first.")


def cancel_scheduled_change(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Cancel a price change scheduled for the period's end, other than a price migration. Raises WrongState."""
    if aggregate.timeline.ended_on:
        raise WrongState
    if any(scheduled.only_from is None for scheduled in aggregate.timeline.scheduled_prices):
        aggregate.record_event(fact.PriceScheduled, None, aggregate.today, actor=actor)


def set_anchor(aggregate: SubscriptionAggregate, day: int, month: int | None, actor: str) -> None:
    """Plan to move billing to another day of the month, or of the year, from the end of the paid days on.

    Nothing is charged now: the bridge to the new day is billed when it begins. Raises Invalid, WrongState,
    PaymentOverdue.
    """
    require_changeable(aggregate)
    timeline = aggregate.timeline
    if not timeline.price.interval.months:
        raise Invalid(errors={"day": ["Only prices billed by the month or year have an anchor day."]})
    if month and not timeline.price.interval.is_whole_years:
        raise Invalid(errors={"month": ["Only prices billed by the year have an anchor month."]})
    if (day, month) != (timeline.anchor_day, timeline.anchor_month):
        aggregate.record_event(fact.AnchorMoved, day, month, bridges_late=True, actor=actor)


def cancel_anchor_move(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Withdraw the planned moves of the anchor. Raises WrongState if none is planned."""
    require_no_billing_hold(aggregate)
    pending = aggregate.timeline.pending_anchor_moves  # one of a plan change belongs to that change
    moves = [
        event.ref for event in aggregate.facts.events if isinstance(event, fact.AnchorMoved) and event.ref in pending
    ]
    if not moves or aggregate.timeline.ended_on:
        raise WrongState(detail="No change of the billing day is planned; its bridge may have been billed already.")
    for ref in moves:
        aggregate.record_event(fact.Reverted, ref, actor=actor)


def cancel_subscription(
    aggregate: SubscriptionAggregate, body: CancellationInput, actor: str, backdate: bool = False
) -> None:
    """Cancel the subscription at the period's end, now, or on a date. Raises WrongState.

    `backdate`: allow an effective date in the past, which credits days already used (operators only).
    """
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState
    subscription = aggregate.subscription
    subscription.cancel_reason, subscription.cancel_feedback = body["reason"], body["feedback"]
    if subscription.status == "incomplete":
        cancel_abandoned_start(aggregate)
        return
    effective_date, is_prorated = body["effective_date"], body["credit"] != "none"
    if body["when"] == "period_end":
        aggregate.record_event(fact.EndScheduled, None, False, actor=actor)
        if aggregate.timeline.ends_on is None or aggregate.timeline.ends_on > aggregate.today:
            return
        effective_date = aggregate.today  # it ended during a pause: credit the remaining paid days
    tomorrow = first_day_after_cancellation(aggregate.today)
    first_unused = max(aggregate.today, aggregate.timeline.frozen_from or tomorrow)
    effective = effective_date or first_unused
    if effective > tomorrow:
        aggregate.record_event(fact.EndScheduled, effective, is_prorated, actor=actor)
        return
    review.finalize_drafts(aggregate, include_held=True)
    renewal.end_subscription(
        aggregate, effective if backdate else max(effective, first_unused), is_prorated, actor=actor
    )
    aggregate.create_due_invoices("cancellation")


def undo_cancellation(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Undo a pending cancellation.

    Raises WrongState if the subscription has ended, and PaymentMethodRequired if a gift pays for it and no card would
    pay for it afterwards.
    """
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState(detail="The subscription has ended; start a new one.")
    if aggregate.timeline.end_scheduled:
        if aggregate.timeline.has_gifts and find_method(aggregate) is None:
            raise PaymentMethodRequired(detail="Add a card first: it is charged when the gift ends.")
        aggregate.record_event(fact.EndDropped, actor=actor)
        aggregate.subscription.cancel_reason = aggregate.subscription.cancel_feedback = None


def find_method(aggregate: SubscriptionAggregate) -> PaymentMethod | None:
    """Find the payment method that renewals would charge."""
    return method_selection.select_account_method(aggregate.account.id, aggregate.subscription.payment_method_id)


def pause_subscription(aggregate: SubscriptionAggregate, resumes_at: datetime | None, actor: str) -> None:
    """Pause the subscription and its paid days from tomorrow on until `resumes_at`, or until it is resumed.

    Raises Invalid, WrongState, PaymentOverdue, PauseLimitReached.
    """
    require_changeable(aggregate)
    check_pause(aggregate, resumes_at)
    aggregate.record_event(fact.Paused, first_day_after_cancellation(aggregate.today), actor=actor)
    aggregate.subscription.paused_at, aggregate.subscription.resumes_at = aggregate.now, resumes_at


def check_pause(aggregate: SubscriptionAggregate, resumes_at: datetime | None) -> None:
    """Check that the subscription may be paused now, until `resumes_at`. Raises Invalid, PauseLimitReached."""
    rules = pause_rules_of(current_settings().pauses)
    if resumes_at:
        earliest = rules.earliest_resumption(aggregate.today)
        if resumes_at <= aggregate.now:
            raise Invalid(errors={"resumes_at": ["Must be in the future."]})
        if civil_day(resumes_at, aggregate.subscription.time_zone) < earliest:
            raise Invalid(errors={"resumes_at": [f"Must be {earliest} or later: a pause has a minimum length."]})
    allowed_from = rules.next_pause_from(aggregate.timeline.pauses)
    if allowed_from and allowed_from > aggregate.today:
        raise PauseLimitReached(allowed_from=allowed_from.isoformat())


def resume_subscription(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Resume a paused subscription: the end of the paid period moves by the frozen days.

    A pause that was too short freezes none. If nothing paid is left, the next period is charged, and the pause ends
    once it is paid for. Raises WrongState, PaymentFailed.
    """
    require_no_billing_hold(aggregate)
    paused_on = aggregate.timeline.paused_on
    if not paused_on or aggregate.timeline.ended_on:
        raise WrongState
    freezes = pause_rules_of(current_settings().pauses).freezes(paused_on, aggregate.today)
    aggregate.record_event(fact.Resumed, freezes, actor=actor)
    bill_change(aggregate, "renewal")


def require_changeable(aggregate: SubscriptionAggregate) -> None:
    """Require that the subscription can be changed now.

    Raises PaymentOverdue past the dunning grace period, and WrongState if it is on billing hold, gives no access, or
    has a draft under review.
    """
    require_no_billing_hold(aggregate)
    if aggregate.dunning_schedule.stage(aggregate.subscription.past_due_since, aggregate.today) in BLOCKING_STAGES:
        overdue = list_overdue_invoices(aggregate.subscription)
        raise PaymentOverdue(invoices=[debts.overdue_invoice_view(invoice) for invoice in overdue])
    if aggregate.subscription.status not in ACCESS_STATUSES:
        raise WrongState
    if review.list_drafts(aggregate, include_held=True):
        raise WrongState(detail="An invoice of this subscription is under review; try again when the review is done.")


def require_no_billing_hold(aggregate: SubscriptionAggregate) -> None:
    """Raise WrongState while the subscription is on billing hold."""
    if aggregate.subscription.billing_held_at:
        raise WrongState(
            detail="This subscription is on billing hold while its billing is checked; nothing is charged until then."
        )
