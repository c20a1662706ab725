"""Debts: the status of an invoice for its balance, and the next step of what an account owes.

All overdue invoices of an account are one dunning case, whether they belong to its subscription, to an ended one, or to
a one-off charge. The case follows the schedule from the day on which the earliest of them first failed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from streamsvc.rules.billing.dunning import DunningSchedule

BLOCKING_STAGES = ("warned", "suspended", "over")
"""Stages in which an account with debts cannot start or change a subscription."""


def status_for_balance(status: str, balance_minor: int) -> str:
    """Return the status of an invoice whose balance has changed, by any cause.

    Nothing owed on an open invoice: it is paid. Something owed again on a paid one: it is open. A draft, a void and an
    uncollectible invoice keep their status; what is owed again on the last two is written off.
    """
    if status == "open" and balance_minor <= 0:
        return "paid"
    return "open" if status == "paid" and balance_minor > 0 else status


@dataclass(frozen=True)
class Debt:
    """An open invoice that was issued and has no payment in flight."""

    first_failed_on: date | None
    next_attempt_on: date | None
    is_attempted: bool
    """Whether its collection was attempted; otherwise it is due for collection at once."""
    waits_for_other: bool = False
    """Whether it is written off only after the subscription that it paid for has ended with another account."""

    def is_due(self, today: date) -> bool:
        """Whether its collection is to be attempted by today."""
        return not self.is_attempted or (self.next_attempt_on is not None and self.next_attempt_on <= today)


def overdue_since(debts: Iterable[Debt]) -> date | None:
    """Return the day on which the earliest of these debts first failed; None if none has."""
    return min((debt.first_failed_on for debt in debts if debt.first_failed_on), default=None)


def next_step_on(debts: Sequence[Debt], schedule: DunningSchedule, today: date) -> date | None:
    """Return the day of the next attempt to collect one of the debts, or of their write-off; None without debts."""
    days = [debt.next_attempt_on for debt in debts if debt.is_attempted]
    days += [today for debt in debts if not debt.is_attempted]
    if since := overdue_since(debt for debt in debts if not debt.waits_for_other):
        days.append(schedule.cancels_on(since))
    return min((day for day in days if day), default=None)
