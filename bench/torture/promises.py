"""What the service promises, and the phases or commands that would show it broken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """`phases` show it, by these of their checks (all, if none is named) and planted faults; or a `command` does."""

    name: str
    phases: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    """The beginnings of their names."""
    plants: tuple[str, ...] = ()
    command: str = ""
    plant: str = ""
    """About the planted fault, where no phase plants one."""
    reason: str = ""
    """Why no phase shows it."""

    def concerns(self, plant: str) -> bool:
        return not self.plants or plant in self.plants

    def covers(self, check: str) -> bool:
        return not self.checks or check.startswith(self.checks)


CHARGE = ("cash = the provider's journal", "≤ 1 charge per subscription and period")
IN_ITS_TESTS = "in its own tests"
PROMISES: tuple[Promise, ...] = (
    Promise("No double charge under retries", ("races",), ("one ", "another body", "no 5xx"), ("ignored_key",)),
    Promise(
        "No double charge under crashes",
        ("kills", "crashes"),
        (*CHARGE, "the tests"),
        ("new_provider_key", "new_sandbox_key"),
    ),
    Promise(
        "A renewal runs once", ("renewals", "kills"), ("the tests", CHARGE[1]), ("new_sandbox_key", "new_provider_key")
    ),
    Promise(
        "No acknowledged write is lost", ("kills", "database"), ("every acknowledged",), ("lost_commit", "async_commit")
    ),
    Promise("Isolation: slots never exceed the plan", ("races", "kills"), ("slots",), ("one_slot_more",)),
    Promise(
        "SQLite does not say “locked”", ("races",), ("no request fails because", "p99 of writes"), ("deferred_begin",)
    ),
    Promise("Revocation is immediate in every process", ("revocation",)),
    Promise("Credential stuffing gets no session", ("stuffing",)),
    Promise("Accounts cannot be enumerated", ("enumeration",), command="`python -m bench.timing`"),
    Promise("Malformed input is never a 5xx", ("malformed", "slow"), ("the command", "malformed"), ("its own",)),
    Promise(
        "The tests notice changes",
        command="`make mutate AREA=…`",
        plant="each change is one",
        reason="an hour by itself; 95 % of the changes must be noticed",
    ),
    Promise("Nobody gets what is another's", ("access",)),
    Promise("No SQL is built from input", ("inputs",), plants=("none",), plant=IN_ITS_TESTS),
    Promise("No member is set that a schema does not name", ("inputs",)),
    Promise("Oversized and slow requests hold nobody up", ("slow",)),
    Promise(
        "A database outage of ten seconds",
        ("database",),
        ("503", "a write", "/", "recovery", "reads", "no web"),
        ("no_hang_watchdog", "patient_lock"),
    ),
    Promise(
        "Failover to a replica",
        command="`make scale`",
        plant="–",
        reason="it takes two servers, which `make scale` and `tests/faults/test_failover.py` start and kill",
    ),
    Promise("A full disk loses nothing", ("disk",)),
    Promise("Processes that die are replaced", ("kills",), ("the service recovers", "every request"), ("lost_commit",)),
    Promise("A reload fails no request", ("reload",), ("no request fails during reloads",), ("hard_reload",)),
    Promise(
        "A migration under load",
        ("reload",),
        ("no request fails during migr", "p99", "slowest", "one of"),
        ("long_lock",),
    ),
    Promise("Billing by the calendar", ("calendar",)),
    Promise("Webhooks in: repeated, in any order", ("events",)),
    Promise("Webhooks out: none lost, none twice under two ids", ("webhooks",)),
    Promise(
        "Backup and restore",
        ("restore",),
        plants=("no_restore_hold", "kept_service_epoch", "forgetful_backup"),
    ),
    Promise("Health endpoints are honest", ("disk", "database"), ("/readyz", "/livez"), ("lying_readiness",)),
    Promise("No secret is stored or logged", ("secrets",)),
    Promise(
        "Soak",
        command="`--only kills --minutes 480`",
        plant="those of `kills`",
        reason="eight hours; the same load and checks as `kills`",
    ),
    Promise("A lease that ran out acts no more", ("stopped", "leases")),
    Promise("A slow peer slows nobody else", ("peers",)),
    Promise("A clock that jumps charges nobody", ("clocks",)),
    Promise("Access is paid for", ("greedy",), plant=IN_ITS_TESTS),
    Promise("A recovery gives the account to its owner alone", ("recovery",)),
    Promise("A grant opens one title, while it plays", ("grants",)),
    Promise(
        "The fast path is the slow path",
        command="`make test`",
        plant=IN_ITS_TESTS,
        reason="the tests send every hot read to Flask as well, and compare both responses",
    ),
)
