"""Invoice previews: the real step runs and is rolled back, so that a preview cannot differ from the result."""

from dataclasses import replace
from datetime import date, datetime

from streamsvc.gateways.payments import minimum_charge_minor
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, StoreSubscription, Subscription
from streamsvc.operations.billing.core import invoice_creation
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.computing import ComputedInvoice
from streamsvc.operations.billing.core.invoice_creation import describe_line
from streamsvc.operations.billing.core.sources import raise_if_managed_by_store
from streamsvc.operations.billing.subscriptions import addons, changes, renewal, subscribe
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.rules.billing.calendar import resolve_moment, start_of_day
from streamsvc.rules.billing.inputs import (
    AddonChangeInput,
    AddonInput,
    CancellationInput,
    PlanChangeInput,
    PreviewInput,
    SubscriptionInput,
)
from streamsvc.rules.billing.lines import lines_due, replay_timeline
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock_existing_row


def build_invoice_preview(account_id: str, body: PreviewInput, now: datetime) -> dict:
    """Return the first invoice that the requested step would cause, with a summary of the renewal after it.

    Everything is rolled back. Raises whatever the step raises.
    """
    try:
        aggregate, last_invoice_id = _apply_requested_step(account_id, body, now)
        db.session.flush()
        issued_views = [invoice_view(invoice) for invoice in _list_invoices_after(account_id, last_invoice_id)]
        renewal_view = next_renewal_view(aggregate)
        first = (
            issued_views[0]
            if issued_views
            else renewal_view or cancellation_credit_view(aggregate) or empty_invoice_view(aggregate)
        )
        following_view = (
            renewal_view if issued_views else next_renewal_view(aggregate, after=renewal_view) if renewal_view else None
        )
        return {**first, "number": None, "next_renewal": following_view and renewal_summary_view(following_view)}
    finally:
        db.session.rollback()


def _apply_requested_step(account_id: str, body: PreviewInput, now: datetime) -> tuple[SubscriptionAggregate, str]:
    """Apply the step that the body describes.

    Returns the aggregate and the id of the account's last invoice before the step. Raises Invalid, NotFound.
    """
    if body["subscription_id"] is None:
        if body["price_id"] is None:
            raise Invalid(errors={"price_id": ["Required unless subscription_id is given."]})
        last_invoice_id, requested = _last_invoice_id(account_id), _requested_subscription(body, body["price_id"])
        return subscribe.start_subscription(
            lock_existing_row(Account, account_id), requested, now, account_id, payment_method_required=False
        ), last_invoice_id
    subscription = Subscription.find_owned(account_id, body["subscription_id"])
    if subscription is None:
        raise_if_managed_by_store(StoreSubscription.find_owned(account_id, body["subscription_id"]))
        raise NotFound
    aggregate = load_locked(subscription.id, now)
    renewal.catch_up_billing(aggregate)
    last_invoice_id = _last_invoice_id(account_id)
    if body["add_addon"]:
        added: AddonInput = {
            "price_id": body["add_addon"],
            "quantity": body["quantity"] or 1,
            "ends_at": body["ends_at"],
        }
        addons.add_addon(aggregate, added, account_id)
    elif body["change_addon"]:
        addons.change_addon(aggregate, body["change_addon"], _requested_addon_change(body), account_id)
    elif body["remove_addon"]:
        addons.remove_addon(aggregate, body["remove_addon"], body["when"] or "now", account_id)
    elif body["restore_addon"]:
        addons.restore_addon(aggregate, body["restore_addon"], account_id)
    elif body["price_id"]:
        requested_change: PlanChangeInput = {
            "price_id": body["price_id"],
            "when": body["when"] or "auto",
            "anchor_day": body["anchor_day"],
        }
        changes.change_plan(aggregate, requested_change, account_id)
    elif body["day"]:
        changes.set_anchor(aggregate, body["day"], body["month"], account_id)
    elif any((body["when"], body["effective_date"], body["credit"], body["reason"], body["feedback"])):
        changes.cancel_subscription(aggregate, _requested_cancellation(body), account_id)
    elif body["resumes_at"]:
        changes.pause_subscription(
            aggregate, resolve_moment(body["resumes_at"], aggregate.subscription.time_zone), account_id
        )
    return aggregate, last_invoice_id


def _requested_subscription(body: PreviewInput, price_id: str) -> SubscriptionInput:
    return {
        "price_id": price_id,
        "payment_method_id": body["payment_method_id"],
        "coupon": body["coupon"],
        "coupons": body["coupons"],
        "gift_code": body["gift_code"],
        "referral_code": body["referral_code"],
        "device_fingerprint": body["device_fingerprint"],
        "anchor_day": body["anchor_day"],
        "anchor_month": body["anchor_month"],
        "start_date": body["start_date"],
        "addons": body["addons"],
        "addon_items": body["addon_items"],
    }


