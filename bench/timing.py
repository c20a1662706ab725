"""python -m bench.timing: check that response times do not reveal whether an account exists.

For sign-in, password reset and magic link, the same request is sent for an address without an account and for an
account in some state, interleaved, in random order within each pair, each pair with another account; some requests are
then repeated for the same pair. The report has the median of the differences with its 90 % interval (by order
statistics, which assume nothing about the distribution of the times), and how well a single response would tell the two
apart (AUC; 0.5 is a coin toss). The requests are WSGI calls in this process: a network would only hide more. Processor
time is what counts, since other load on the machine does not affect it; wall-clock time is reported beside it.

With --plant, no hash is computed for an address without an account (`no-hash`), or an account costs 2 ms more (`2ms`).
"""

import argparse
import gc
import hashlib
import itertools
import math
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from bench import accounts, report
from bench.__main__ import create_database
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import MailedToken, TotpFactor
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import password_hashing
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id
from tests.conftest import CHEAP_HASHING

MAX_DIFFERENCE_MS, AUC_RANGE = 1.0, (0.48, 0.52)
WARM_UP = 50
STATES = {
    "wrong password": {},
    "verified": {"email_verified_at": datetime.now(UTC)},
    "disabled": {"status": "disabled"},
    "no password": {"password_hash": None},
    "deleted": {"status": "deleted"},
    "second factor": {},
}
UNKNOWN = "nobody"
GUESS, LONG_PASSWORD = "a wrong guess 7", "x" * 1024
REQUESTS = {
    "sign-in": (list(STATES), "/v1/sessions", {"password": GUESS}, 2),
    "sign-in, 1,024 bytes": (["wrong password"], "/v1/sessions", {"password": LONG_PASSWORD}, 1),
    "sign-in, no password": (["wrong password"], "/v1/sessions", {"password": ""}, 1),
    "reset": (list(STATES), "/v1/password-resets", {}, 2),
    "magic link": (["wrong password", "disabled"], "/v1/magic-links", {}, 2),
}
"""Name → (account states, path, body besides the email, how often each pair is measured)."""


@dataclass
class PairedTimes:
    """(processor, wall-clock) seconds of the requests for accounts and for unknown addresses, pair by pair.

    `clock` in the methods: 0 for processor time, 1 for wall-clock time.
    """

    account: list = field(default_factory=list)
    unknown: list = field(default_factory=list)

    def differences_ms(self, clock: int) -> list[float]:
        return sorted((a[clock] - u[clock]) * 1e3 for a, u in zip(self.account, self.unknown, strict=True))

    def auc(self, clock: int) -> float:
        """The share of all combinations in which the account took longer; ties count half."""
        unknown = sorted(u[clock] for u in self.unknown)
        longer = sum(bisect_left(unknown, a[clock]) + bisect_right(unknown, a[clock]) for a in self.account)
        return longer / 2 / len(unknown) / len(self.account)


def median_interval(ordered: list[float]) -> tuple[float, float, float]:
    """(lower, median, upper): the median of sorted values and its 90 % interval."""
    middle, half = len(ordered) / 2, 1.645 * math.sqrt(len(ordered)) / 2
    low, high = ordered[max(0, math.floor(middle - half))], ordered[min(len(ordered) - 1, math.ceil(middle + half))]
    return low, statistics.median(ordered), high


def plant_bug(name):
    """Replace the password check with one that has a timing difference, which the run must find."""
    verify_password = password_hashing.HashingPermit.verify_password

    def no_hash(permit, stored, password):
        return verify_password(permit, stored, password) if stored else False

    def slower(permit, stored, password):
        result, until = verify_password(permit, stored, password), time.perf_counter() + (0.002 if stored else 0)
        while time.perf_counter() < until:
            pass
        return result

    password_hashing.HashingPermit.verify_password = {"no-hash": no_hash, "2ms": slower}[name]


def create_accounts(count) -> None:
    """Insert `count` accounts in each state."""
    password_hash = password_hashing.hash_password("their own word 7")
    for state, columns in STATES.items():
        names = (account_name(state, number) for number in range(count))
        rows = accounts.account_rows(names, **({"password_hash": password_hash} | columns))
        accounts.insert_rows(rows)
        if state == "second factor":
            now = rows[0]["created_at"]
            factors = [
                {"account_id": row["id"], "secret_encrypted": "x", "created_at": now, "confirmed_at": now}
                for row in rows
            ]
            db.session.execute(sa.insert(TotpFactor), factors)
            db.session.commit()


def account_name(state, number) -> str:
    return f"{state.replace(' ', '-')}{number}"


class PairMeasurement:
    """Sends the requests of a pair in random order, each from an address of its own, and measures them."""

    def __init__(self, app, rng):
        self.client, self.rng, self.address_numbers = app.test_client(use_cookies=False), rng, itertools.count()

    def post(self, path, body):
        number = next(self.address_numbers)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return self.client.post(path, json=body, environ_base={"REMOTE_ADDR": address})

    def measure_pair(self, times: PairedTimes, send_account, send_unknown):
        requests = [(send_account, times.account), (send_unknown, times.unknown)]
        self.rng.shuffle(requests)
        for send, measured in requests:
            started, wall_started = time.process_time(), time.perf_counter()
            send()
            measured.append((time.process_time() - started, time.perf_counter() - wall_started))

    def measure_request(self, name, state, count) -> list[PairedTimes]:
        """Measure `count` pairs of the request; returns their first times, and their second ones if repeated."""
        _, path, fields, repetitions = REQUESTS[name]
        results = [PairedTimes() for _ in range(repetitions)]
        mark = hashlib.sha256(f"{state}{name}".encode()).hexdigest()[:6]

        def sender(local_part):
            return lambda: self.post(path, {"email": f"{local_part}@bench.example"} | fields)

        for number in range(count):
            account, unknown = sender(account_name(state, number)), sender(f"{UNKNOWN}{mark}{number}")
            for times in results:
                self.measure_pair(times, account, unknown)
        return [drop_warm_up(times) for times in results]


