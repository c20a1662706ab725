"""What an invoice would be: the step is taken for real, looked at, and taken back, so that the two cannot differ."""

from dataclasses import replace
from datetime import date, datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.billing.core import issuing
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.issuing import ComputedInvoice, describe_line
from streamsvc.operations.billing.subscriptions import addons, changes, subscribe
from streamsvc.operations.billing.subscriptions import renewal as due
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.rules.billing.calendar import moment_of, starts_at
from streamsvc.rules.billing.lines import replay
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock_row


def build_invoice_preview(account_id: str, body: dict, now: datetime) -> dict:
    """The invoice that would come of it first, and the renewal after. Leaves nothing behind."""
    try:
        at, last = _apply_requested_step(account_id, body, now)
        db.session.flush()
        issued = [invoice_view(one) for one in _list_invoices_after(account_id, last)]
        upcoming = next_renewal_view(at)
        first = issued[0] if issued else upcoming or cancellation_credit_view(at) or empty_invoice_view(at)
        following = upcoming if issued else next_renewal_view(at, after=upcoming) if upcoming else None
        return {**first, "number": None, "next_renewal": following and renewal_summary_view(following)}
    finally:
        db.session.rollback()


def _apply_requested_step(account_id: str, body: dict, now: datetime) -> tuple[SubscriptionAggregate, str]:
    """Take the step that the body describes; with the id of the last invoice before it."""
    if body.get("subscription_id") is None:
        if body.get("price_id") is None:
            raise Invalid(errors={"price_id": ["Say which price, or which subscription."]})
        last = _last_invoice_id(account_id)
        return subscribe.start_subscription(
            lock_row(Account, account_id), body, now, account_id, payment_method_required=False
        ), last
    found = Subscription.of(account_id, body["subscription_id"])
    if found is None:
        raise NotFound
    at = load_locked(found.id, now)
    due.catch_up_billing(at)
    last = _last_invoice_id(account_id)
    if body.get("add_addon"):
        addons.add_addon(at, body["add_addon"], account_id)
    elif body.get("remove_addon"):
        addons.remove_addon(at, body["remove_addon"], body.get("when") or "now", account_id)
    elif body.get("price_id"):
        changes.change_plan(at, body, account_id)
    elif body.get("day"):
        changes.set_anchor_day(at, body["day"], account_id)
    elif any(body.get(name) for name in ("when", "effective_date", "credit", "reason", "feedback")):
        changes.cancel_subscription(at, body, account_id)
    elif body.get("resumes_at"):
        changes.pause_subscription(at, moment_of(body["resumes_at"], at.subscription.time_zone), account_id)
    return at, last


def _last_invoice_id(account_id: str) -> str:
    newest = db.select(Invoice.id).where(Invoice.account_id == account_id).order_by(Invoice.id.desc()).limit(1)
    return db.session.scalar(newest) or ""


def _list_invoices_after(account_id: str, last_invoice_id: str) -> list[Invoice]:
    since = (
        db.select(Invoice).where(Invoice.account_id == account_id, Invoice.id > last_invoice_id).order_by(Invoice.id)
    )
    return list(db.session.scalars(since))


def next_renewal_view(aggregate: SubscriptionAggregate, after: dict | None = None) -> dict | None:
    """The next invoice that time alone brings; None where nothing comes. `beyond`: the one after that.

    For that one, the first is written, to be taken back like all the rest: it uses up coupons and credit.
    """
    facts, timeline = aggregate.facts, aggregate.timeline
    if after:
        day = timeline.next_bill_on
        first = _new_lines_on(aggregate, timeline, day)
        issuing.create_invoice(aggregate.compute_invoice(first), "renewal", aggregate.now, day, requires_payment=True)
        db.session.flush()
        timeline = replay(facts, day)
    day = timeline.next_bill_on
    due = day and _new_lines_on(aggregate, timeline, day)
    return computed_invoice_view(aggregate.compute_invoice(due), day) if due else None


def cancellation_credit_view(aggregate: SubscriptionAggregate) -> dict | None:
    """What is given back on the day on which the subscription is to end; None where nothing is."""
    day = aggregate.timeline.ends_on
    if day is None or day <= aggregate.today:
        return None
    then = starts_at(day, aggregate.subscription.time_zone)
    last = replace(aggregate, now=then, today=day, timeline=replay(aggregate.facts, day))
    due.apply_expirations(last)
    issued = last.create_due_invoices("cancellation")
    db.session.flush()
    return invoice_view(issued[0]) if issued else None


def _new_lines_on(aggregate: SubscriptionAggregate, timeline: Timeline, day: date) -> list[Line]:
    """The lines that come on that day, and are neither booked nor in the timeline yet."""
    known = set(aggregate.facts.booked) | {line.identity for line in timeline.lines}
    return [line for line in replay(aggregate.facts, day).lines if line.identity not in known]


def computed_invoice_view(computed: ComputedInvoice, due_date) -> dict:
    """A draft in the shape of an invoice."""
    totals = computed.totals
    lines = [
        {
            "kind": line.kind,
            "description": describe_line(line),
            "price_id": line.price_id,
            "period": line.period,
            "quantity": 1,
            "amount_minor": line.amount_minor,
            "discount_minor": position.discount_minor,
            "tax_minor": position.tax_minor,
            "days": line.days,
            "full_days": line.full_days,
            "cause": line.cause,
        }
        for line, position in zip(computed.lines, totals.positions, strict=True)
    ]
    for _, description, off in computed.reductions:
        said = {"kind": "discount", "description": description, "quantity": 1}
        lines.append({**said, "amount_minor": -off, "discount_minor": 0, "tax_minor": 0})
    names = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor", "credit_applied_minor", "amount_due_minor")
    return {
        "status": "draft",
        "currency": computed.currency,
        "lines": lines,
        "due_date": due_date,
        "tax_name": computed.taxation.name,
        "reverse_charge": computed.taxation.vat_id is not None,
        "customer_vat_id": computed.taxation.vat_id,
        "amount_paid_minor": 0,
        "balance_minor": totals.amount_due_minor,
        **{name: getattr(totals, name) for name in names},
    }


def empty_invoice_view(aggregate: SubscriptionAggregate) -> dict:
    return computed_invoice_view(aggregate.compute_invoice(()), aggregate.today)


def renewal_summary_view(invoice: dict) -> dict:
    return {"date": invoice["due_date"], **{name: invoice[name] for name in ("total_minor", "amount_due_minor")}}
