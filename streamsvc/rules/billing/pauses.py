"""Pauses: how long they must last, how many a year has, and how far apart they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Pause:
    """A pause that began on the day `start`, ended on the day `end`, and froze `frozen_days` paid days."""

    start: date
    end: date
    frozen_days: int


@dataclass(frozen=True)
class PauseRules:
    """The limits of pauses, in days."""

    min_days: int = 3
    """A shorter pause freezes nothing."""
    per_year: int = 3
    """How many pauses may begin within 365 days."""
    cool_down_days: int = 30
    """The days between the end of a pause and the next one."""

    def freezes(self, paused_on: date, resumed_on: date) -> bool:
        """Return whether a pause between these days is long enough to freeze paid days."""
        return resumed_on >= self.earliest_resumption(paused_on)

    def earliest_resumption(self, paused_on: date) -> date:
        """Return the first day on which a pause that began on `paused_on` can end and freeze paid days."""
        return paused_on + timedelta(days=self.min_days)

    def next_pause_from(self, pauses: Sequence[Pause]) -> date | None:
        """Return the first day on which another pause may begin; None if there was none yet.

        `pauses`: the earlier ones, oldest first. Those that froze nothing do not count.
        """
        counted = [pause for pause in pauses if pause.frozen_days]
        days = [pause.end + timedelta(days=self.cool_down_days) for pause in counted[-1:]]
        days += [pause.start + YEAR for pause in counted[-self.per_year :][:1] if len(counted) >= self.per_year]
        return max(days, default=None)

    @classmethod
    def parse(cls, text: str) -> "PauseRules":
        """Parse the setting, for example `min=3 per_year=3 cool_down=30`."""
        parts = dict(part.split("=") for part in text.split())
        return cls(int(parts["min"]), int(parts["per_year"]), int(parts["cool_down"]))
