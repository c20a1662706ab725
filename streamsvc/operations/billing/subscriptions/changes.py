"""What viewers do to a running subscription: each step is an event, the lines it causes, and the payment of those.

Every function here works under the account's lock and commits nothing; `carry_out` commits, charges, and tells.
A preview runs the same step and takes it back.
"""

from collections.abc import Callable
from datetime import datetime

from streamsvc.http import idempotency
from streamsvc.models.subscriptions import Price, Subscription
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.core.aggregate import Standing, stand
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.billing.subscriptions import renewal
from streamsvc.operations.billing.subscriptions.subscribe import give_up, tell
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import GIVES_ACCESS
from streamsvc.rules.billing.changes import first_day_without, is_upgrade
from streamsvc.rules.refusals.billing import PaymentFailed, PaymentOverdue, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db

Step = Callable[[Standing], None]


def carry_out(subscription_id: str, step: Step, now: datetime) -> Subscription:
    """Take the step, charge what it costs, and answer how the subscription stands then. Commits.

    Raises PaymentFailed and AuthenticationRequired; a step that was declined did not happen.
    """
    begun = idempotency.begun()
    if begun is None:
        at = stand(subscription_id, now)
        late = {invoice.id for invoice in renewal.catch_up(at)}
        step(at)
        payments = [] if at.timeline.ended_on else charging.charge_open(at, on_session=True)
        at.show()
        begun = {"payments": [[payment.id, payment.invoice_id not in late] for payment in payments]}
        idempotency.begin(**begun)
        db.session.commit()
    settled = [(charging.resume(payment_id), of_step) for payment_id, of_step in begun["payments"]]
    for payment in [payment for payment, of_step in settled if of_step]:
        tell(payment)
    return db.session.get(Subscription, subscription_id, populate_existing=True)


def change_plan(at: Standing, asked: dict, actor: str) -> None:
    """To another price: now, at the period's end, or (auto) up now and down at the end."""
    running(at)
    price = Price.on_sale(asked["price_id"], at.account.country)
    check_price(at, price, asked.get("anchor_day"))
    trial = at.timeline.paid_through is None
    when = asked.get("when") or "auto"
    if when == "auto":
        when = "now" if trial or is_upgrade(at.timeline.price, price.terms) else "period_end"
    if when == "period_end":
        at.happen(fact.PriceScheduled, price.terms, at.today, actor=actor)
        if asked.get("anchor_day"):
            at.happen(fact.AnchorMoved, asked["anchor_day"], actor=actor)
        return
    same_interval = price.terms.interval == at.timeline.price.interval
    at.happen(fact.PriceChanged, price.terms, at.today, asked.get("anchor_day"), actor=actor)
    if asked.get("anchor_day") and same_interval and not trial:
        at.happen(fact.AnchorMoved, asked["anchor_day"], actor=actor)
    bill_gated(at)


def bill_gated(at: Standing) -> None:
    """Invoice a change; what is to be paid for it decides whether it happens."""
    invoices = at.bill("change", gated=True)
    owing = [invoice for invoice in invoices if invoice.status == "open"]
    if owing and charging.method_for(owing[0]) is None:
        raise PaymentFailed(decline_code=charging.NO_METHOD)


def check_price(at: Standing, price: Price | None, anchor_day: int | None) -> None:
    if price is None or price.currency != at.subscription.currency:
        raise Invalid(errors={"price_id": ["There is no such price on sale here, in this currency."]})
    if price.id == at.timeline.price.id:
        raise Invalid(errors={"price_id": ["This is the price the subscription has."]})
    addons = at.timeline.prices.keys() - {fact.BASE}
    if price.plan.code in addons or (addons and price.terms.interval != at.timeline.price.interval):
        raise Invalid(errors={"price_id": [f"Remove the add-ons first: {', '.join(sorted(addons))}."]})
    if anchor_day and not price.terms.interval.months:
        raise Invalid(errors={"anchor_day": ["Only prices by the month or year have an anchor day."]})


