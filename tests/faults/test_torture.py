"""A short form of `make torture`: its checker notices each corruption, and its faults can be planted."""

import os
import re

import pytest

from bench.torture.core import Check, Context, Phase
from bench.torture.corruptions import find_corruptions
from bench.torture.invariants import check_invariants
from bench.torture.load import Load
from bench.torture.phases import PHASES
from bench.torture.plants import PLANTS, plant
from bench.torture.promises import PROMISES
from bench.torture.report import PhaseResult, Report
from bench.torture.world import torture_world
from tests.conftest import migrate_database
from tests.worlds.service import wait_until


@pytest.mark.one_database
def test_the_checker_finds_nothing_after_a_mixed_load_and_each_corruption(database, new_database, tmp_path):
    context = Context(database, 1, 0, tmp_path, show=lambda text: None)
    url = new_database(database, "torture", migrate_database)
    with torture_world(context, database_url=url, STREAMSVC_WORKERS="1") as world:
        load = Load(world, context, clients=2)
        with load.running() as journal:
            wait_until(lambda: {"accounts", "subscriptions", "streams"} <= set(journal.acknowledged))
        broken = [check for check in check_invariants(world, journal, context) if not check.passed]
        assert (broken, journal.unexpected, journal.unanswered) == ([], [], [])
        assert [name for name, is_found in find_corruptions(world, journal).items() if not is_found] == []


@pytest.mark.one_database
@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_can_be_planted(name, database):
    """What it replaces still has the name by which it is replaced."""
    child = os.fork()
    if child == 0:
        try:
            plant(name)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_promise_has_a_planted_fault_or_a_reason():
    plants = {phase.name: phase.plants for phase in PHASES}
    for promise in PROMISES:
        assert set(promise.phases) <= set(plants), promise.name
        planted = {name for phase in promise.phases for name in plants[phase] if promise.concerns(name)}
        assert planted or promise.plant, promise.name
        assert promise.phases or promise.reason, promise.name
    assert {name for phase in PHASES for name in phase.plants} >= set(PLANTS)


@pytest.mark.parametrize(("passed", "found", "failed"), [(True, True, False), (False, True, True), (True, False, True)])
def test_the_report_fails_for_a_broken_promise_and_for_a_plant_that_was_not_found(passed, found, failed):
    phase = Phase("disk", "a full disk", lambda context: [], {"lying_readiness": "/readyz while it is full"})
    result = PhaseResult(phase, "sqlite", [Check("/readyz while it is full", passed, "7 × 503")])
    result.plants["lying_readiness"] = found
    report = Report(1, ("sqlite",), [result])
    assert report.failed is failed
    row = re.search(r"\| A full disk loses nothing \|.*", report.format())[0]
    assert ("FAILED" in row, "NO, 0 of 1" in row) == (not passed, not found)
