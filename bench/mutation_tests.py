"""Which tests are near which code, for `bench.mutate`: a table of areas, and recordings of which test executes what."""

import ast
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from bench.mutants import Mutant
from tests.worlds.databases import FILLED_VARIABLE, exclusive_lock

ROOT = Path(__file__).parent.parent
DATABASES = {"sqlite": "sqlite", "both": "sqlite,postgresql"}
TESTS_BUDGET_S = 120
"""Of the tests that execute a mutated line, as many run as normally take this long."""
TEST_OVERHEAD_S = 0.05
"""What a test takes beside its own duration."""
PYTEST = ("-m", "pytest", "-x", "--tb=line", "-p", "no:cacheprovider")
TIMEOUTS = {-signal.SIGKILL, -signal.SIGALRM}
"""The statuses of processes that ran too long, or whose test did."""
IMPORT = ""
"""What coverage names as the test of lines that run before all tests."""
SCHEMA_TEST = "tests/service/test_migrations.py::test_the_migrations_and_the_models_agree"
"""Of the areas with models."""
DURABILITY_TEST = "tests/faults/test_durability.py::test_sqlite_waits_for_the_disk_unless_the_write_is_relaxed"
"""Of playback: heartbeats alone may be lost."""
API_TEST = "tests/service/test_openapi.py::test_the_committed_document_matches_the_code"
"""Of all areas: it notices other statuses, schemas, errors of endpoints."""
FILL_DATABASE = """
from pathlib import Path
from sys import argv
from tests.conftest import migrate_database
from tests.worlds.databases import filled_database
filled_database("sqlite", Path(argv[1]), migrate_database)
"""
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "instance", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


@dataclass(frozen=True)
class Area:
    """The code of an area, as glob patterns, and the folders and files of its tests."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "rules": Area(
        ("streamsvc/rules/**/*.py",),
        (
            "tests/rules",
            "tests/subscriptions",
            "tests/playback",
            "tests/catalog",
            "tests/sessions",
            "tests/operators",
            "tests/service/test_typed_text.py",
            "tests/service/test_webhooks_out.py",
            API_TEST,
        ),
    ),
    "billing": Area(
        (
            "streamsvc/operations/billing/**/*.py",
            "streamsvc/models/subscriptions/*.py",
            "streamsvc/blueprints/subscriptions/*.py",
            "streamsvc/blueprints/admin/billing_*.py",
        ),
        (
            "tests/subscriptions",
            "tests/rules",
            "tests/service/test_idempotency.py",
            "tests/service/test_audited_changes.py",
            SCHEMA_TEST,
            API_TEST,
        ),
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
            "tests/catalog/test_catalog.py",
            "tests/catalog/test_catalog_access.py",
            "tests/catalog/test_catalog_browse.py",
            "tests/catalog/test_catalog_editing.py",
            "tests/sessions/test_guests.py",
            DURABILITY_TEST,
            SCHEMA_TEST,
            API_TEST,
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
        (
            "tests/sessions",
            "tests/operators",
            "tests/playback/test_playback_tokens.py",
            "tests/service/test_idempotency.py",
            API_TEST,
        ),
    ),
    "catalog": Area(
        (
            "streamsvc/operations/catalog/**/*.py",
            "streamsvc/models/catalog/*.py",
            "streamsvc/blueprints/catalog/*.py",
            "streamsvc/blueprints/admin/catalog_*.py",
        ),
        (
            "tests/catalog",
            "tests/rules",
            "tests/playback/test_episode_rights.py",
            "tests/playback/test_next_up.py",
            "tests/playback/test_progress.py",
            SCHEMA_TEST,
            API_TEST,
        ),
    ),
}


class TestRuns:
    """Runs tests in copies of the source tree."""

    __test__ = False  # pytest collects no class of this name

    def __init__(self, folder: Path, databases: str, lock: Path | None = None):
        self.folder, self.databases, self.lock = folder, databases, lock
        bytecode = {"PYTHONDONTWRITEBYTECODE": ""}  # compiling everything again takes longer than most mutants' tests
        self.environment = os.environ | bytecode | {"STREAMSVC_TEST_DATABASES": DATABASES[databases]}

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
            return None if process.returncode == -signal.SIGALRM else process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]

    def fill_database(self, tree: Path) -> None:
        """Migrate an SQLite database by the tree's code, of which the tests of each mutant get a copy."""
        folder = self.folder / "databases"
        folder.mkdir()
        status, output = self.run(tree, "-c", FILL_DATABASE, str(folder))
        if status:
            sys.exit(f"The database could not be migrated:\n{output}")
        self.environment[FILLED_VARIABLE] = str(folder)

    def turn(self):
        """Hold the lock during the block, if there is one."""
        return exclusive_lock(self.lock) if self.lock else nullcontext()

    def copy_tree(self, name: str) -> Path:
        return Path(shutil.copytree(ROOT, self.folder / name, ignore=NOT_COPIED))

    def record(self, tests: str, recordings: Path, tree: Path) -> None:
        """Run tests of the tree under coverage, unless that was done before. Exits if one fails."""
        data_file, durations = recording_files(tests, recordings)
        if data_file.exists() and durations.exists():
            return
        coverage = ("-m", "coverage", "run", f"--data-file={data_file}", "--source=streamsvc")
        pytest = ("-m", "pytest", "-p", "bench.recording_plugin", "-p", "no:cacheprovider", tests)
        with self.turn():
            status, output = self.run(tree, *coverage, *pytest, TEST_DURATIONS=str(durations))
        if status:
            data_file.unlink(missing_ok=True)
            sys.exit(f"The tests fail without any mutant:\n{output}")


