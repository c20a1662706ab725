"""Checks the machine's clock, so that nobody is charged and nothing deleted because it jumped.

`clock` notices a jump by itself, by the time since the machine started. Here each process compares its clock every few
seconds with the database's, and with the last readings that are stored there: so a jump while the service was stopped
is noticed too. A clock in doubt is trusted again when it has returned, or when an operator confirms it.
"""

import logging
import platform
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from flask import Flask

from streamsvc import clock
from streamsvc.models import ClockReading
from streamsvc.operations.outbox import audit
from streamsvc.rules.clock_trust import ABSORBED_STEP, MAX_GAP, judge_database, judge_start
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_existing, insert
from streamsvc.storage.leases import database_time
from streamsvc.worker.restore_hold import refresh_restore_hold

CHECK_INTERVAL_S = 5.0
STORE_INTERVAL = timedelta(seconds=10)
RETENTION_PERIOD = timedelta(days=90)
NOT_CHECKED = "the machine's clock has not been compared with the database yet"
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
INITIAL_TIME_NAMESPACE = "time:[4026531834]"
"""PROC_TIME_INIT_INO of the kernel's linux/proc_ns.h."""
MICROSECOND = timedelta(microseconds=1)
log = logging.getLogger("streamsvc.clock")


class Boot(NamedTuple):
    """This start of the machine, and by how much the process's time namespace shifts the time since then."""

    id: str
    offset_us: int


@cache
def read_boot() -> Boot | None:
    """Read which start of the machine this is; None where the system does not say, or not how its time is shifted."""
    try:
        boot_id, offset_us = BOOT_ID_FILE.read_text().strip(), read_boot_offset_us()
    except OSError:
        return None
    return None if offset_us is None else Boot(boot_id, offset_us)


