"""Mutation testing: whether the tests of an area notice small, random changes to its code.

    make mutate AREA=billing                     thirty mutants of the billing code
    python -m bench.mutate rules --count 100 --seed 7
    python -m bench.mutate playback --at streamsvc/operations/playback/streams.py:80
    python -m bench.mutate playback --module '*/next_up.py' --count 999 --budget 20
    DATABASES=both make mutate AREA=playback     on PostgreSQL too; much slower

The area's tests run once under coverage, which records the tests that execute each line. Each mutant is then applied to
a copy of the source tree, and the tests that execute its line run until one fails, those that execute most of its
module per second first. On SQLite, if it changes a function, they run in a fork of a process that has imported
everything, with the function's code replaced. A mutant that no test notices is printed with its diff: write a test, or,
if no test could tell the mutant from the original, add it with a reason to `bench/equivalent_mutants.txt`. A mutant
whose tests run too long counts as noticed. Fails if less than 95 % are noticed. The same seed chooses the same mutants
while the source is unchanged.
"""

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

import pytest

from bench.mutants import Mutant, find_mutants
from bench.mutation_tests import AREAS, DATABASES, PYTEST, ROOT, TESTS_BUDGET_S, Area, Recording, TestRuns, TestServer
from streamsvc.cli.progress import progress_bar

EQUIVALENT_MUTANTS = ROOT / "bench/equivalent_mutants.txt"
REQUIRED_PERCENT = 95
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
NOT_EXECUTED, EQUIVALENT = "not executed", "equivalent"


@dataclass(frozen=True)
class Result:
    mutant: Mutant
    outcome: str
    note: str = ""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.mutate", description=__doc__.partition("\n")[0])
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--count", type=int, default=30, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", default="**", metavar="GLOB", help="mutants of these modules of the area only")
    parser.add_argument("--at", action="append", metavar="FILE:LINE", help="all mutants of a line instead")
    parser.add_argument("--budget", type=int, default=TESTS_BUDGET_S, metavar="SECONDS", help="of tests per mutant")
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants are tested at once")
    parser.add_argument("--databases", choices=DATABASES, default=os.environ.get("DATABASES", "sqlite"))
    parser.add_argument("--recordings", type=Path, help="folder that keeps the recorded test runs for the next run")
    parser.add_argument("--lock", type=Path, help="file to lock while tests run, on a machine shared with others")
    return parser.parse_args(arguments)


def choose_mutants(area: Area, options) -> list[Mutant]:
    """Choose mutants by the seed, of each kind in turn, or all mutants of the given lines."""
    paths = sorted(str(path.relative_to(ROOT)) for pattern in area.code for path in ROOT.glob(pattern))
    paths = [path for path in paths if fnmatch(path, options.module)]
    mutants = [mutant for path in paths for mutant in find_mutants(ROOT, path)]
    if options.at:
        return [mutant for mutant in mutants if f"{mutant.path}:{mutant.line}" in options.at]
    choice = random.Random(options.seed)
    by_kind = defaultdict(list)
    for mutant in choice.sample(mutants, len(mutants)):
        by_kind[mutant.kind].append(mutant)
    turns = itertools.zip_longest(*(by_kind[kind] for kind in sorted(by_kind)))
    return [mutant for turn in turns for mutant in turn if mutant][: options.count]


def load_equivalent_mutants() -> set[tuple[str, ...]]:
    """Return the (path, changed lines …) of each mutant that no test can tell from the original."""
    lines = [line.strip() for line in EQUIVALENT_MUTANTS.read_text().splitlines() if not line.startswith("#")]
    blocks = [list(block) for is_block, block in itertools.groupby(lines, key=bool) if is_block]
    return {(path, *(line for line in rest if line.startswith(("- ", "+ ")))) for path, *rest in blocks}


def is_equivalent(mutant: Mutant, equivalent: set[tuple[str, ...]]) -> bool:
    """Whether the mutant is in the list of those that no test can tell from the original."""
    return (mutant.path, *mutant.changed_lines((ROOT / mutant.path).read_bytes())) in equivalent


def record_tests(area: Area, runs: TestRuns, recordings: Path, jobs: int) -> None:
    """Record the tests of the area, several folders at once."""
    tree = runs.copy_tree("recorded")
    with ThreadPoolExecutor(jobs) as pool, progress_bar(len(area.tests), "Recording tests") as bar:
        for future in as_completed([pool.submit(runs.record, tests, recordings, tree) for tests in area.tests]):
            future.result()
            bar.update(1)


@dataclass(frozen=True)
class Tree:
    """A copy of the source tree in which one mutant at a time is tested."""

    path: Path
    runs: TestRuns
    server: TestServer | None

    def run_tests(self, tests: list[str], module: Path, original: Path | None, timeout_s: float):
        """Run tests until one fails, in the server's process if the module was `original` when that started.

        Returns the status, or None if it ran longer than the limit, and the output.
        """
        if self.server and original and (result := self.server.run(module, original, tests, timeout_s)):
            return result
        chosen = self.path / "chosen_tests.txt"
        chosen.write_text("\0".join(tests))
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        command = (*PYTEST, "-p", "bench.choosing_plugin", *files)
        return self.runs.run(self.path, *command, timeout_s=timeout_s, CHOSEN_TESTS=str(chosen))