def drop_change(at: Standing, actor: str) -> None:
    """Take back what was planned for the period's end."""
    if at.timeline.ended_on:
        raise WrongState
    if any(one.only_from is None for one in at.timeline.scheduled):
        at.happen(fact.PriceScheduled, None, at.today, actor=actor)


def move_anchor(at: Standing, day: int, actor: str) -> None:
    """Bill on another day of the month; what is paid stays paid."""
    running(at)
    if not at.timeline.price.interval.months:
        raise Invalid(errors={"day": ["Only prices by the month or year have an anchor day."]})
    if day != at.timeline.anchor_day:
        at.happen(fact.AnchorMoved, day, actor=actor)
        bill_gated(at)


def cancel(at: Standing, asked: dict, actor: str, backdate: bool = False) -> None:
    """At the period's end, now, or on a date. `backdate`: an operator may credit days that have passed."""
    if at.timeline.ended_on or at.subscription.status == "canceled":
        raise WrongState
    row = at.subscription
    row.cancel_reason, row.cancel_feedback = asked.get("reason"), asked.get("feedback")
    if row.status == "incomplete":
        give_up(at)
        return
    credit = (asked.get("credit") or "prorated") == "prorated"
    if (asked.get("when") or "period_end") == "period_end":
        at.happen(fact.EndScheduled, None, False, actor=actor)
        if at.timeline.ends_on is None or at.timeline.ends_on > at.today:
            return
        asked = {"effective_date": at.today}  # that end came during a pause: the days left are frozen, and credited
    tomorrow = first_day_without(at.today)
    effective = asked.get("effective_date") or (at.today if at.timeline.paused_on else tomorrow)
    if effective > tomorrow:
        at.happen(fact.EndScheduled, effective, credit, actor=actor)
        return
    review.finalize_all(at, held=True)
    renewal.end(at, effective if backdate else max(effective, at.today), credit, actor=actor)
    at.bill("cancellation")
    charging.write_off(at)


def keep(at: Standing, actor: str) -> None:
    """Take a pending cancellation back."""
    if at.timeline.ended_on or at.subscription.status == "canceled":
        raise WrongState(detail="The subscription is over; subscribe anew.")
    if at.timeline.end_scheduled:
        at.happen(fact.EndDropped, actor=actor)
        at.subscription.cancel_reason = at.subscription.cancel_feedback = None


def pause(at: Standing, resumes_at: datetime | None, actor: str) -> None:
    """Stop the clock of paid days, until `resumes_at` or until asked."""
    running(at)
    if resumes_at and resumes_at <= at.now:
        raise Invalid(errors={"resumes_at": ["Give a time to come."]})
    at.happen(fact.Paused, actor=actor)
    at.subscription.paused_at, at.subscription.resumes_at = at.now, resumes_at


def resume(at: Standing, actor: str) -> None:
    """Go on where the pause began: the end of what is paid moves by the days of the pause."""
    not_parked(at)
    if not at.timeline.paused_on or at.timeline.ended_on:
        raise WrongState
    at.happen(fact.Resumed, actor=actor)
    at.subscription.paused_at = at.subscription.resumes_at = None
    at.bill("renewal")


def running(at: Standing) -> None:
    """Refuse what only a subscription in good standing can do."""
    not_parked(at)
    if at.ladder.step(at.subscription.past_due_since, at.today) not in ("clear", "grace"):
        raise PaymentOverdue
    if at.subscription.status not in GIVES_ACCESS:
        raise WrongState
    if review.drafts(at, held=True):
        raise WrongState(detail="An invoice of this subscription is being looked at; try again once that is done.")


def not_parked(at: Standing) -> None:
    """Refuse what would be billed while nobody knows what is right."""
    if at.subscription.parked_at:
        raise WrongState(detail="The billing of this subscription is being looked into; nothing is charged until then.")
