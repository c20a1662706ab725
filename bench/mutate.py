"""Mutation testing: whether the tests of an area notice small, random changes to its code.

    make mutate AREA=billing                     thirty mutants of the billing code
    python -m bench.mutate rules --count 100 --seed 7
    python -m bench.mutate playback --at streamsvc/operations/playback/streams.py:80
    DATABASES=both make mutate AREA=playback     on PostgreSQL too; much slower

The area's tests run once under coverage, which records the tests that execute each line. Each mutant is then applied to
a copy of the source tree, and the tests that execute its line run until one fails, those that execute most of its
module first. A mutant that no test notices is printed with its diff: write a test, or, if no test could tell the mutant
from the original, add it with a reason to `bench/equivalent_mutants.txt`. A mutant whose tests run too long counts as
noticed. Fails if less than 95 % are noticed. The same seed chooses the same mutants while the source is unchanged.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from bench.mutants import Mutant, find_mutants
from streamsvc.cli.progress import progress_bar
from tests.worlds.databases import exclusive_lock

ROOT = Path(__file__).parent.parent
EQUIVALENT_MUTANTS = ROOT / "bench/equivalent_mutants.txt"
REQUIRED_PERCENT = 95
TESTS_BUDGET_S = 120
"""Of the tests that execute a mutated line, as many run as normally take this long."""
IMPORT = ""
"""What coverage names as the test of lines that run before all tests."""
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "instance", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
NOT_EXECUTED, EQUIVALENT = "not executed", "equivalent"
RECORDING_PLUGIN = """
import coverage
import pytest

durations_s = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    coverage.Coverage.current().switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report):
    durations_s[report.nodeid] = durations_s.get(report.nodeid, 0) + report.duration


def pytest_unconfigure(config):
    import json, os, pathlib
    pathlib.Path(os.environ["TEST_DURATIONS"]).write_text(json.dumps(durations_s))
"""


@dataclass(frozen=True)
class Area:
    """The code of an area, as glob patterns, and the folders and files of its tests."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "rules": Area(
        ("streamsvc/rules/**/*.py",),
        ("tests/rules", "tests/subscriptions", "tests/playback", "tests/catalog", "tests/sessions", "tests/operators"),
    ),
    "billing": Area(
        (
            "streamsvc/operations/billing/**/*.py",
            "streamsvc/models/subscriptions/*.py",
            "streamsvc/blueprints/subscriptions/*.py",
            "streamsvc/blueprints/admin/billing_*.py",
        ),
        ("tests/subscriptions", "tests/rules", "tests/service/test_idempotency.py"),
    ),
    "playback": Area(
        (
            "streamsvc/operations/playback/*.py",
            "streamsvc/models/playback.py",
            "streamsvc/models/progress.py",
            "streamsvc/blueprints/playback/*.py",
            "streamsvc/blueprints/admin/playback.py",
            "streamsvc/security/playback_tokens.py",
        ),
        (
            "tests/playback",
            "tests/rules",
            "tests/catalog/test_catalog_browse.py",
            "tests/catalog/test_catalog_access.py",
        ),
    ),
    "security": Area(
        (
            "streamsvc/security/*.py",
            "streamsvc/operations/credentials/*.py",
            "streamsvc/operations/sign_in/*.py",
            "streamsvc/operations/operators/*.py",
            "streamsvc/operations/accounts/*.py",
            "streamsvc/blueprints/sessions/*.py",
            "streamsvc/http/idempotency.py",
        ),
        ("tests/sessions", "tests/operators", "tests/service/test_idempotency.py"),
    ),
    "catalog": Area(
        (
            "streamsvc/operations/catalog/**/*.py",
            "streamsvc/models/catalog/*.py",
            "streamsvc/blueprints/catalog/*.py",
            "streamsvc/blueprints/admin/catalog_*.py",
        ),
        ("tests/catalog", "tests/rules", "tests/playback/test_progress.py"),
    ),
}


@dataclass(frozen=True)
class Result:
    mutant: Mutant
    outcome: str
    note: str = ""


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench.mutate", description=__doc__.partition("\n")[0])
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--count", type=int, default=30, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", action="append", metavar="FILE:LINE", help="all mutants of a line instead")
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants are tested at once")
    parser.add_argument("--databases", choices=("sqlite", "both"), default=os.environ.get("DATABASES", "sqlite"))
    parser.add_argument("--recordings", type=Path, help="folder that keeps the recorded test runs for the next run")
    parser.add_argument("--lock", type=Path, help="file to lock while tests run, on a machine shared with others")
    return parser.parse_args()


