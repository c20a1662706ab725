"""A pytest plugin for `bench.mutate`: run chosen tests of those collected against a mutant, in a fork of the process.

What takes longest, importing everything and collecting the tests, is then done once for all mutants. Requests arrive
through the socket `MUTANTS_SOCKET`, a line of JSON each; see `bench.mutation_tests.TestServer`. The answers are the
process id of the fork and, later, its status, or `null` if the mutant takes effect only when its module is imported.
"""

import gc
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from bench.code_replacement import NotReplaceable, find_replacements, functions_by_file

TEST_LIMIT_S = 60
"""A test that runs longer ends the process: it waits for what the mutant never does."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol():
    signal.alarm(TEST_LIMIT_S)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    gc.unfreeze()
    functions, items = functions_by_file(), {item.nodeid: item for item in session.items}
    gc.freeze()
    with socket.socket(fileno=int(os.environ["MUTANTS_SOCKET"])) as connection, connection.makefile("rw") as requests:
        _answer(requests, "ready")
        for line in requests:
            request = json.loads(line)
            session.items[:] = [items[test] for test in request["tests"] if test in items]
            session.testscollected = len(session.items)  # without any, pytest exits with a status of its own
            try:
                sources = (Path(request[name]).read_bytes() for name in ("original", "module"))
                replacements = find_replacements(functions[request["module"]], *sources)
            except NotReplaceable:
                _answer(requests, None)
                continue
            fork_id = os.fork()
            if not fork_id:
                break
            _answer(requests, fork_id)
            _answer(requests, os.waitstatus_to_exitcode(os.waitpid(fork_id, 0)[1]))
        else:
            return True
    os.setsid()
    for function, code in replacements:
        function.__code__ = code
    return None  # pytest then runs these and exits


def _answer(requests, value) -> None:
    requests.write(f"{json.dumps(value)}\n")
    requests.flush()
