"""A pytest plugin for `bench.mutate`: run only the tests listed in the file `CHOSEN_TESTS`, in its order.

On the command line, pytest cannot find tests whose parameters contain `::`.
"""

import os
from pathlib import Path

import pytest

from bench.forking_plugin import pytest_runtest_protocol

__all__ = ["pytest_runtest_protocol"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    ranks = {test: rank for rank, test in enumerate(Path(os.environ["CHOSEN_TESTS"]).read_text().split("\0"))}
    items[:] = sorted((item for item in items if item.nodeid in ranks), key=lambda item: ranks[item.nodeid])