class TestServer:
    """Runs tests of a tree in forks of one process, which has imported everything and collected the tests."""

    __test__ = False

    def __init__(self, tree: Path, environment: dict[str, str], tests: tuple[str, ...]):
        self._output = tree / "output.txt"
        self._connection, theirs = socket.socketpair()
        self._answers = self._connection.makefile("r")
        with theirs, self._output.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *PYTEST, "-p", "bench.forking_plugin", *tests],
                cwd=tree,
                env=environment | {"MUTANTS_SOCKET": str(theirs.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        self._answer()

    def run(self, module: Path, original: Path, tests: list[str], timeout_s: float) -> tuple[int | None, str] | None:
        """Run tests against the module, which was `original` when the process started.

        Returns the status, or None if it ran longer than the limit, and the output; or None if the module's change
        takes effect only in a process that imports it again.
        """
        os.truncate(self._output, 0)
        request = {"module": str(module), "original": str(original), "tests": tests}
        self._connection.sendall(f"{json.dumps(request)}\n".encode())
        fork_id = self._answer()
        if fork_id is None:
            return None
        timer = threading.Timer(timeout_s, os.killpg, (fork_id, signal.SIGKILL))
        timer.start()
        status = self._answer()
        timer.cancel()
        if status == -signal.SIGALRM:
            with suppress(ProcessLookupError):
                os.killpg(fork_id, signal.SIGKILL)
        return None if status in TIMEOUTS else status, self._output.read_text()

    def close(self) -> None:
        self._answers.close()
        self._connection.close()
        self._process.wait()

    def _answer(self):
        answer = self._answers.readline()
        if not answer:
            sys.exit(f"The recorded tests could not run; record again?\n{self._output.read_text()}")
        return json.loads(answer)


def recording_files(tests: str, recordings: Path) -> tuple[Path, Path]:
    """The coverage data of a folder of tests, and their durations in seconds."""
    name = tests.replace("/", ".")
    return recordings / f"{name}.coverage", recordings / f"{name}.json"


class Recording:
    """Which tests of an area execute which line, and how long each takes."""

    def __init__(self, area: Area, recordings: Path, budget_s: float = TESTS_BUDGET_S):
        self.budget_s = budget_s
        self._named_tests = tuple(tests for tests in area.tests if "::" in tests)
        self.durations_s = {}
        self._contexts = defaultdict(lambda: defaultdict(set))
        """{path: {line: the tests that execute it}}"""
        self._users: dict[str, list[set[str]]] = {}
        for tests in area.tests:
            data_file, durations = recording_files(tests, recordings)
            self.durations_s |= json.loads(durations.read_text())
            data = CoverageData(str(data_file))
            data.read()
            for measured in data.measured_files():
                path = measured[measured.rindex("/streamsvc/") + 1 :]
                for line, contexts in data.contexts_by_lineno(measured).items():
                    self._contexts[path][line] |= set(contexts)

    def runs_at_import(self, mutant: Mutant) -> bool:
        """Whether the mutant's line runs before all tests."""
        module = self._contexts[mutant.path]
        return any(IMPORT in module[line] for line in mutant.lines if line in module)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that could notice the mutant, up to the budget; none if none executes its line.

        First those that execute its line, then those that execute others of its module, since the result of its line
        may have been cached. If its line runs when the module is imported, those come first that execute any of the
        module or what uses it, then all others. Of each, those that execute most of it per second come first, so that
        as many as possible run; a line counts the more, the fewer tests execute it. Last come the tests that the area
        names one by one, for which time is kept.
        """
        module = self._contexts[mutant.path]
        executing = set().union(*(module[line] for line in mutant.lines if line in module))
        if not executing:
            return []
        is_imported = IMPORT in executing
        nearness: dict[str, float] = defaultdict(float)
        for tests_of_line in (*module.values(), *(self._tests_of_users(mutant.path) if is_imported else ())):
            for test in tests_of_line:
                nearness[test] += 1 / len(tests_of_line)
        tests = nearness.keys() | (self.durations_s.keys() if is_imported else set())
        nearest = sorted(
            tests - {IMPORT},
            key=lambda test: (
                not is_imported and test not in executing,
                -nearness.get(test, 0) / (self.durations_s[test] + TEST_OVERHEAD_S),
                test,
            ),
        )
        named = [test for test in nearest if is_imported and test.startswith(self._named_tests)]
        nearest = [test for test in nearest if test not in named]
        total_s = itertools.accumulate((self.durations_s[test] for test in nearest), initial=self._total_s(named))
        return [test for test, total in zip(nearest, list(total_s)[1:], strict=True) if total <= self.budget_s] + named

    def _total_s(self, tests: list[str]) -> float:
        return sum(self.durations_s[test] for test in tests)

    def _tests_of_users(self, path: str) -> list[set[str]]:
        """Return the tests that execute each line of another module that uses a name imported from this one."""
        if path not in self._users:
            modules = [user for user in self._contexts if user.endswith(".py")]
            self._users[path] = [
                self._contexts[user][line]
                for user in modules
                for line in lines_using((ROOT / user).read_text(), Path(path).stem) & self._contexts[user].keys()
            ]
        return self._users[path]


def lines_using(source: str, module: str) -> set[int]:
    """Return the lines of a source that use a module, or a name that they import from it."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if module in (alias.name, (node.module or "").rpartition(".")[2])
    }
    return {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names}
