"""The report: one Markdown file with every promise, what was measured, and whether planted faults were found."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench import report as machine
from bench.torture.core import Check, Phase
from bench.torture.promises import PROMISES, Promise


@dataclass
class PhaseResult:
    """What one phase found on one database."""

    phase: Phase
    database: str
    checks: list[Check] = field(default_factory=list)
    plants: dict[str, bool] = field(default_factory=dict)
    """Planted fault -> whether it was found."""
    plant_figures: dict[str, str] = field(default_factory=dict)
    skipped: str = ""
    """Why it did not run."""
    is_late: bool = False
    """Whether there was no time left for it."""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.is_late or any(not check.passed for check in self.checks) or not all(self.plants.values())

    def headline(self) -> str:
        """One line: what failed, or how many checks passed."""
        broken = [f"{check.name} ({check.figure})" for check in self.checks if not check.passed]
        broken += [f"planted {plant} not found" for plant, found in self.plants.items() if not found]
        passed = f"passed {len(self.checks)} checks, found {len(self.plants)} planted faults in {self.seconds:.0f} s"
        return f"FAILED {'; '.join(broken)}" if broken else passed


@dataclass
class Report:
    """The results so far."""

    seed: int
    databases: tuple[str, ...]
    results: list[PhaseResult] = field(default_factory=list)
    interrupted: bool = False
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def failed(self) -> bool:
        return self.interrupted or any(result.failed for result in self.results)

    def summary(self) -> str:
        """One line about all results."""
        failed = [f"{result.phase.name} on {result.database}" for result in self.results if result.failed]
        plants = [found for result in self.results for found in result.plants.values()]
        minutes = (datetime.now(UTC) - self.started).total_seconds() / 60
        words = "interrupted: " if self.interrupted else ""
        words += f"FAILED: {', '.join(failed)}" if failed else "every check passed"
        return f"{words}; {sum(plants)} of {len(plants)} planted faults found; {minutes:.1f} minutes, seed {self.seed}"

    def format(self) -> str:
        """The whole report as Markdown."""
        lines = ["# Torture", "", f"{self.started:%F %R} UTC. {self.summary()}.", ""]
        lines += [*machine.describe_machine().splitlines(), ""]
        lines += ["## Promises", "", "| promise | shown by | figure | planted fault found |", "|---|---|---|---|"]
        lines += [self._promise_row(promise) for promise in PROMISES]
        for result in self.results:
            lines += ["", *self._result_lines(result)]
        return "\n".join(lines) + "\n"

    def _promise_row(self, promise: Promise) -> str:
        results = [result for result in self.results if result.phase.name in promise.phases]
        if not results:
            command = promise.command or ", ".join(f"`{name}`" for name in promise.phases)
            figure = promise.reason or "not run"
            return f"| {promise.name} | {command} | {_cell(figure)} | {promise.plant or '–'} |"
        figures = [_figure(result, promise) for result in results]
        found = [found for result in results for name, found in result.plants.items() if promise.concerns(name)]
        plants = f"{'yes' if all(found) else 'NO'}, {sum(found)} of {len(found)}" if found else promise.plant or "–"
        shown_by = ", ".join(f"`{name}`" for name in promise.phases)
        return f"| {promise.name} | {shown_by} | {_cell('<br>'.join(figures))} | {plants} |"

    @staticmethod
    def _result_lines(result: PhaseResult) -> list[str]:
        if result.skipped:
            return [f"## {result.phase.name} on {result.database}", "", f"Skipped: {result.skipped}."]
        lines = [f"## {result.phase.name} on {result.database}", "", f"{result.phase.summary}; {result.seconds:.0f} s."]
        lines += ["", "| check | | figure |", "|---|---|---|"]
        lines += [f"| {c.name} | {'ok' if c.passed else '**FAILED**'} | {_cell(c.figure)} |" for c in result.checks]
        for plant, found in result.plants.items():
            figure = _cell(result.plant_figures.get(plant, ""))
            lines.append(f"| planted: `{plant}` | {'found' if found else '**NOT FOUND**'} | {figure} |")
        return lines


def _figure(result: PhaseResult, promise: Promise) -> str:
    if result.skipped:
        return f"{result.database}: skipped, {result.skipped}"
    checks = [check for check in result.checks if promise.covers(check.name)]
    shown = [check for check in checks if not check.passed] or checks[-1:]
    words = "; ".join(f"{check.name}: {check.figure}" for check in shown) or "did not run"
    return f"{result.database}: {'**FAILED** ' if any(not c.passed for c in shown) else ''}{words}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
