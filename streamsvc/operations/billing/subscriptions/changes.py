"""What viewers do to a running subscription: each step is an event, the lines it causes, and the payment of those.

Every function here works under the account's lock and commits nothing; `carry_out` commits, charges, and tells.
A preview runs the same step and takes it back.
"""

from collections.abc import Callable
from datetime import datetime

from streamsvc.http import idempotency
from streamsvc.models.subscriptions import Price, Subscription
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.billing.subscriptions import renewal
from streamsvc.operations.billing.subscriptions.subscribe import cancel_abandoned_start, raise_if_not_paid
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import GIVES_ACCESS
from streamsvc.rules.billing.changes import first_day_without, is_upgrade
from streamsvc.rules.refusals.billing import PaymentFailed, PaymentOverdue, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db

ChangeStep = Callable[[SubscriptionAggregate], None]


def apply_change(subscription_id: str, step: ChangeStep, now: datetime) -> Subscription:
    """Take the step, charge what it costs, and answer how the subscription stands then. Commits.

    Raises PaymentFailed and AuthenticationRequired; a step that was declined did not happen.
    """
    begun = idempotency.load_checkpoint()
    if begun is None:
        at = load_locked(subscription_id, now)
        late = {invoice.id for invoice in renewal.catch_up_billing(at)}
        step(at)
        payments = [] if at.timeline.ended_on else charging.create_due_payments(at, on_session=True)
        at.save_projection()
        begun = {"payments": [[payment.id, payment.invoice_id not in late] for payment in payments]}
        idempotency.save_checkpoint(**begun)
        db.session.commit()
    settled = [(charging.resume_payment(payment_id), of_step) for payment_id, of_step in begun["payments"]]
    for payment in [payment for payment, of_step in settled if of_step]:
        raise_if_not_paid(payment)
    return db.session.get(Subscription, subscription_id, populate_existing=True)


def change_plan(aggregate: SubscriptionAggregate, body: dict, actor: str) -> None:
    """To another price: now, at the period's end, or (auto) up now and down at the end."""
    require_changeable(aggregate)
    price = Price.on_sale(body["price_id"], aggregate.account.country)
    check_new_price(aggregate, price, body.get("anchor_day"))
    trial = aggregate.timeline.paid_through is None
    when = body.get("when") or "auto"
    if when == "auto":
        when = "now" if trial or is_upgrade(aggregate.timeline.price, price.terms) else "period_end"
    if when == "period_end":
        aggregate.record_event(fact.PriceScheduled, price.terms, aggregate.today, actor=actor)
        if body.get("anchor_day"):
            aggregate.record_event(fact.AnchorMoved, body["anchor_day"], actor=actor)
        return
    same_interval = price.terms.interval == aggregate.timeline.price.interval
    aggregate.record_event(fact.PriceChanged, price.terms, aggregate.today, body.get("anchor_day"), actor=actor)
    if body.get("anchor_day") and same_interval and not trial:
        aggregate.record_event(fact.AnchorMoved, body["anchor_day"], actor=actor)
    bill_change(aggregate)


def bill_change(aggregate: SubscriptionAggregate) -> None:
    """Invoice a change; what is to be paid for it decides whether it happens."""
    invoices = aggregate.create_due_invoices("change", requires_payment=True)
    owing = [invoice for invoice in invoices if invoice.status == "open"]
    if owing and charging.select_invoice_method(owing[0]) is None:
        raise PaymentFailed(decline_code=charging.PAYMENT_METHOD_REQUIRED)


def check_new_price(aggregate: SubscriptionAggregate, price: Price | None, anchor_day: int | None) -> None:
    if price is None or price.currency != aggregate.subscription.currency:
        raise Invalid(errors={"price_id": ["There is no such price on sale here, in this currency."]})
    if price.id == aggregate.timeline.price.id:
        raise Invalid(errors={"price_id": ["This is the price the subscription has."]})
    addons = aggregate.timeline.prices.keys() - {fact.BASE}
    if price.plan.code in addons or (addons and price.terms.interval != aggregate.timeline.price.interval):
        raise Invalid(errors={"price_id": [f"Remove the add-ons first: {', '.join(sorted(addons))}."]})
    if anchor_day and not price.terms.interval.months:
        raise Invalid(errors={"anchor_day": ["Only prices by the month or year have an anchor day."]})