class TestRuns:
    """Runs tests in copies of the source tree."""

    __test__ = False  # pytest collects no class of this name

    def __init__(self, folder: Path, options):
        self.folder, self.lock = folder, options.lock
        databases = "sqlite,postgresql" if options.databases == "both" else "sqlite"
        self.environment = os.environ | {"STREAMSVC_TEST_DATABASES": databases}

    def run(self, tree: Path, *arguments: str, timeout_s=None, **environment: str) -> tuple[int | None, str]:
        """Run Python in the tree; return its status, or None if it ran longer than the limit, and its output."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tree,
            env=self.environment | {"PYTHONPATH": str(tree)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]

    def turn(self):
        """Hold the lock during the block, if there is one."""
        return exclusive_lock(self.lock) if self.lock else nullcontext()

    def copy_tree(self, name: str) -> Path:
        return Path(shutil.copytree(ROOT, self.folder / name, ignore=NOT_COPIED))

    def record(self, tests: str, recordings: Path) -> None:
        """Run tests under coverage, unless that was done before. Exits if one fails."""
        data_file, durations = recording_files(tests, recordings)
        if data_file.exists() and durations.exists():
            return
        (self.folder / "recording_plugin.py").write_text(RECORDING_PLUGIN)
        tree = self.folder / "recorded"
        if not tree.exists():
            self.copy_tree("recorded")
        coverage = ("-m", "coverage", "run", f"--data-file={data_file}", "--source=streamsvc")
        pytest = ("-m", "pytest", "-p", "recording_plugin", "-p", "no:cacheprovider", tests)
        paths = {"PYTHONPATH": f"{tree}:{self.folder}", "TEST_DURATIONS": str(durations)}
        with self.turn():
            status, output = self.run(tree, *coverage, *pytest, **paths)
        if status:
            data_file.unlink(missing_ok=True)
            sys.exit(f"The tests fail without any mutant:\n{output}")


def recording_files(tests: str, recordings: Path) -> tuple[Path, Path]:
    """The coverage data of a folder of tests, and their durations in seconds."""
    name = tests.replace("/", ".")
    return recordings / f"{name}.coverage", recordings / f"{name}.json"


class Recording:
    """Which tests of an area execute which line, and how long each takes."""

    def __init__(self, area: Area, recordings: Path):
        from coverage import CoverageData  # of the test requirements

        self.durations_s = {}
        self._contexts = defaultdict(lambda: defaultdict(set))
        """{path: {line: the tests that execute it}}"""
        for tests in area.tests:
            data_file, durations = recording_files(tests, recordings)
            self.durations_s |= json.loads(durations.read_text())
            data = CoverageData(str(data_file))
            data.read()
            for measured in data.measured_files():
                path = measured[measured.rindex("/streamsvc/") + 1 :]
                for line, contexts in data.contexts_by_lineno(measured).items():
                    self._contexts[path][line] |= set(contexts)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that could notice the mutant, up to the budget; none if none executes its line.

        First those that execute its line, then those that execute others of its module, since the result of its line
        may have been cached, and then, if its line runs when the module is imported, all others. Of each, those that
        execute most of the module come first.
        """
        module = self._contexts[mutant.path]
        executing = set().union(*(module[line] for line in mutant.lines if line in module))
        if not executing:
            return []
        executed_lines = Counter(itertools.chain.from_iterable(module.values()))
        tests = executed_lines.keys() | (self.durations_s.keys() if IMPORT in executing else set())
        nearest = sorted(
            tests - {IMPORT},
            key=lambda test: (test not in executing, -executed_lines[test], self.durations_s[test], test),
        )
        total_s = itertools.accumulate(self.durations_s[test] for test in nearest)
        return [test for test, total in zip(nearest, total_s, strict=True) if total <= TESTS_BUDGET_S]


def choose_mutants(area: Area, options) -> list[Mutant]:
    """Choose mutants by the seed, of each kind in turn, or all mutants of the given lines."""
    paths = sorted(str(path.relative_to(ROOT)) for pattern in area.code for path in ROOT.glob(pattern))
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
    blocks = EQUIVALENT_MUTANTS.read_text().split("\n\n")
    lines = [[line.strip() for line in block.splitlines() if not line.startswith("#")] for block in blocks]
    return {(block[0], *(line for line in block[1:] if line[0] in "+-")) for block in lines if block}


def run_mutant(mutant: Mutant, recording: Recording, runs: TestRuns, trees: SimpleQueue) -> Result:
    """Apply the mutant to one of the trees, run its tests, and restore the tree."""
    tests = recording.tests_of(mutant)
    if not tests:
        return Result(mutant, NOT_EXECUTED, "by any test of the area")
    tree = trees.get()
    module, chosen = tree / mutant.path, tree / "chosen_tests.txt"
    source = module.read_bytes()
    try:
        write_module(module, mutant.mutated_source(source))
        chosen.write_text("\n".join(tests))
        limit_s = 60 + 3 * sum(recording.durations_s[test] for test in tests)
        status, output = runs.run(tree, "-m", "pytest", "-x", "-p", "no:cacheprovider", f"@{chosen}", timeout_s=limit_s)
    finally:
        write_module(module, source)
        trees.put(tree)
    if status is None:
        return Result(mutant, TIMED_OUT, f"after {limit_s:.0f} s")
    if status == 0:
        return Result(mutant, SURVIVED, f"{len(tests)} tests passed")
    if "ERROR: not found: " in output:  # as opposed to a module of tests that cannot be imported
        raise RuntimeError(f"A recorded test does not exist; record again.\n{output}")
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
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


def run_mutants(mutants, recording, runs, jobs) -> list[Result]:
    """Test the mutants, several at once; return the results in the order of the mutants."""
    equivalent, trees = load_equivalent_mutants(), SimpleQueue()
    for n in range(jobs):
        trees.put(runs.copy_tree(f"tree{n}"))
    results, tested = {}, []
    for mutant in mutants:
        if (mutant.path, *mutant.changed_lines((ROOT / mutant.path).read_bytes())) in equivalent:
            results[mutant] = Result(mutant, EQUIVALENT)
        else:
            tested.append(mutant)
    turns = batched(tested, jobs) if runs.lock else [tested]
    with ThreadPoolExecutor(jobs) as pool, progress_bar(len(tested), "Testing mutants") as bar:
        for turn in turns:
            with runs.turn():
                for future in as_completed(
                    [pool.submit(run_mutant, mutant, recording, runs, trees) for mutant in turn]
                ):
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
        runs = TestRuns(folder, options)
        print(f"Recording which tests execute which line: {', '.join(area.tests)}", flush=True)
        for tests in area.tests:
            runs.record(tests, recordings.absolute())
        results = run_mutants(mutants, Recording(area, recordings), runs, options.jobs)
        return report(options.area, results, options.databases)


if __name__ == "__main__":
    sys.exit(main())