def read_boot_offset_us(process: Path = Path("/proc/self")) -> int | None:
    """Return what the process's time namespace adds to the time since the machine's start (time_namespaces(7)).

    0 outside of namespaces; None if it cannot be known: the file has the offset of the process's children.
    """
    try:
        own, of_children = ((process / "ns" / name).readlink().name for name in ("time", "time_for_children"))
    except FileNotFoundError:
        return 0  # the kernel has no time namespaces
    if own == INITIAL_TIME_NAMESPACE:
        return 0
    if own != of_children:
        return None
    lines = (line.split() for line in (process / "timens_offsets").read_text().splitlines())
    offsets = {name: int(seconds) * 1_000_000 + int(ns) // 1_000 for name, seconds, ns in lines}
    return offsets.get("boottime")


def machine_id() -> str:
    """Identify this machine until it restarts; where the system has no such id, by its name."""
    boot = read_boot()
    return boot.id if boot else f"host {platform.node()}"


def _uptime_us() -> int:
    """Return the time since the machine's start, the same in all of its processes if the boot is known."""
    boot = read_boot()
    return clock.machine_clock.read_uptime_ns() // 1_000 - (boot.offset_us if boot else 0)


def read_database_clock() -> datetime | None:
    """Return the time of the database; None for SQLite, which has no clock of its own."""
    if db.engine.dialect.name == "sqlite":
        return None
    now: datetime = fetch_existing(sa.select(database_time(sa.literal(0.0))))[0]
    return now


def check_clock(is_recorded: bool = True) -> str | None:
    """Compare the clock with the database and the stored readings; return why it is not trusted, or None.

    If `is_recorded`, a trusted clock is stored, every `STORE_INTERVAL`, and any other is logged.
    """
    machine = clock.machine_clock
    database_now, readings = read_database_clock(), fetch_all(sa.select(ClockReading.__table__))
    shown = read_machine_clock()
    generation = max((reading.generation for reading in readings), default=0)
    readings = [reading for reading in readings if reading.generation == generation]
    if machine.generation != generation:
        doubt = _start(readings, shown, generation)
    else:
        doubt = None
        if abs(shown - _expected_time()) <= ABSORBED_STEP:
            machine.trust(shown)
    machine.doubt = doubt or judge_database(shown, database_now)
    doubt = machine.find_doubt()
    if not is_recorded:
        return doubt
    if doubt:
        log.error("%s: nobody is charged and nothing deleted until it returns or `streamsvc clock confirm`", doubt)
    else:
        _store_reading(readings, shown, generation)
    return doubt


def _start(readings: list[sa.Row], shown: datetime, generation: int) -> str | None:
    """Decide by the stored readings from which time this process goes on; return why the clock is not trusted."""
    machine, uptime_us = clock.machine_clock, _uptime_us()
    comparable = readings if read_boot() else []  # else the machine may have been restarted
    own = next((r for r in comparable if r.machine == machine_id() and r.uptime_us <= uptime_us), None)
    expected = own.shown_at + (uptime_us - own.uptime_us) * MICROSECOND if own else None
    latest = max((reading.shown_at for reading in readings), default=None)
    max_gap = None if current_settings().sandbox else MAX_GAP  # the sandbox takes no money
    start = judge_start(shown, expected, latest, _expected_time(), max_gap)
    is_first_check = machine.generation is None and machine.doubt in (None, NOT_CHECKED)
    if start.doubt or not is_first_check:  # else it goes on from the start of the process
        machine.trust(start.time)
    machine.latest_ns = clock.to_ns(max(latest or start.time, start.time))
    if start.doubt is None:
        machine.generation = generation
    return start.doubt


def read_machine_clock() -> datetime:
    """Return what the machine's clock shows, right or wrong."""
    return clock.EPOCH + clock.machine_clock.read_clock_ns() // 1_000 * MICROSECOND


def _expected_time() -> datetime:
    machine = clock.machine_clock
    return clock.EPOCH + (machine.booted_ns + machine.read_uptime_ns()) // 1_000 * MICROSECOND


def _store_reading(readings: list[sa.Row], shown: datetime, generation: int) -> None:
    own = next((reading for reading in readings if reading.machine == machine_id()), None)
    if own is None or abs(shown - own.shown_at) > STORE_INTERVAL:
        values = _reading(shown, generation)
        upsert = insert(ClockReading).values(values)
        execute_write(upsert.on_conflict_do_update(index_elements=["machine"], set_=values))
    if own is None:
        execute_write(sa.delete(ClockReading).where(ClockReading.shown_at < shown - RETENTION_PERIOD))


def _reading(shown: datetime, generation: int) -> dict:
    return {"machine": machine_id(), "shown_at": shown, "uptime_us": _uptime_us(), "generation": generation}


def confirm_clock(reason: str, actor: str | None = None) -> datetime:
    """Trust what this machine's clock shows, in the caller's transaction, and forget earlier readings; return the time.

    The other processes follow at their next check, if their clocks agree. Raises ValueError if it differs from the
    database's clock.
    """
    shown = read_machine_clock()
    if doubt := judge_database(shown, read_database_clock()):
        raise ValueError(doubt)
    doubt = check_clock(is_recorded=False)  # this process may not have compared its clock yet
    newest = db.session.scalar(sa.select(sa.func.max(ClockReading.generation))) or 0
    db.session.execute(sa.delete(ClockReading.__table__))
    db.session.execute(sa.insert(ClockReading.__table__).values(_reading(shown, newest + 1)))
    audit.record_event("clock_confirmed", actor=actor, reason=reason, doubt=doubt, time=shown.isoformat())
    return shown


def watch_clock(app: Flask) -> None:
    """Check the clock now, and then every `CHECK_INTERVAL_S` in a thread of this process."""
    require_check()
    _try_to_check(app)
    threading.Thread(target=_check_forever, args=(app,), name="clock check", daemon=True).start()


def require_check() -> None:
    """Do not trust the clock of this process before its first check."""
    clock.machine_clock.doubt = NOT_CHECKED


def _check_forever(app: Flask) -> None:
    pause = threading.Event()
    while not pause.wait(CHECK_INTERVAL_S):
        _try_to_check(app)


def _try_to_check(app: Flask) -> None:
    """Check the clock and the hold on charging; while the database is unavailable, what was found before remains."""
    with app.app_context(), suppress(sa.exc.SQLAlchemyError):
        refresh_restore_hold()
        check_clock()
