"""What the service promises, and the phases or commands that would show it broken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """`phases` show it, by these of their checks (all, if none is named) and planted faults; or a `command` does."""

    name: str
    phases: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    plants: tuple[str, ...] = ()
    command: str = ""
    plant: str = ""
    """About the planted fault, where no phase plants one."""
    reason: str = ""
    """Why no phase shows it."""

    def concerns(self, plant: str) -> bool:
        return not self.plants or plant in self.plants


PROMISES: tuple[Promise, ...] = (Promise("No acknowledged write is lost", ("kills",)),)
