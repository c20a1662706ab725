"""Phase `database`: it hangs, stops and crashes under load. On SQLite, another process holds its write lock."""

import os
import signal
import sqlite3
import subprocess
import time

import psutil

from bench.torture.core import Check, Context, Deadline, Phase
from bench.torture.invariants import check_invariants
from bench.torture.load import Load
from bench.torture.phases.kills import describe_clients
from bench.torture.probes import Probes, Response, describe
from bench.torture.world import World, torture_world

READ, LIVE, READY = "/v1/plans?country=US", "/livez", "/readyz"
OUTAGE_S, GRACE_S, RECOVERY_S = 10.0, 2.0, 2.0
BUDGET_S = {"postgresql": 2.5, "sqlite": 6.0}
"""How long a request may take during an outage: 2 s and 5 s (docs/reliability.md), and some for a busy machine."""
CRASH_EVERY_S = 3.0


def run(context: Context) -> list[Check]:
    with torture_world(context) as world:
        if context.database == "sqlite":
            return check_locked_file(world, context)
        checks = []
        if context.plant == "async_commit":
            keep_wal_in_memory(world)
        else:
            for name, begin, end in (("hangs", freeze, thaw), ("is stopped", stop, start)):
                context.show(f"PostgreSQL {name}")
                checks += check_outage(world, f"while it {name}", begin, end)
        if context.plant != "no_hang_watchdog":
            load = Load(world, context, clients=4)
            with load.running() as journal:
                crashes = crash_repeatedly(world, context)
            invariants = check_invariants(world, journal, context)
            checks += [*invariants, *describe_clients(load)]
            checks.append(Check("PostgreSQL crashed under load", crashes > 0, f"{crashes} times"))
        return checks


def keep_wal_in_memory(world: World) -> None:
    """Let PostgreSQL write what nobody waits for after 10 s only, its maximum: a crash then loses it for certain."""
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


def check_outage(world: World, name: str, begin, end) -> list[Check]:
    """Let the database fail for `OUTAGE_S` seconds, and look at what clients get."""
    reads = [("GET", READ)] * 6
    write = rename_profile(world, name)
    web = {process.pid for process in world.processes()["web"]}
    with Probes(world.service.port, *reads, write, ("GET", LIVE), ("GET", READY)).running() as probes:
        time.sleep(2)
        began = time.monotonic()
        end_argument = begin(world)
        time.sleep(OUTAGE_S)
        end(world, end_argument)
        ended = time.monotonic()
        time.sleep(6)
    since, budget_s = began + GRACE_S, BUDGET_S["postgresql"]
    during = {path: probes.during(path, since, began + OUTAGE_S) for path in (READ, write[1], LIVE, READY)}
    back_s = max(probes.recovery_s(READ, ended), probes.recovery_s(write[1], ended))
    ready_s = probes.recovery_s(READY, ended)
    kept = {process.pid for process in world.processes()["web"]} == web
    return [
        Check(f"503 in time {name}", is_unavailable(during[READ], budget_s), describe(during[READ])),
        Check(f"a write gets 503 {name}", is_unavailable(during[write[1]], budget_s), describe(during[write[1]])),
        Check(f"/livez {name}", all(r.status == 200 for r in during[LIVE]), describe(during[LIVE])),
        Check(f"/readyz {name}", is_unavailable(during[READY], budget_s), describe(during[READY])),
        Check(
            f"recovery after it {name[9:]}", back_s < RECOVERY_S, f"200 after {back_s:.2f} s, /readyz {ready_s:.2f} s"
        ),
        Check(f"no web process restarts {name}", kept, "the same processes" if kept else "others"),
    ]


def rename_profile(world: World, name: str) -> tuple[str, str, dict, str]:
    """A request that writes, by a viewer of its own."""
    token, _, profile_id = world.sign_up(name.replace(" ", "."))
    return "PATCH", f"/v1/profiles/{profile_id}", {"name": "Ann"}, token


def is_unavailable(responses: list[Response], budget_s: float) -> bool:
    """Whether there were responses, each of them 503 within its time."""
    return bool(responses) and all(r.status == 503 and r.elapsed_s < budget_s for r in responses)


def freeze(world: World) -> list[psutil.Process]:
    processes = [world.postmaster, *world.postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    return processes


def thaw(world: World, processes: list[psutil.Process]) -> None:
    for process in processes:
        process.resume()


def stop(world: World) -> dict:
    """Stop PostgreSQL at once; returns how it can be started again."""
    how = {
        "args": world.postmaster.cmdline(),
        "cwd": world.postmaster.cwd(),
        "env": {**os.environ, "LC_ALL": "C.UTF-8"},
    }
    how["executable"] = world.postmaster.exe()
    if os.geteuid() == 0:
        how |= {"user": world.postmaster.uids().real, "group": world.postmaster.gids().real, "extra_groups": []}
    world.postmaster.send_signal(signal.SIGQUIT)
    world.postmaster.wait(30)
    return how


def start(world: World, how: dict) -> None:
    process = subprocess.Popen(**how, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.postmaster = psutil.Process(process.pid)
    world.engine.dispose()
    deadline = Deadline(30)
    while not deadline.has_passed():
        try:
            with world.engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
            return
        except Exception:  # it is still starting
            time.sleep(0.05)


def crash_repeatedly(world: World, context: Context) -> int:
    """Kill a process of PostgreSQL again and again: the server then restarts, as after a crash. Returns how often."""
    deadline, crashes = Deadline(context.seconds), 0
    while not deadline.has_passed():
        time.sleep(context.rng.uniform(0.5, 2 * CRASH_EVERY_S))
        backends = [p for p in world.postmaster.children() if "torture" in " ".join(p.cmdline())]
        if backends:
            context.rng.choice(backends).kill()
            crashes += 1
            context.show(f"{crashes} crashes of PostgreSQL")
    return crashes


def check_locked_file(world: World, context: Context) -> list[Check]:
    """Hold SQLite's write lock for `OUTAGE_S` seconds: reads go on, writes get 503."""
    path = world.url.removeprefix("sqlite:///")
    write = rename_profile(world, "writer")
    with Probes(
        world.service.port, ("GET", READ), write, write, write, ("GET", LIVE), ("GET", READY)
    ).running() as probes:
        time.sleep(2)
        began = time.monotonic()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(OUTAGE_S)
        connection.execute("ROLLBACK")
        connection.close()
        ended = time.monotonic()
        time.sleep(4)
    reads, writes, live = (probes.during(path, began, ended) for path in (READ, write[1], LIVE))
    in_time = all(r.elapsed_s < BUDGET_S["sqlite"] for r in writes) and any(r.status == 503 for r in writes)
    back_s = probes.recovery_s(write[1], ended)
    return [
        Check("reads while it is locked", all(r.status == 200 for r in reads), describe(reads)),
        Check("503 in time while it is locked", in_time, describe(writes)),
        Check("/livez while it is locked", all(r.status == 200 for r in live), describe(live)),
        Check("recovery after it is locked", back_s < RECOVERY_S, f"writes again after {back_s:.2f} s"),
    ]


PHASE = Phase(
    "database",
    "the database hangs, stops and crashes; on SQLite, its write lock is held",
    run,
    {
        "no_hang_watchdog": "503 in time while it hangs",
        "async_commit": "every acknowledged row exists",
        "patient_lock": "503 in time while it is locked",
    },
    weight=2,
    plant_s=15,
    plant_databases={"no_hang_watchdog": "postgresql", "async_commit": "postgresql", "patient_lock": "sqlite"},
)
