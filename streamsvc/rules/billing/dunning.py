"""Dunning: when to retry a failed payment, suspend access and cancel the subscription."""

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
"""Decline codes for which a retry without the payer cannot succeed and harms the merchant's rating with the banks."""


@dataclass(frozen=True)
class DunningSchedule:
    """The dunning schedule, in days since the first failed attempt of the earliest unpaid invoice."""

    retry_days: tuple[int, ...] = (1, 3, 5, 7, 10, 14)
    warn_day: int = 0
    """From this day on the plan cannot be changed."""
    suspend_day: int = 7
    """From this day on there is no access."""
    cancel_day: int = 21
    retry_days_by_decline_code: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Retry days for particular decline codes; an empty tuple means no automatic retry, only the payer can act."""

    def next_retry_on(self, first_failed: date, today: date, decline_code: str | None) -> date | None:
        """Return the day of the next automatic retry; None if no retry is left or only the payer can act."""
        code = decline_code or ""
        retry_days = self.retry_days_by_decline_code.get(code, () if code in HARD_DECLINES else self.retry_days)
        days = (first_failed + timedelta(days=n) for n in retry_days)
        return next((day for day in days if day > today), None)

    def stage(self, first_failed: date | None, today: date) -> str:
        """Return the stage: clear, grace, warned, suspended or over.

        It depends only on the age of the earliest unpaid invoice.
        """
        if first_failed is None:
            return "clear"
        age = (today - first_failed).days
        if age >= self.cancel_day:
            return "over"
        if age >= self.suspend_day:
            return "suspended"
        return "warned" if age >= self.warn_day else "grace"

    def suspends_on(self, first_failed: date) -> date:
        """Return the first day without access."""
        return first_failed + timedelta(days=self.suspend_day)

    def cancels_on(self, first_failed: date) -> date:
        """Return the day on which the subscription is canceled."""
        return first_failed + timedelta(days=self.cancel_day)

    @classmethod
    def parse(cls, text: str) -> "DunningSchedule":
        """Parse the setting, for example `retry=1,3 retry.expired_card=never warn=0 suspend=7 cancel=21`."""
        parts = dict(part.split("=") for part in text.split())
        by_decline_code = {
            name.removeprefix("retry."): _parse_days(days) for name, days in parts.items() if name.startswith("retry.")
        }
        retry_days, warn_day = _parse_days(parts["retry"]), int(parts["warn"])
        return cls(retry_days, warn_day, int(parts["suspend"]), int(parts["cancel"]), by_decline_code)


def _parse_days(text: str) -> tuple[int, ...]:
    return () if text == "never" else tuple(sorted(map(int, text.split(","))))
