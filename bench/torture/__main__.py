"""python -m bench.torture: see the docstring of the package."""

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.servers import ROOT
from bench.torture.core import Check, Context, Phase
from bench.torture.phases import PHASES
from bench.torture.report import PhaseResult, Report

REPORT = ROOT / "bench" / "torture.md"
DATABASES = ("sqlite", "postgresql")
MIN_PHASE_S = 5.0
PLANT_OVERHEAD_S = 25.0
"""How long it takes to start a service with a planted fault and to check it."""
PLANT_ATTEMPTS = 2
"""How often a planted fault is looked for: whether a kill meets one that acts now and then is a matter of chance."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.torture", description="Break things; check what was promised.")
    parser.add_argument("--database", default="both", choices=(*DATABASES, "both"))
    parser.add_argument("--minutes", type=float, default=60, help="for everything; shared between the phases")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="repeats the random choices of a run")
    parser.add_argument("--only", nargs="+", choices=[phase.name for phase in PHASES], metavar="PHASE", default=[])
    parser.add_argument("--no-plants", action="store_true", help="do not look for planted faults")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--list", action="store_true", help="list the phases and end")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    phases = [phase for phase in PHASES if not options.only or phase.name in options.only]
    if options.list:
        for phase in phases:
            print(f"{phase.name:12} {phase.summary}; plants: {', '.join(phase.plants) or 'see the report'}")
        return
    databases = DATABASES if options.database == "both" else (options.database,)
    report = Report(options.seed, databases)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_phases(phases, databases, options, report)
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        options.report.write_text(report.format())
        print(f"\n{report.summary()}\n{options.report}")
    sys.exit(report.failed)


def run_phases(phases: list[Phase], databases: tuple[str, ...], options: argparse.Namespace, report: Report) -> None:
    """Run each phase on each database; what one phase leaves of its time, the later ones get."""
    deadline = time.monotonic() + 60 * options.minutes
    planned = [(phase, database) for phase in phases for database in databases if database in phase.databases]
    for index, (phase, database) in enumerate(planned):
        fixed_s = sum(overhead_s(later, on, databases, options) for later, on in planned[index:])
        left_s = deadline - time.monotonic() - fixed_s
        weights = sum(later.weight for later, _ in planned[index:])
        seconds = max(MIN_PHASE_S, left_s * phase.weight / weights)
        result = PhaseResult(phase, database)
        report.results.append(result)
        if reason := phase.missing():
            result.skipped = reason
        elif time.monotonic() > deadline:
            result.skipped, result.is_late = f"{options.minutes:g} minutes were over", True
        else:
            plants = {} if options.no_plants else phase.plants_on(database, databases)
            run_phase(result, Context(database, options.seed, seconds, Path("/")), plants)


def overhead_s(phase: Phase, database: str, databases: tuple[str, ...], options: argparse.Namespace) -> float:
    plants = 0 if options.no_plants else len(phase.plants_on(database, databases))
    return phase.fixed_s + plants * (phase.plant_s + PLANT_OVERHEAD_S)


def run_phase(result: PhaseResult, context: Context, plants: dict[str, str]) -> None:
    """Run the phase as it is, and then with each planted fault."""
    started = time.monotonic()
    result.checks = run_once(result.phase, context)
    for plant, check in plants.items():
        for _ in range(PLANT_ATTEMPTS):
            checks = run_once(result.phase, context.planted(plant, result.phase.plant_s, context.folder))
            result.plants[plant] = any(c.name == check and not c.passed for c in checks)
            result.plant_figures[plant] = next((c.figure for c in checks if c.name == check), describe(checks))
            if result.plants[plant]:
                break
    result.seconds = time.monotonic() - started
    show_progress(result.phase, context, result.headline())
    print()


def run_once(phase: Phase, context: Context) -> list[Check]:
    """Run the phase in a folder of its own. An error of its own is a failed check, so that the others still run."""
    with tempfile.TemporaryDirectory(prefix="streamsvc-torture-") as folder:
        context.folder = Path(folder)
        context.show = lambda text: show_progress(phase, context, text)
        context.show(f"starting; {context.seconds:.0f} s")
        try:
            return phase.run(context)
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", []))
            text = f"{type(error).__name__}: {error}"
            figure = text if len(text) <= 800 else f"{text[:200]} … {text[-600:]}"  # a traceback's end says what it is
            return [Check("the phase ran", False, f"{figure}; in the log: {notes}")]


def describe(checks: list[Check]) -> str:
    return "; ".join(f"{check.name}: {check.figure}" for check in checks if not check.passed) or "nothing failed"


def show_progress(phase: Phase, context: Context, text: str) -> None:
    """Overwrite the progress line; without a terminal, print only the last line of each phase."""
    line = f"{phase.name} on {context.database}{f', planted {context.plant}' if context.plant else ''}: {text}"
    if sys.stdout.isatty():
        print(f"\r\033[K{line[:160]}", end="", flush=True)
    elif text.startswith(("starting", "passed", "FAILED")):
        print(line, flush=True)


if __name__ == "__main__":
    main()
