"""What happens when an invoice is not paid: when to try again, when access ends, when it is over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

HARD_DECLINES = frozenset(
    (
        "stolen_card",
        "lost_card",
        "pickup_card",
        "fraudulent",
        "invalid_account",
        "incorrect_number",
        "payment_method_required",
        "authentication_required",
        "revocation_of_authorization",
    )
)
"""Trying again without the payer cannot work and costs standing with the banks."""


@dataclass(frozen=True)
class DunningSchedule:
    """Days since the earliest unpaid invoice first failed."""

    retry_days: tuple[int, ...] = (1, 3, 5, 7, 10, 14)
    warn_day: int = 0
    """From here on the plan cannot be changed."""
    suspend_day: int = 7
    """From here on there is no access."""
    cancel_day: int = 21
    retry_days_by_decline_code: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By decline code, where that calls for days of its own; none: only the payer can help."""

    def next_retry_on(self, first_failed: date, today: date, decline_code: str | None) -> date | None:
        """The next day to charge again by ourselves; None where only the payer can help."""
        after = dict.fromkeys(HARD_DECLINES, ()) | self.retry_days_by_decline_code
        days = (first_failed + timedelta(days=n) for n in after.get(decline_code, self.retry_days))
        return next((day for day in days if day > today), None)

    def stage(self, first_failed: date | None, today: date) -> str:
        """clear, grace, warned, suspended or over: a function of the age of the earliest unpaid invoice alone."""
        if first_failed is None:
            return "clear"
        age = (today - first_failed).days
        if age >= self.cancel_day:
            return "over"
        if age >= self.suspend_day:
            return "suspended"
        return "warned" if age >= self.warn_day else "grace"

    def suspends_on(self, first_failed: date) -> date:
        return first_failed + timedelta(days=self.suspend_day)

    def cancels_on(self, first_failed: date) -> date:
        return first_failed + timedelta(days=self.cancel_day)

    @classmethod
    def parse(cls, text: str) -> "DunningSchedule":
        """From the words of the setting: `retry=1,3 retry.expired_card=never warn=0 suspend=7 cancel=21`."""
        days = dict(part.split("=") for part in text.split())
        after = {
            name.removeprefix("retry."): _parse_days(told) for name, told in days.items() if name.startswith("retry.")
        }
        return cls(_parse_days(days["retry"]), int(days["warn"]), int(days["suspend"]), int(days["cancel"]), after)


def _parse_days(text: str) -> tuple[int, ...]:
    return () if text == "never" else tuple(sorted(map(int, text.split(","))))