def cancel_scheduled_change(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Take back what was planned for the period's end."""
    if aggregate.timeline.ended_on:
        raise WrongState
    if any(one.only_from is None for one in aggregate.timeline.scheduled):
        aggregate.record_event(fact.PriceScheduled, None, aggregate.today, actor=actor)


def set_anchor_day(aggregate: SubscriptionAggregate, day: int, actor: str) -> None:
    """Bill on another day of the month; what is paid stays paid."""
    require_changeable(aggregate)
    if not aggregate.timeline.price.interval.months:
        raise Invalid(errors={"day": ["Only prices by the month or year have an anchor day."]})
    if day != aggregate.timeline.anchor_day:
        aggregate.record_event(fact.AnchorMoved, day, actor=actor)
        bill_change(aggregate)


def cancel_subscription(aggregate: SubscriptionAggregate, body: dict, actor: str, backdate: bool = False) -> None:
    """At the period's end, now, or on a date. `backdate`: an operator may credit days that have passed."""
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState
    row = aggregate.subscription
    row.cancel_reason, row.cancel_feedback = body.get("reason"), body.get("feedback")
    if row.status == "incomplete":
        cancel_abandoned_start(aggregate)
        return
    credit = (body.get("credit") or "prorated") == "prorated"
    if (body.get("when") or "period_end") == "period_end":
        aggregate.record_event(fact.EndScheduled, None, False, actor=actor)
        if aggregate.timeline.ends_on is None or aggregate.timeline.ends_on > aggregate.today:
            return
        body = {
            "effective_date": aggregate.today
        }  # that end came during a pause: the days left are frozen, and credited
    tomorrow = first_day_without(aggregate.today)
    effective = body.get("effective_date") or (aggregate.today if aggregate.timeline.paused_on else tomorrow)
    if effective > tomorrow:
        aggregate.record_event(fact.EndScheduled, effective, credit, actor=actor)
        return
    review.finalize_drafts(aggregate, include_held=True)
    renewal.end_subscription(aggregate, effective if backdate else max(effective, aggregate.today), credit, actor=actor)
    aggregate.create_due_invoices("cancellation")
    charging.write_off_ended_subscription(aggregate)


def undo_cancellation(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Take a pending cancellation back."""
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState(detail="The subscription is over; subscribe anew.")
    if aggregate.timeline.end_scheduled:
        aggregate.record_event(fact.EndDropped, actor=actor)
        aggregate.subscription.cancel_reason = aggregate.subscription.cancel_feedback = None


def pause_subscription(aggregate: SubscriptionAggregate, resumes_at: datetime | None, actor: str) -> None:
    """Stop the clock of paid days, until `resumes_at` or until asked."""
    require_changeable(aggregate)
    if resumes_at and resumes_at <= aggregate.now:
        raise Invalid(errors={"resumes_at": ["Give a time to come."]})
    aggregate.record_event(fact.Paused, actor=actor)
    aggregate.subscription.paused_at, aggregate.subscription.resumes_at = aggregate.now, resumes_at


def resume_subscription(aggregate: SubscriptionAggregate, actor: str) -> None:
    """Go on where the pause began: the end of what is paid moves by the days of the pause."""
    require_no_billing_hold(aggregate)
    if not aggregate.timeline.paused_on or aggregate.timeline.ended_on:
        raise WrongState
    aggregate.record_event(fact.Resumed, actor=actor)
    aggregate.subscription.paused_at = aggregate.subscription.resumes_at = None
    aggregate.create_due_invoices("renewal")


def require_changeable(aggregate: SubscriptionAggregate) -> None:
    """Refuse what only a subscription in good standing can do."""
    require_no_billing_hold(aggregate)
    if aggregate.dunning_schedule.step(aggregate.subscription.past_due_since, aggregate.today) not in (
        "clear",
        "grace",
    ):
        raise PaymentOverdue
    if aggregate.subscription.status not in GIVES_ACCESS:
        raise WrongState
    if review.list_drafts(aggregate, include_held=True):
        raise WrongState(detail="An invoice of this subscription is being looked at; try again once that is done.")


def require_no_billing_hold(aggregate: SubscriptionAggregate) -> None:
    """Refuse what would be billed while nobody knows what is right."""
    if aggregate.subscription.parked_at:
        raise WrongState(detail="The billing of this subscription is being looked into; nothing is charged until then.")
