"""Phases that are tests and benchmarks of their own: they pass as they are, and fail with a planted fault."""

import os
import subprocess
import sys

from bench.servers import ROOT, environment_without_settings
from bench.torture.core import Check, Context, Phase
from bench.torture.world import PLANTED

TIMEOUT_S = 900
FAILED_TESTS = 1
"""pytest's exit status if tests failed; others mean that they could not run."""
PASSES, FINDS = "the tests pass", "the command finds nothing"


BOTH, SQLITE = ("sqlite", "postgresql"), ("sqlite",)


def test_phase(
    name: str, summary: str, nodes: str, plant: str = "", plant_nodes: str = "", databases=BOTH, takes_s=20, **env: str
) -> Phase:
    """A phase that runs tests; with the planted fault, one of `plant_nodes` must fail.

    `takes_s`: how many seconds it needs on two idle cores. `env`: STREAMSVC_TEST_… .
    """

    def run(context: Context) -> list[Check]:
        chosen = (plant_nodes or nodes) if context.plant else nodes
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *chosen.split()]
        variables = {f"STREAMSVC_TEST_{key}": value for key, value in env.items()}
        status, output = run_command(context, command, STREAMSVC_TEST_DATABASES=context.database, **variables)
        passed = status == 0 or (bool(context.plant) and status != FAILED_TESTS)
        return [Check(PASSES, passed, output[-1] if output else f"status {status}")]

    plants = {plant: PASSES} if plant else {}
    return Phase(name, summary, run, plants, weight=0.01, plant_s=5, databases=databases, fixed_s=takes_s)


def bench_phase(
    name: str, summary: str, command: str, plant_command: str, databases: tuple[str, ...], takes_s: float = 50
) -> Phase:
    """A phase that runs a benchmark, which plants its own fault with `plant_command` and says whether it found it."""

    def run(context: Context) -> list[Check]:
        words = (plant_command if context.plant else command).split()
        words += ["--database", context.database]
        status, output = run_command(context, [sys.executable, "-m", *words])
        passed = status != 0 if context.plant else status == 0
        return [Check(FINDS, passed, summarize(output))]

    return Phase(name, summary, run, {"its own": FINDS}, weight=0.01, plant_s=10, databases=databases, fixed_s=takes_s)