def run_mutant(mutant: Mutant, recording: Recording, trees: SimpleQueue) -> Result:
    """Apply the mutant to one of the trees, run its tests, and restore the tree."""
    tests = recording.tests_of(mutant)
    if not tests:
        return Result(mutant, NOT_EXECUTED, "by any test of the area")
    tree = trees.get()
    module, original = tree.path / mutant.path, tree.path / "original.py"
    source = module.read_bytes()
    original.write_bytes(source)
    limit_s = 60 + 3 * sum(recording.durations_s[test] for test in tests)
    try:
        write_module(module, mutant.mutated_source(source))
        imported = None if recording.runs_at_import(mutant) else original
        status, output = tree.run_tests(tests, module, imported, limit_s)
    finally:
        write_module(module, source)
        trees.put(tree)
    if status is None:
        return Result(mutant, TIMED_OUT, f"a test ran too long, or all of them longer than {limit_s:.0f} s")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("The recorded tests do not exist any more; record again.")
    if status == 0:
        return Result(mutant, SURVIVED, f"{len(tests)} tests passed")
    failed = [line for line in output.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    return Result(mutant, KILLED, failed[0] if failed else output.strip().rpartition("\n")[2])


_write_times_s = itertools.count(int(time.time()) + 10)


def write_module(module: Path, source: bytes) -> None:
    """Write a module with a modification time of its own: Python recompiles it only if the time in seconds differs."""
    module.write_bytes(source)
    at_s = next(_write_times_s)
    os.utime(module, (at_s, at_s))


def batched(mutants: list[Mutant], size: int) -> list[list[Mutant]]:
    """Split into lists of this size."""
    return [mutants[start : start + size] for start in range(0, len(mutants), size)]


@contextmanager
def open_trees(area: Area, runs: TestRuns, jobs: int) -> Iterator[SimpleQueue]:
    """Copy the source tree for each job, with a server if the tests need no PostgreSQL."""
    trees = SimpleQueue()
    with ExitStack() as stack:
        for n in range(jobs):
            path = runs.copy_tree(f"tree{n}")
            if n == 0:
                runs.fill_database(path)
            server = None
            if runs.databases == "sqlite":
                server = stack.enter_context(
                    closing(TestServer(path, runs.environment | {"PYTHONPATH": str(path)}, area.tests))
                )
            trees.put(Tree(path, runs, server))
        yield trees


def run_mutants(mutants, recording, runs, trees, jobs) -> list[Result]:
    """Test the mutants, several at once; return the results in the order of the mutants."""
    equivalent = load_equivalent_mutants()
    results, tested = {}, []
    for mutant in mutants:
        if is_equivalent(mutant, equivalent):
            results[mutant] = Result(mutant, EQUIVALENT)
        else:
            tested.append(mutant)
    turns = batched(tested, jobs) if runs.lock else [tested]
    with ThreadPoolExecutor(jobs) as pool, progress_bar(len(tested), "Testing mutants") as bar:
        for turn in turns:
            with runs.turn():
                for future in as_completed([pool.submit(run_mutant, mutant, recording, trees) for mutant in turn]):
                    results[future.result().mutant] = future.result()
                    bar.update(1)
                    if bar.hidden:
                        print(format_result(future.result()), flush=True)
    return [results[mutant] for mutant in mutants]


def format_result(result: Result) -> str:
    """Format a result as one line, and a mutant that survived with its diff."""
    mutant = result.mutant
    line = f"{result.outcome:12} {mutant.path}:{mutant.line} {mutant.kind}: {result.note}"
    if result.outcome not in (SURVIVED, NOT_EXECUTED):
        return line
    return "\n    ".join([line, *mutant.changed_lines((ROOT / mutant.path).read_bytes())])


def report(area: str, results: list[Result], databases: str) -> int:
    """Print the survivors and the score; return the exit status.

    A line that no test executes counts as a survivor, except on SQLite alone, where it may be PostgreSQL's.
    """
    counts = Counter(result.outcome for result in results)
    noticed = counts[KILLED] + counts[TIMED_OUT]
    tested = noticed + counts[SURVIVED] + (counts[NOT_EXECUTED] if databases == "both" else 0)
    percent = 100 * noticed / tested if tested else 100
    unnoticed = [format_result(result) for result in results if result.outcome in (SURVIVED, NOT_EXECUTED)]
    outcomes = (KILLED, TIMED_OUT, SURVIVED, NOT_EXECUTED, EQUIVALENT)
    figures = ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes)
    print("\n".join(["", *unnoticed, f"{area}: {len(results)} mutants: {figures}; {percent:.0f} % noticed"]))
    return 0 if percent >= REQUIRED_PERCENT else 1


def main() -> int:
    options = parse_arguments()
    area = AREAS[options.area]
    mutants = choose_mutants(area, options)
    with tempfile.TemporaryDirectory(prefix="streamsvc-mutants-") as name:
        folder = Path(name)
        recordings = options.recordings or folder
        recordings.mkdir(parents=True, exist_ok=True)
        runs = TestRuns(folder, options.databases, options.lock)
        print(f"Recording which tests execute which line: {', '.join(area.tests)}", flush=True)
        record_tests(area, runs, recordings.absolute(), options.jobs)
        recording = Recording(area, recordings, options.budget)
        with open_trees(area, runs, options.jobs) as trees:
            results = run_mutants(mutants, recording, runs, trees, options.jobs)
        return report(options.area, results, options.databases)


if __name__ == "__main__":
    sys.exit(main())
