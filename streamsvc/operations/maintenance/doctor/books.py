"""Checks of what must always hold: money, the audit log, and who has access."""

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Account, Session
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.models.subscriptions import Invoice, Payment, Refund
from streamsvc.operations.billing.books import checks, rule_checks
from streamsvc.operations.maintenance.doctor.findings import ERROR, OK, Finding, count_finding, count_rows, doctor_check
from streamsvc.operations.outbox.audit import find_first_break

RECENT_AUDIT_EVENTS = 1_000
SUPPORT_ADVICE = "Run `streamsvc billing audit`, which places billing holds, and correct the cause."


@doctor_check("ledger")
def check_ledger() -> Finding:
    """Check that every journal sums to zero."""
    names = [difference.subject for difference in checks.check_journals()]
    return count_finding(names, "every journal sums to zero", "that do not sum to zero", SUPPORT_ADVICE)


@doctor_check("invoices")
def check_invoices() -> Finding:
    """Check that each open invoice has a next step."""
    names = [difference.subject for difference in rule_checks.check_next_steps(clock.now())]
    healthy, what = "every open invoice has a next step", "open without a next step"
    return count_finding(names, healthy, what, "Retry or write off each: `streamsvc billing run`, then the audit.")


@doctor_check("double charges")
def check_double_charges() -> Finding:
    """Check that no invoice was paid in full twice: each period of a subscription has one invoiced line."""
    is_returned = sa.exists().where(Refund.payment_id == Payment.id, Refund.status != "failed")
    paid_in_full = sa.and_(Payment.status == "succeeded", Payment.amount_minor >= Invoice.total_minor, ~is_returned)
    twice = sa.select(Invoice.id).join(Payment, Payment.invoice_id == Invoice.id).where(paid_in_full)
    twice = twice.where(Invoice.total_minor > 0).group_by(Invoice.id).having(sa.func.count() > 1)
    return count_finding(count_rows(twice), "no invoice was paid twice", "paid twice", "Refund the second payment.")


@doctor_check("audit log")
def check_audit_log() -> Finding:
    """Check the newest part of the audit log's chain."""
    return _audit_finding(find_first_break(RECENT_AUDIT_EVENTS), f"the newest {RECENT_AUDIT_EVENTS:,} events")


@doctor_check("whole audit log", full_only=True)
def check_whole_audit_log() -> Finding:
    """Check the audit log's chain from its first event."""
    return _audit_finding(find_first_break(), "all events")


def _audit_finding(first_break: int | None, what: str) -> Finding:
    if first_break is None:
        return Finding(OK, f"the chain is intact ({what})")
    return Finding(ERROR, f"event {first_break} was changed or removed", "Compare the log with a backup.")


@doctor_check("sessions")
def check_sessions() -> Finding:
    """Check that no disabled or deleted account has a live session."""
    live = sa.select(Session.id).join(Account, Account.id == Session.account_id)
    live = live.where(Account.status.in_(("disabled", "deleted")), *Session.live_conditions(clock.now()))
    live = live.where(Session.service_epoch >= CURRENT_SERVICE_EPOCH)
    healthy, what = "no disabled account has a live session", "live in disabled accounts"
    advice = "End them: `streamsvc sessions end-all`, or disable the accounts again."
    return count_finding(count_rows(live), healthy, what, advice)


@doctor_check("books", full_only=True)
def check_all_books() -> Finding:
    """Run the whole billing audit, without placing holds."""
    now = clock.now()
    differences = [*checks.check_books(), *checks.check_numbers(), *rule_checks.check_rules(now)]
    differences += [difference for _, found in checks.check_subscriptions(now) for difference in found]
    names = [f"{difference.check} ({difference.subject})" for difference in differences]
    return count_finding(names, "the billing audit finds no difference", "found", SUPPORT_ADVICE)