def drop_warm_up(times: PairedTimes) -> PairedTimes:
    return PairedTimes(times.account[WARM_UP:], times.unknown[WARM_UP:])


def create_used_tokens(count) -> list[str]:
    """Insert `count` verification tokens that have been used."""
    now = datetime.now(UTC)
    row = accounts.account_rows(["verifier"], None)[0]
    accounts.insert_rows([row])
    tokens = [f"used{number}" for number in range(count)]
    common = {"kind": "email_verification", "account_id": row["id"], "email": row["email"], "created_at": now}
    common |= {"expires_at": now + accounts.ONE_DAY, "used_at": now}
    rows = [common | {"id": new_id("prf"), "data": {}, "token_hash": hash_token(token)} for token in tokens]
    db.session.execute(sa.insert(MailedToken), rows)
    db.session.commit()
    return tokens


def measure_verification(measurement, tokens) -> PairedTimes:
    """Measure used tokens against made-up ones."""
    times = PairedTimes()

    def sender(token):
        return lambda: measurement.client.put(
            "/v1/email-verifications",
            json={"token": token},
            environ_base={"REMOTE_ADDR": f"11.{next(measurement.address_numbers) >> 6 & 255}.1.1"},
        )

    for token in tokens:
        measurement.measure_pair(times, sender(token), sender("made" + token[4:]))
    return drop_warm_up(times)


def report_row(request, state, time_, times) -> tuple[tuple[str, ...], bool]:
    """(cells, whether the bounds hold)."""
    (low, median, high), (_, wall, _) = (median_interval(times.differences_ms(clock)) for clock in (0, 1))
    auc = times.auc(0)
    holds = low > -MAX_DIFFERENCE_MS and high < MAX_DIFFERENCE_MS and AUC_RANGE[0] <= auc <= AUC_RANGE[1]
    difference = f"{median:+.3f} ({low:+.3f} to {high:+.3f})"
    unknown_ms = statistics.median(u[0] for u in times.unknown) * 1e3
    cells = (
        request,
        state,
        time_,
        f"{unknown_ms:.2f}",
        difference,
        f"{auc:.3f}",
        f"{wall:+.2f}",
        f"{times.auc(1):.3f}",
    )
    return (*cells, "yes" if holds else "NO"), holds


HEADER = ("request", "account", "time", "ms", "median difference, ms", "AUC", "wall clock, ms", "AUC", "holds")


def measure_all(app, options, rng) -> Iterator[tuple[tuple[str, ...], bool]]:
    measurement = PairMeasurement(app, rng)
    selected = [(name, state) for name in REQUESTS if name.startswith(options.only) for state in REQUESTS[name][0]]
    gc.freeze()
    with progress_bar(len(selected), "Pairs") as bar:
        for name, state in selected:
            results = measurement.measure_request(name, state, options.pairs + WARM_UP)
            for number, times in enumerate(results):
                yield report_row(name, state, ("first", "second")[number], times)
            bar.update(1)
    if "verification".startswith(options.only):
        with app.app_context():
            tokens = create_used_tokens(options.pairs + WARM_UP)
        yield report_row("verification", "a used token", "", measure_verification(measurement, tokens))


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench.timing", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (started for the run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only",
        default="",
        help="only requests whose name starts with this: " + ", ".join((*REQUESTS, "verification")),
    )
    parser.add_argument("--cheap", action="store_true", help="use nearly free hashes: a faster run, and they hide less")
    parser.add_argument("--plant", choices=("no-hash", "2ms"), help="add this timing difference: the run must find it")
    return parser.parse_args()


def main():
    options = parse_arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(create_database(options.database, folder))
        hash_costs = CHEAP_HASHING if options.cheap else {}
        settings = Settings(database_url=url, secret_key=("a secret for benchmarks, long enough",), **hash_costs)
        app = create_app(settings.with_defaults())
        with app.app_context():
            flask_migrate.upgrade()
            create_accounts(options.pairs + WARM_UP)
            db.session.remove()
        if options.plant:
            plant_bug(options.plant)
        hashes = "cheap" if options.cheap else "real"
        print(report.describe_machine())
        print(f"{options.database}, {options.pairs} pairs, {hashes} hashes, seed {options.seed}")
        rows, all_hold = [], True
        for cells, holds in measure_all(app, options, random.Random(options.seed)):
            print("  ".join(cells), file=sys.stderr, flush=True)  # in case the run is interrupted
            rows.append(cells)
            all_hold = all_hold and holds
        print(report.format_table([HEADER, *rows]))
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
    sys.exit(all_hold if options.plant else not all_hold)


if __name__ == "__main__":
    main()