def _requested_addon_change(body: PreviewInput) -> AddonChangeInput:
    """Return the requested quantity and end of an add-on; without an end, a preview keeps the present one."""
    change: AddonChangeInput = {}
    if body["quantity"]:
        change["quantity"] = body["quantity"]
    if body["ends_at"]:
        change["ends_at"] = body["ends_at"]
    return change


def _requested_cancellation(body: PreviewInput) -> CancellationInput:
    return {
        "when": "period_end" if body["when"] in (None, "period_end") else "now",
        "effective_date": body["effective_date"],
        "credit": body["credit"],
        "reason": body["reason"],
        "feedback": body["feedback"],
    }


def _last_invoice_id(account_id: str) -> str:
    statement = db.select(Invoice.id).where(Invoice.account_id == account_id).order_by(Invoice.id.desc()).limit(1)
    return db.session.scalar(statement) or ""


def _list_invoices_after(account_id: str, last_invoice_id: str) -> list[Invoice]:
    statement = (
        db.select(Invoice).where(Invoice.account_id == account_id, Invoice.id > last_invoice_id).order_by(Invoice.id)
    )
    return list(db.session.scalars(statement))


def next_renewal_view(aggregate: SubscriptionAggregate, after: dict | None = None) -> dict | None:
    """Return the next renewal invoice, or None if there is none. With `after`, return the one after that invoice.

    In that case the first one is stored, to be rolled back with everything else, since it uses coupons and credit.
    """
    facts, timeline = aggregate.facts, aggregate.timeline
    if after and (day := timeline.next_due_on):
        first_lines = _new_lines_on(aggregate, timeline, day)
        invoice_creation.create_invoice(
            aggregate.compute_invoice(first_lines), "renewal", aggregate.now, day, requires_payment=True
        )
        db.session.flush()
        timeline = replay_timeline(facts, day)
    day = timeline.next_due_on
    due_lines = day and _new_lines_on(aggregate, timeline, day)
    return computed_invoice_view(aggregate.compute_invoice(due_lines), day) if due_lines else None


def cancellation_credit_view(aggregate: SubscriptionAggregate) -> dict | None:
    """Return the invoice that credits unused days when the subscription ends as scheduled; None if there is none."""
    day = aggregate.timeline.ends_on
    if day is None or day <= aggregate.today:
        return None
    ends_at = start_of_day(day, aggregate.subscription.time_zone)
    aggregate_at_end = replace(aggregate, now=ends_at, today=day, timeline=replay_timeline(aggregate.facts, day))
    renewal.apply_expirations(aggregate_at_end)
    invoices = aggregate_at_end.create_due_invoices("cancellation")
    db.session.flush()
    return invoice_view(invoices[0]) if invoices else None


def _new_lines_on(aggregate: SubscriptionAggregate, timeline: Timeline, day: date) -> list[Line]:
    """Return the lines due on `day` that are neither booked nor in the timeline."""
    known_identities = {line.identity for line in timeline.lines}
    return [
        line
        for line in lines_due(aggregate.facts, day)
        if line.bill_on == day and line.identity not in known_identities
    ]


def computed_invoice_view(computed: ComputedInvoice, due_date: date | None) -> dict:
    """Return a computed invoice in the shape of InvoiceOut, with the status `draft`."""
    totals = computed.totals
    lines = [
        {
            "kind": line.kind,
            "description": describe_line(line, computed.account.locale),
            "price_id": line.price_id,
            "period": line.period,
            "quantity": line.quantity,
            "amount_minor": line.amount_minor,
            "discount_minor": position.discount_minor,
            "tax_minor": position.tax_minor,
            "tax_category": position.tax.category,
            "days": line.days,
            "full_days": line.full_days,
            "cause": line.cause,
        }
        for line, position in zip(computed.lines, totals.positions, strict=True)
    ]
    for _, description, amount_minor, _ in computed.reductions:
        common = {"kind": "discount", "description": description, "quantity": 1}
        lines.append({**common, "amount_minor": -amount_minor, "discount_minor": 0, "tax_minor": 0})
    names = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor", "credit_applied_minor", "amount_due_minor")
    return {
        "status": "draft",
        "currency": computed.currency,
        "lines": lines,
        "due_date": due_date,
        "tax_name": computed.taxation.name,
        "taxes": computed.tax_breakdown,
        "reverse_charge": computed.taxation.vat_id is not None,
        "customer_vat_id": computed.taxation.vat_id,
        "amount_paid_minor": 0,
        "balance_minor": totals.amount_due_minor,
        "carried_over": 0 < totals.amount_due_minor < minimum_charge_minor(computed.currency),
        **{name: getattr(totals, name) for name in names},
    }


def empty_invoice_view(aggregate: SubscriptionAggregate) -> dict:
    """Return the view of an invoice without lines, due today."""
    return computed_invoice_view(aggregate.compute_invoice(()), aggregate.today)


def renewal_summary_view(invoice: dict) -> dict:
    """Return the date and the amounts of a renewal invoice."""
    return {"date": invoice["due_date"], **{name: invoice[name] for name in ("total_minor", "amount_due_minor")}}
