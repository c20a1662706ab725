"""What a check of the doctor returns, the list of all checks, and how they are run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import sqlalchemy as sa

from streamsvc.storage.database import db, fetch_all, fetch_existing, fetch_one

OK, SKIPPED, WARNING, ERROR = "ok", "skipped", "warning", "error"
EXIT_CODES = {OK: 0, SKIPPED: 0, WARNING: 1, ERROR: 2}
"""What is skipped depends on another check, which is an error."""
QUICK_BUDGET_S = 20.0
"""No check begins later than this in a quick run."""
MAX_EXAMPLES = 3
REACH_ADVICE = "Make sure that the database runs, and that STREAMSVC_DATABASE_URL names it."
_PREREQUISITES = {"database": 0, "schema": 1}
"""Checks that run first, in this order: others depend on them."""


@dataclass(frozen=True)
class Finding:
    """The result of one check, in a sentence; `advice` says what to do unless it is ok."""

    status: str
    message: str
    advice: str = ""


@dataclass(frozen=True)
class CheckResult(Finding):
    """A finding with the name of its check."""

    check: str = ""


Check = Callable[[], Finding]


class RegisteredCheck(NamedTuple):
    """A check; one that is `full_only` reads whole tables and is left out of a quick run."""

    name: str
    run: Check
    full_only: bool
    needs_database: bool


_checks: list[RegisteredCheck] = []


def doctor_check(name: str, full_only: bool = False, needs_database: bool = True) -> Callable[[Check], Check]:
    """Register a check."""

    def register(function: Check) -> Check:
        _checks.append(RegisteredCheck(name, function, full_only, needs_database))
        return function

    return register


def run_checks(full: bool, module: ModuleType | None = None) -> Iterator[CheckResult]:
    """Run the checks one after another. One that cannot be made is an error, and does not stop the others.

    `module`: only the checks in it.
    """
    deadline, is_reachable, is_current = time.monotonic() + QUICK_BUDGET_S, True, True
    checks = [check for check in _checks if full or not check.full_only]
    checks = [check for check in checks if module is None or check.run.__module__ == module.__name__]
    for check in sorted(checks, key=lambda check: _PREREQUISITES.get(check.name, len(_PREREQUISITES))):
        if not full and time.monotonic() > deadline:
            finding = Finding(WARNING, "not checked: the others took too long", "Run `streamsvc doctor --full`.")
        elif check.needs_database and not is_reachable:
            finding = Finding(SKIPPED, "not checked: needs the database")
        else:
            finding = _run_check(check, is_current)
        is_reachable = is_reachable and finding.advice != REACH_ADVICE
        is_current = is_current and (check.name != "schema" or finding.status == OK)
        yield CheckResult(finding.status, finding.message, finding.advice, check.name)


def _run_check(check: RegisteredCheck, is_schema_current: bool) -> Finding:
    try:
        return check.run()
    except sa.exc.SQLAlchemyError as error:
        db.session.rollback()
        is_reachable = _is_database_reachable()
        if is_reachable and not is_schema_current:
            return Finding(SKIPPED, "not checked: needs the current schema")
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        advice = "Report this as a bug unless the message explains it." if is_reachable else REACH_ADVICE
        return Finding(ERROR, f"cannot be checked: {reason}", advice)
    except Exception as error:
        return Finding(ERROR, f"cannot be checked: {error!r}", "Report this as a bug unless the message explains it.")
    finally:
        db.session.rollback()


def _is_database_reachable() -> bool:
    """Whether the database responds: an error of a statement may have another cause."""
    try:
        return fetch_one(sa.text("SELECT 1")) is not None
    except sa.exc.SQLAlchemyError:
        return False


class Found(NamedTuple):
    """How many there are, and the first few of their names."""

    total: int
    names: list[str]


def count_rows(statement: sa.Select) -> Found:
    """Count the rows of a statement that selects names."""
    count = fetch_existing(sa.select(sa.func.count()).select_from(statement.order_by(None).subquery()))[0]
    return Found(count, [" ".join(row) for row in fetch_all(statement.limit(MAX_EXAMPLES))] if count else [])


def count_finding(found: Found | list[str], healthy: str, what: str, advice: str, status: str = ERROR) -> Finding:
    """Return ok if nothing was found; else how many, what is wrong with them, the first few, and the advice."""
    count, names = found if isinstance(found, Found) else (len(found), found[:MAX_EXAMPLES])
    if not count:
        return Finding(OK, healthy)
    more = ", …" if count > MAX_EXAMPLES else ""
    return Finding(status, f"{count:,} {what}: {', '.join(names)}{more}", advice)