def run_command(context: Context, command: list[str], **env: str) -> tuple[int, list[str]]:
    """(exit status, lines of the output) of a command in the repository, with the fault that the context plants."""
    context.show(" ".join(command[2:])[:100])
    variables = environment_without_settings() | env
    variables |= {"PYTHONPATH": os.pathsep.join([str(PLANTED), str(ROOT)]), "TORTURE_PLANT": context.plant}
    result = subprocess.run(
        command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return result.returncode, [line for line in result.stdout.splitlines() if line.strip()]


def summarize(output: list[str]) -> str:
    """The last lines that say something in words."""
    return "; ".join(output[-2:])[-300:]


PHASES = [
    test_phase(
        "renewals",
        "four workers renew 1,000 subscriptions, and one is killed every second",
        "tests/faults/test_workers.py",
        "new_sandbox_key",
        RENEWALS="1000",
        KILL_EVERY_S="1",
        takes_s=60,
    ),
    test_phase(
        "crashes",
        "a process is killed around every commit of subscribing, renewing, changing, refunding and paying out",
        "tests/faults/test_crashes.py",
        "new_sandbox_key",
        "tests/faults/test_crashes.py -k Subscribing",
    ),
    test_phase(
        "leases",
        "a request and a job that lost their lease act no more",
        "tests/service/test_idempotency.py tests/service/test_jobs.py",
        "unfenced_lease",
        "tests/service/test_idempotency.py",
    ),
    test_phase(
        "access",
        "every principal at every route, and the ids of others",
        "tests/service/test_access.py",
        "foreign_rows",
        "tests/service/test_access.py -k look_exactly_like",
    ),
    test_phase(
        "inputs",
        "members that no schema names, and SQL in every text",
        "tests/service/test_mass_assignment.py",
        "ignored_unknown",
        "tests/service/test_mass_assignment.py -k does_not_name",
        databases=SQLITE,
    ),
    test_phase(
        "enumeration",
        "unknown, locked, disabled and deleted accounts look and cost the same",
        "tests/sessions/test_enumeration.py",
        "no_dummy_hash",
        databases=SQLITE,
    ),
    test_phase(
        "calendar",
        "every start day and interval",
        "tests/rules/test_billing_calendar.py tests/rules/test_billing_anchor.py tests/rules/test_billing_cases.py",
        "short_months",
        databases=SQLITE,
    ),
    test_phase(
        "events",
        "events of the payment provider: repeated, forged, in any order",
        "tests/subscriptions/test_stripe_events.py tests/subscriptions/test_payments_stripe.py",
        "unsigned_events",
        "tests/subscriptions/test_payments_stripe.py",
        databases=SQLITE,
    ),
    test_phase(
        "webhooks",
        "webhook deliveries: retried under one id, none of a rolled-back transaction, none to private addresses",
        "tests/service/test_webhooks_out.py",
        "new_event_id",
        databases=SQLITE,
    ),
    test_phase(
        "secrets",
        "no secret of a response is stored",
        "tests/service/test_stored_secrets.py",
        "stored_secret",
        databases=SQLITE,
    ),
    test_phase(
        "greedy",
        "30 greedy lives and 30 others, and eight threads on one account",
        "tests/subscriptions/test_greedy_lives.py tests/subscriptions/test_billing_lives.py",
        GREEDY_LIVES="30",
        LIVES="30",
        RACE_S="10",
        takes_s=120,
    ),
    test_phase(
        "recovery",
        "an owner and an intruder in random order",
        "tests/sessions/test_owner_and_intruder.py",
        "kept_sessions",
        "tests/sessions/test_owner_and_intruder.py::test_sequences_that_once_let_the_intruder_stay",
        TAKEOVERS="20",
        takes_s=50,
    ),
    test_phase(
        "grants",
        "playback tokens: forged, of other media, after their stream",
        "tests/playback/test_playback_tokens.py tests/rules/test_playback_tokens.py",
        "open_grant",
        "tests/playback/test_playback_tokens.py",
        databases=SQLITE,
    ),
    test_phase(
        "playback",
        "races of starts on one account, and an evening of viewers whose devices have wrong clocks",
        "tests/playback/test_playback_slots.py tests/playback/test_evening.py",
        ROUNDS="200",
        takes_s=150,
    ),
    test_phase(
        "upgrades",
        "rows of every revision survive the upgrade, and four nodes migrate at once",
        "tests/service/test_upgrades.py",
        MIGRATIONS="every",
        takes_s=120,
    ),
    test_phase(
        "connections",
        "PgBouncer in transaction mode, and what a crash of PostgreSQL may lose",
        "tests/faults/test_pgbouncer.py tests/faults/test_durability.py",
        databases=("postgresql",),
    ),
    bench_phase(
        "revocation",
        "revoked credentials under eight clients, reloads and crashes",
        "bench.revocation --rounds 160 --shake-every 20",
        "bench.revocation --rounds 16 --shake-every 100 --plant",
        BOTH,
        takes_s=80,
    ),
    bench_phase(
        "malformed",
        "malformed requests to every operation, and over TCP",
        "bench.malformed --requests 2000 --wire-requests 300",
        "bench.malformed --requests 1000 --wire-requests 10 --plant",
        BOTH,
    ),
    bench_phase(
        "stuffing",
        "stolen passwords from a thousand addresses",
        "bench.stuffing --attempts 4000",
        "bench.stuffing --attempts 4000 --plant no-step-up",
        SQLITE,
        takes_s=200,
    ),
]
