"""Phase `disk`: the file system of the database fills up under load, and has space again later."""

import errno
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.torture.core import Check, Context, Phase
from bench.torture.invariants import check_invariants
from bench.torture.load import Load
from bench.torture.phases.database_faults import rename_profile
from bench.torture.phases.kills import describe_clients
from bench.torture.probes import Probes, describe
from bench.torture.world import World, torture_world

SIZES = {"sqlite": "64m", "postgresql": "400m"}
READ, LIVE, READY = "/v1/plans?country=US", "/livez", "/readyz"
FULL_S, RECOVERY_S, BLOCK_BYTES = 15.0, 5.0, 1 << 20


def run(context: Context) -> list[Check]:
    with (
        small_file_system(SIZES[context.database]) as folder,
        database_in(folder, context) as url,
        torture_world(context, database_url=url) as world,
    ):
        load = Load(world, context, clients=3, renewals=False)
        write = rename_profile(world, "full")
        probed = [("GET", READ), ("GET", LIVE), ("GET", READY), write]
        with load.running() as journal, Probes(world.service.port, *probed, pause_s=0.05).running() as probes:
            time.sleep(3)
            context.show("filling the disk")
            began, ballast = time.monotonic(), fill(folder)
            is_running = wait(world, folder)
            ballast.unlink()
            (folder / "ballast2").unlink(missing_ok=True)
            ended = time.monotonic()
            context.show("the disk has space again")
            time.sleep(RECOVERY_S + 2)
        paths = (READ, LIVE, READY, write[1])
        reads, live, ready, writes = (probes.between(path, began + 2, ended) for path in paths)
        back_s = probes.recovery_s(READY, ended)
        # PostgreSQL may have room left within its files: if all fits there, nothing is refused
        was_writable = all(r.status == 200 for r in writes)
        checks = [
            Check("reads while the disk is full", all(r.status == 200 for r in reads), describe(reads)),
            Check("/livez while it is full", all(r.status == 200 for r in live), describe(live)),
            Check("writes while it is full", bool(writes), describe(writes)),
            Check("/readyz while it is full", was_writable or any(r.status == 503 for r in ready), describe(ready)),
            Check("writes again once there is space", back_s < RECOVERY_S, f"ready after {back_s:.1f} s"),
            Check("no process needs a restart", is_running, "none ended" if is_running else "PostgreSQL ended"),
        ]
        return [*checks, *check_invariants(world, journal, context), *describe_clients(load), *check_file(world)]


def fill(folder: Path) -> Path:
    """Write until nothing more fits."""
    ballast = folder / "ballast"
    write_until_full(ballast)
    return ballast


def write_until_full(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (BLOCK_BYTES, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def wait(world: World, folder: Path) -> bool:
    """Keep the disk full; returns whether PostgreSQL, if it is the database, kept running."""
    end = time.monotonic() + FULL_S
    while time.monotonic() < end:
        write_until_full(folder / "ballast2")  # what the database has given back
        time.sleep(0.5)
    return world.postmaster is None or world.postmaster.is_running()


def check_file(world: World) -> list[Check]:
    """SQLite's own check of its file."""
    if world.postmaster:
        return []
    with world.engine.connect() as connection:
        result = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    return [Check("the file is intact", result == "ok", str(result))]


@contextmanager
def small_file_system(size: str) -> Iterator[Path]:
    """A file system in memory of this size."""
    folder = Path(tempfile.mkdtemp(prefix="streamsvc-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def database_in(folder: Path, context: Context) -> Iterator[str]:
    """The URL of a database in the folder: a file, or "" for a PostgreSQL server that the world is to start there."""
    if context.database == "sqlite":
        yield f"sqlite:///{folder / 'torture.sqlite3'}"
        return
    previous, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield ""
    finally:
        tempfile.tempdir = previous


PHASE = Phase(
    "disk",
    "the disk of the database fills up, and has space again",
    run,
    {"lying_readiness": "/readyz while it is full"},
    weight=0.5,
    missing=lambda: "" if os.geteuid() == 0 else "only root may mount a small file system",
)
