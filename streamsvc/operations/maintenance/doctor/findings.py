"""What a check of the doctor returns, the list of all checks, and how they are run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from streamsvc.storage.database import db

OK, WARNING, ERROR = "ok", "warning", "error"
EXIT_CODES = {OK: 0, WARNING: 1, ERROR: 2}
QUICK_BUDGET_S = 20.0
"""No check begins later than this in a quick run."""
MAX_EXAMPLES = 3


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
_checks: dict[str, tuple[Check, bool]] = {}


def doctor_check(name: str, full_only: bool = False) -> Callable[[Check], Check]:
    """Register a check; one that is `full_only` reads whole tables and is left out of a quick run."""

    def register(function: Check) -> Check:
        _checks[name] = function, full_only
        return function

    return register


def run_checks(full: bool) -> Iterator[CheckResult]:
    """Run the checks one after another. One that cannot be made is an error, and does not stop the others."""
    deadline = time.monotonic() + QUICK_BUDGET_S
    for name, (check, is_full_only) in _checks.items():
        if is_full_only and not full:
            continue
        if not full and time.monotonic() > deadline:
            finding = Finding(WARNING, "not checked: the others took too long", "Run `streamsvc doctor --full`.")
        else:
            finding = _run_check(check)
        yield CheckResult(finding.status, finding.message, finding.advice, name)


def _run_check(check: Check) -> Finding:
    try:
        return check()
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return Finding(ERROR, f"cannot be checked: {reason}", "Make sure that the database runs and is migrated.")
    except Exception as error:
        return Finding(ERROR, f"cannot be checked: {error!r}", "Report this as a bug unless the message explains it.")
    finally:
        db.session.rollback()


def count_finding(names: list[str], healthy: str, what: str, advice: str, status: str = ERROR) -> Finding:
    """Return ok if there are no names; else their number, what is wrong with them, the first few, and the advice."""
    if not names:
        return Finding(OK, healthy)
    more = ", …" if len(names) > MAX_EXAMPLES else ""
    return Finding(status, f"{len(names):,} {what}: {', '.join(names[:MAX_EXAMPLES])}{more}", advice)
