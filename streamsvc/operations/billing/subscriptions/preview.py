"""What an invoice would be: the step is taken for real, looked at, and taken back, so that the two cannot differ."""

from dataclasses import replace
from datetime import date, datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.billing.core import issuing
from streamsvc.operations.billing.core.aggregate import Standing, stand
from streamsvc.operations.billing.core.issuing import Draft, describe
from streamsvc.operations.billing.subscriptions import addons, changes, subscribe
from streamsvc.operations.billing.subscriptions import renewal as due
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.rules.billing.calendar import moment_of, starts_at
from streamsvc.rules.billing.lines import replay
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock


def preview(account_id: str, asked: dict, now: datetime) -> dict:
    """The invoice that would come of it first, and the renewal after. Leaves nothing behind."""
    try:
        at, last = _take(account_id, asked, now)
        db.session.flush()
        issued = [invoice_view(one) for one in _issued_since(account_id, last)]
        upcoming = renewal(at)
        first = issued[0] if issued else upcoming or ending(at) or empty(at)
        following = upcoming if issued else renewal(at, beyond=upcoming) if upcoming else None
        return {**first, "number": None, "next_renewal": following and brief(following)}
    finally:
        db.session.rollback()


def _take(account_id: str, asked: dict, now: datetime) -> tuple[Standing, str]:
    """Take the step that the body describes; with the id of the last invoice before it."""
    if asked.get("subscription_id") is None:
        if asked.get("price_id") is None:
            raise Invalid(errors={"price_id": ["Say which price, or which subscription."]})
        last = _last_invoice(account_id)
        return subscribe.start(lock(Account, account_id), asked, now, account_id, card_needed=False), last
    found = Subscription.of(account_id, asked["subscription_id"])
    if found is None:
        raise NotFound
    at = stand(found.id, now)
    due.catch_up(at)
    last = _last_invoice(account_id)
    if asked.get("add_addon"):
        addons.add(at, asked["add_addon"], account_id)
    elif asked.get("remove_addon"):
        addons.remove(at, asked["remove_addon"], asked.get("when") or "now", account_id)
    elif asked.get("price_id"):
        changes.change_plan(at, asked, account_id)
    elif asked.get("day"):
        changes.move_anchor(at, asked["day"], account_id)
    elif any(asked.get(name) for name in ("when", "effective_date", "credit", "reason", "feedback")):
        changes.cancel(at, asked, account_id)
    elif asked.get("resumes_at"):
        changes.pause(at, moment_of(asked["resumes_at"], at.subscription.time_zone), account_id)
    return at, last


def _last_invoice(account_id: str) -> str:
    newest = db.select(Invoice.id).where(Invoice.account_id == account_id).order_by(Invoice.id.desc()).limit(1)
    return db.session.scalar(newest) or ""


def _issued_since(account_id: str, last: str) -> list[Invoice]:
    since = db.select(Invoice).where(Invoice.account_id == account_id, Invoice.id > last).order_by(Invoice.id)
    return list(db.session.scalars(since))


def renewal(at: Standing, beyond: dict | None = None) -> dict | None:
    """The next invoice that time alone brings; None where nothing comes. `beyond`: the one after that.

    For that one, the first is written, to be taken back like all the rest: it uses up coupons and credit.
    """
    facts, timeline = at.facts, at.timeline
    if beyond:
        day = timeline.next_bill_on
        first = _due(at, timeline, day)
        issuing.issue(at.draft(first), "renewal", at.now, day, gated=True)
        db.session.flush()
        timeline = replay(facts, day)
    day = timeline.next_bill_on
    due = day and _due(at, timeline, day)
    return draft_view(at.draft(due), day) if due else None


def ending(at: Standing) -> dict | None:
    """What is given back on the day on which the subscription is to end; None where nothing is."""
    day = at.timeline.ends_on
    if day is None or day <= at.today:
        return None
    then = starts_at(day, at.subscription.time_zone)
    last = replace(at, now=then, today=day, timeline=replay(at.facts, day))
    due.pass_time(last)
    issued = last.bill("cancellation")
    db.session.flush()
    return invoice_view(issued[0]) if issued else None


def _due(at: Standing, timeline: Timeline, day: date) -> list[Line]:
    """The lines that come on that day, and are neither booked nor in the timeline yet."""
    known = set(at.facts.booked) | {line.identity for line in timeline.lines}
    return [line for line in replay(at.facts, day).lines if line.identity not in known]


def draft_view(draft: Draft, day) -> dict:
    """A draft in the shape of an invoice."""
    totals = draft.totals
    lines = [
        {
            "kind": line.kind,
            "description": describe(line),
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
        for line, position in zip(draft.lines, totals.positions, strict=True)
    ]
    for _, description, off in draft.reductions:
        said = {"kind": "discount", "description": description, "quantity": 1}
        lines.append({**said, "amount_minor": -off, "discount_minor": 0, "tax_minor": 0})
    names = ("subtotal_minor", "discount_minor", "tax_minor", "total_minor", "credit_applied_minor", "amount_due_minor")
    return {
        "status": "draft",
        "currency": draft.currency,
        "lines": lines,
        "due_date": day,
        "tax_name": draft.taxation.name,
        "reverse_charge": draft.taxation.vat_id is not None,
        "customer_vat_id": draft.taxation.vat_id,
        "amount_paid_minor": 0,
        "balance_minor": totals.amount_due_minor,
        **{name: getattr(totals, name) for name in names},
    }


def empty(at: Standing) -> dict:
    return draft_view(at.draft(()), at.today)


def brief(invoice: dict) -> dict:
    return {"date": invoice["due_date"], **{name: invoice[name] for name in ("total_minor", "amount_due_minor")}}
