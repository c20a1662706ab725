"""Phase `kills`: random processes of the service get SIGKILL, one after another, under the mixed load."""

import signal
import time
from collections.abc import Callable

import psutil

from bench.torture.clients import Journal
from bench.torture.core import Check, Context, Deadline, Phase, percentile
from bench.torture.corruptions import find_corruptions
from bench.torture.invariants import check_invariants, describe, find_slots_over_limit, is_alive
from bench.torture.load import Load
from bench.torture.world import World, torture_world

KILLS = 200
SERVE_EVERY = 10
"""Every tenth victim is `streamsvc serve` itself, with all that it runs."""
MAX_INTERVAL_S, PLANTED_INTERVAL_S = 2.0, 5.0
MIN_ROWS = 60
"""How many rows must be acknowledged before a planted fault is given up."""
RECOVERY_S, MAX_RECOVERY_S = 60.0, 180.0
"""How soon the service must be ready again, and how long to wait for it all the same."""
ROLES = {"web": 2, "worker": 3, "master": 1}
"""How often each kind of process is chosen; gunicorn's master takes its web processes with it."""


def run(context: Context) -> list[Check]:
    with torture_world(context) as world:
        load = Load(world, context)
        with load.running() as journal:
            kills, recoveries = kill_processes(world, context, journal)
        checks = check_invariants(world, journal, context)
        checks += describe_clients(load)
        slowest = max(recoveries, default=0.0)
        figure = f"{kills} kills, {len(recoveries)} of them of everything, after which it was ready in "
        figure += f"{percentile(recoveries, 0.5):.1f} s, at most {slowest:.1f} s"
        checks.append(Check("the service recovers from each kill", slowest < RECOVERY_S, figure))
        checks.append(
            Check("slots within the limit all the time", not journal.over_limit, describe(journal.over_limit))
        )
        if not context.plant:
            found = find_corruptions(world, journal)
            missed = [name for name, is_found in found.items() if not is_found]
            figure = f"{len(found) - len(missed)} of {len(found)} found" + "".join(f"; missed: {m}" for m in missed)
            checks.append(Check("the checker finds each corruption", not missed, figure))
        return checks


def kill_processes(world: World, context: Context, journal: Journal) -> tuple[int, list[float]]:
    """Kill until it is enough or the time is over.

    Returns (kills, seconds until the service was ready again after all of it was killed).
    """
    deadline, last, kills, recoveries = Deadline(context.seconds), Deadline(3 * context.seconds), 0, []
    interval_s = PLANTED_INTERVAL_S if context.plant else min(MAX_INTERVAL_S, context.seconds / KILLS)
    while kills < KILLS:
        has_enough = journal.count_acknowledged() > MIN_ROWS or last.has_passed()
        if deadline.has_passed() and (has_enough or not context.plant):
            break
        time.sleep(context.rng.uniform(0, 2 * interval_s))
        kills += 1
        if kills % SERVE_EVERY == 0 or world.service.process.poll() is not None:
            kill_everything(world)
            recoveries.append(measure_recovery(world))
        else:
            processes = world.processes()
            victims = [p for role, weight in ROLES.items() for p in processes[role] * weight]
            if victims:
                kill(context.rng.choice(victims))
            wait_for(lambda: is_running(world))  # else a busy machine would see kills of what is still starting only
        journal.over_limit += find_slots_over_limit(world, journal)
        context.show(f"{kills} kills, {journal.count_acknowledged()} rows acknowledged")
    return kills, recoveries


def is_running(world: World) -> bool:
    """Whether the service responds; starts it again if `serve` has given up, since its programs ended too often."""
    if world.service.process.poll() is not None:
        kill_everything(world)
    return is_alive(world)


def measure_recovery(world: World) -> float:
    """Seconds until the service is ready."""
    started = time.monotonic()
    wait_for(world.service.is_ready)
    return time.monotonic() - started


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = Deadline(MAX_RECOVERY_S)
    while not condition() and not deadline.has_passed():
        time.sleep(0.02)


def kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def kill_everything(world: World) -> None:
    """Kill `serve` and all its processes if it runs, and start it again, as an operator's init system does."""
    if world.service.process.poll() is None:
        serve = psutil.Process(world.service.process.pid)
        for process in [serve, *serve.children(recursive=True)]:
            kill(process)
        world.service.process.wait()
    log = world.service.log.read_text(errors="replace")
    world.service.start()
    world.service.log.write_text(log)  # `start` begins a new one


def describe_clients(load: Load) -> list[Check]:
    """What the clients saw: nothing that they did not expect, and a definite response to everything."""
    journal = load.journal
    acknowledged = f"{journal.count_acknowledged()} rows acknowledged, {load.renewals_imported} renewals due"
    return [
        Check("every request is decided", not journal.unanswered, _list(journal.unanswered) or acknowledged),
        Check("no unexpected response", not journal.unexpected, _list(journal.unexpected) or journal.describe()),
    ]


def _list(texts: list[str]) -> str:
    return f"{len(texts)}, such as {texts[0]}" if texts else ""


PHASE = Phase(
    "kills",
    f"{KILLS} random processes get SIGKILL under a mixed load",
    run,
    {
        "new_provider_key": "cash = the provider's journal",
        "lost_commit": "every acknowledged row exists",
        "one_slot_more": "slots within the limit all the time",
    },
    weight=5,
    plant_s=20,
)
