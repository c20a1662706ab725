"""A pytest plugin for `bench.mutate`: coverage then knows the test that executes a line, and each duration is kept."""

import json
import os
from collections import Counter
from pathlib import Path

import coverage
import pytest

durations_s = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    coverage.Coverage.current().switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report):
    durations_s[report.nodeid] += report.duration


def pytest_unconfigure():
    Path(os.environ["TEST_DURATIONS"]).write_text(json.dumps(durations_s))
