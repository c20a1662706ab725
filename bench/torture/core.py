"""What a phase is, what it is given, and what it returns."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what was measured, and whether it is as promised."""

    name: str
    passed: bool
    figure: str


@dataclass
class Context:
    """What a phase is given. `seconds`: how long it should break things, starting and checking not included."""

    database: str
    seed: int
    seconds: float
    folder: Path
    plant: str = ""
    """The fault in the service that the phase must find."""
    show: Callable[[str], None] = print
    """Shows what is being done, for the progress line."""
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed} {self.database} {self.plant}")

    def planted(self, plant: str, seconds: float, folder: Path) -> "Context":
        """The same with a planted fault, and less time."""
        return replace(self, plant=plant, seconds=seconds, folder=folder)


@dataclass(frozen=True)
class Phase:
    """A kind of fault. `run` breaks something and returns its checks."""

    name: str
    summary: str
    run: Callable[[Context], list[Check]]
    plants: dict[str, str]
    """Planted fault -> the check that must fail because of it."""
    weight: float = 1.0
    """Its share of the time, compared with other phases."""
    plant_s: float = 10.0
    """How long it runs to find a planted fault."""
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    plant_databases: dict[str, str] = field(default_factory=dict)
    """Planted faults that only one kind of database can have."""
    missing: Callable[[], str] = lambda: ""
    """Why the phase cannot run on this machine, if it cannot."""

    fixed_s: float = 45.0
    """How long it takes to start and to check, besides `seconds`."""

    def plants_on(self, database: str, databases: tuple[str, ...]) -> dict[str, str]:
        """The planted faults to look for on this database: each on the first of the run that can have it."""
        first = next(name for name in databases if name in self.databases)
        return {p: check for p, check in self.plants.items() if self.plant_databases.get(p, first) == database}


class Deadline:
    """A time at which to stop."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def has_passed(self) -> bool:
        return time.monotonic() >= self.end

    @property
    def left_s(self) -> float:
        return max(0.0, self.end - time.monotonic())


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
