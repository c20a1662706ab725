"""Phase `restore`: a backup under load, all processes killed, the backup restored, and reconciled with the provider."""

import copy
import os
import time
from collections import Counter
from datetime import UTC, datetime

import psutil

from bench.torture.clients import Journal
from bench.torture.core import Check, Context, Deadline, Phase
from bench.torture.invariants import (
    Known,
    acknowledged_rows_exist,
    describe,
    ledger_matches_invoices,
    wait_until_settled,
)
from bench.torture.load import Load
from bench.torture.phases.kills import kill
from bench.torture.world import World, torture_world
from streamsvc.operations.billing.books.audit import audit_billing
from tests.worlds.postgres import find_programs

CLIENT_PATIENCE_S, RESTORE_PATIENCE_S = 2.0, 10.0
MIN_ROWS, NEEDED_ROWS = 30, {"watchlist", "ratings"}
"""How many rows must be acknowledged before the backup, and of which tables at least one."""
SETTLE_TIMEOUT_S = 100
HELD_S = 15.0
"""How long the service runs before it is reconciled: renewals that are due would be charged by then."""
RENEWALS_DUE = 8
"""How many renewals are due when the restored service starts."""


def run(context: Context) -> list[Check]:
    programs = find_programs()
    path = os.pathsep.join([str(programs), os.environ["PATH"]]) if programs else os.environ["PATH"]
    with torture_world(context, PATH=path) as world:
        file = context.folder / "torture.backup"
        load = Load(world, context)
        load.patience_s = CLIENT_PATIENCE_S
        acknowledged, token = back_up_under_load(world, context, load, str(file))
        output = restore(world, str(file))
        load.import_subscribers(RENEWALS_DUE)
        context.show("restored")
        charged = len(world.stripe.charged_amounts())
        world.service.start()
        world.wait_until_ready()
        time.sleep(HELD_S)
        checks = [check_charges_held(world, charged), check_sessions(world, token)]
        checks.append(check_rows(world, acknowledged))
        world.service.command("billing", "reconcile", "--book", "--release", "drill")
        wait_until_settled(world, SETTLE_TIMEOUT_S)
        checks += [check_single_charges(world), *check_books(world)]
        told = [line for line in output.splitlines() if line.startswith("sessions:")]
        return [*checks, Check("the restore says what it did", bool(told), "; ".join(told) or "nothing")]


def back_up_under_load(world: World, context: Context, load: Load, file: str) -> tuple[dict[str, set[tuple]], str]:
    """Back up while clients write and renewals run, let them go on, and kill every process.

    Returns the rows that were acknowledged before the backup began, and the token of a session of then.
    """
    token, _, _ = world.sign_up("before")
    with load.running() as journal:
        deadline, last = Deadline(context.seconds / 2), Deadline(2 * context.seconds)
        while not (deadline.has_passed() and _has_enough_rows(journal)) and not last.has_passed():
            time.sleep(0.2)
        with journal.lock:
            acknowledged = copy.deepcopy(journal.acknowledged)
        context.show(f"backup after {journal.count_acknowledged()} rows")
        world.run_command("backup", file)
        end = Deadline(context.seconds / 2)
        while not end.has_passed():
            time.sleep(0.2)
        load.stopping.set()
        serve = psutil.Process(world.service.process.pid)
        for process in [serve, *serve.children(recursive=True)]:
            kill(process)
        world.service.process.wait()
    world.engine.dispose()
    return acknowledged, token


def _has_enough_rows(journal: Journal) -> bool:
    return journal.count_acknowledged() > MIN_ROWS and journal.acknowledged.keys() >= NEEDED_ROWS


def restore(world: World, file: str) -> str:
    """Restore; repeated while PostgreSQL still has connections of processes that were killed."""
    deadline = Deadline(RESTORE_PATIENCE_S)
    while True:
        try:
            return world.run_command("restore", file, "--yes", "--replace")
        except RuntimeError:
            if deadline.has_passed():
                raise


def check_charges_held(world: World, charged: int) -> Check:
    count = len(world.stripe.charged_amounts()) - charged
    return Check("nobody is charged before the reconciliation", count == 0, f"{count} charges within {HELD_S:.0f} s")


def check_sessions(world: World, token: str) -> Check:
    status, _ = world.service.get("/v1/sessions/current", token)
    return Check("sessions from before the backup have ended", status == 401, f"status {status}")


def check_rows(world: World, acknowledged: dict[str, set[tuple]]) -> Check:
    journal = Journal(acknowledged={name: keys for name, keys in acknowledged.items() if name != "stopped streams"})
    with world.engine.connect() as connection:
        lost = list(acknowledged_rows_exist(connection, Known(journal, world.stripe)))
    figure = f"{journal.count_acknowledged()} rows; {describe(lost)}"
    return Check("every row acknowledged before the backup exists", not lost and bool(acknowledged), figure)


def check_single_charges(world: World) -> Check:
    """No customer is charged twice: each has one period to pay for, before and after the restore together."""
    intents = [intent for intent in list(world.stripe.intents.values()) if intent["status"] == "succeeded"]
    counts = Counter(intent["customer"] for intent in intents)
    twice = [f"{customer} was charged {count} times" for customer, count in counts.items() if count > 1]
    return Check("nothing is billed twice", not twice and bool(counts), f"{len(counts)} customers; {describe(twice)}")


def check_books(world: World) -> list[Check]:
    with world.engine.connect() as connection:
        broken = list(ledger_matches_invoices(connection, Known(Journal(), world.stripe)))
    with world.app_context():
        differences = [str(difference) for difference in audit_billing(datetime.now(UTC))]
    return [
        Check("Σ ledger = Σ invoices - credits", not broken, describe(broken)),
        Check("the audit of the books finds nothing", not differences, describe(differences)),
    ]


PHASE = Phase(
    "restore",
    "a backup under load, every process killed, the backup restored and reconciled",
    run,
    {
        "no_restore_hold": "nobody is charged before the reconciliation",
        "kept_service_epoch": "sessions from before the backup have ended",
        "forgetful_backup": "every row acknowledged before the backup exists",
    },
    weight=1,
    plant_s=20,
    fixed_s=90,
)
