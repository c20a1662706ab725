"""python -m bench.timing: does the time of an answer tell whether somebody has an account?

For sign-in, reset and magic link, the same question is asked about an address that nobody has and about an account in
some state, interleaved, the order of each pair by chance, each pair about somebody else; then, in the same way, for
the second time. Told are the median of the differences and its 90 % interval (by order statistics, which assume
nothing about how times are spread), and how often one answer alone would tell them apart (AUC; 0.5 is a coin). Asked
within this process: the network would only hide more. Processor time is what counts where the machine has other work
to do, since that does not count in it; the clock's time stands beside it.

With --plant, no hash is computed for addresses that nobody has (`no-hash`), or an account costs 2 ms more (`2ms`).
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
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from bench import people, report
from bench.__main__ import database
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import MailedToken, TotpFactor
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import password_hashing
from streamsvc.settings import Settings
from streamsvc.storage.database import db, new_id
from tests.conftest import CHEAP_HASHING

WITHIN_MS, AUC_WITHIN = 1.0, (0.48, 0.52)
WARM_UP = 50
STATES = {
    "wrong password": {},
    "verified": {"email_verified_at": people.datetime.now(people.UTC)},
    "disabled": {"status": "disabled"},
    "no password": {"password_hash": None},
    "deleted": {"status": "deleted"},
    "second factor": {},
}
NOBODY = "nobody"
GUESS, LONGEST = "a wrong guess 7", "x" * 1024
QUESTIONS = {
    "sign-in": (list(STATES), "/v1/sessions", {"password": GUESS}, 2),
    "sign-in, 1,024 bytes": (["wrong password"], "/v1/sessions", {"password": LONGEST}, 1),
    "sign-in, no password": (["wrong password"], "/v1/sessions", {"password": ""}, 1),
    "reset": (list(STATES), "/v1/password-resets", {}, 2),
    "magic link": (["wrong password", "disabled"], "/v1/magic-links", {}, 2),
}
"""What is asked: of which states, where, with what besides the address, and how often of the same."""


@dataclass
class Pairs:
    """Seconds that it took, of account and nobody; by processor and by clock."""

    account: list = field(default_factory=list)
    nobody: list = field(default_factory=list)

    def differences_ms(self, which: int) -> list[float]:
        return sorted((a[which] - n[which]) * 1e3 for a, n in zip(self.account, self.nobody, strict=True))

    def auc(self, which: int) -> float:
        """How often a time of the account's is above one of nobody's; ties count half."""
        others = sorted(n[which] for n in self.nobody)
        above = sum(bisect_left(others, a[which]) + bisect_right(others, a[which]) for a in self.account)
        return above / 2 / len(others) / len(self.account)


def interval(ordered: list[float]) -> tuple[float, float, float]:
    """(lower, median, upper): the median and its 90 % interval."""
    middle, half = len(ordered) / 2, 1.645 * math.sqrt(len(ordered)) / 2
    low, high = ordered[max(0, math.floor(middle - half))], ordered[min(len(ordered) - 1, math.ceil(middle + half))]
    return low, statistics.median(ordered), high


def plant(which):
    honest = password_hashing.HashingPermit.verify_password

    def no_hash(place, kept, password):
        return honest(place, kept, password) if kept else False

    def slower(place, kept, password):
        found, until = honest(place, kept, password), time.perf_counter() + (0.002 if kept else 0)
        while time.perf_counter() < until:
            pass
        return found

    password_hashing.HashingPermit.verify_password = {"no-hash": no_hash, "2ms": slower}[which]


def settle(count) -> None:
    """So many accounts in each state, as rows."""
    kept = password_hashing.hash_password("their own word 7")
    for state, more in STATES.items():
        rows = people.accounts((name_of(state, n) for n in range(count)), **({"password_hash": kept} | more))
        people.keep(rows)
        if state == "second factor":
            now = rows[0]["created_at"]
            factors = [
                {"account_id": row["id"], "secret_encrypted": "x", "created_at": now, "confirmed_at": now}
                for row in rows
            ]
            db.session.execute(sa.insert(TotpFactor), factors)
            db.session.commit()


def name_of(state, number) -> str:
    return f"{state.replace(' ', '-')}{number}"


class Asking:
    def __init__(self, app, chance):
        self.client, self.chance, self.addresses = app.test_client(use_cookies=False), chance, itertools.count()

    def spent_s(self, send) -> tuple[float, float]:
        began, clock = time.process_time(), time.perf_counter()
        send()
        return time.process_time() - began, time.perf_counter() - clock

    def post(self, path, body):
        number = next(self.addresses)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return self.client.post(path, json=body, environ_base={"REMOTE_ADDR": address})

    def pair(self, kept: Pairs, account, nobody):
        """Ask about both, in an order by chance."""
        turns = [(account, kept.account), (nobody, kept.nobody)]
        self.chance.shuffle(turns)
        for send, times in turns:
            times.append(self.spent_s(send))

    def about(self, state, question, count) -> list[Pairs]:
        """The pairs of the first time, and of the second where that is asked."""
        _, path, more, often = QUESTIONS[question]
        kept = [Pairs() for _ in range(often)]
        mark = hashlib.sha256(f"{state}{question}".encode()).hexdigest()[:6]

        def send(name):
            return lambda: self.post(path, {"email": f"{name}@bench.example"} | more)

        for number in range(count):
            account, nobody = send(name_of(state, number)), send(f"{NOBODY}{mark}{number}")
            for pairs in kept:
                self.pair(pairs, account, nobody)
        return [Pairs(p.account[WARM_UP:], p.nobody[WARM_UP:]) for p in kept]


def used_tokens(count) -> list[str]:
    """So many that somebody has used."""
    now = people.datetime.now(people.UTC)
    row = people.accounts(["verifier"], None)[0]
    people.keep([row])
    tokens = [f"used{number}" for number in range(count)]
    common = {"kind": "email_verification", "account_id": row["id"], "email": row["email"], "created_at": now}
    common |= {"expires_at": now + people.NO_WINDOW_CLOSES, "used_at": now}
    proofs = [common | {"id": new_id("prf"), "data": {}, "token_hash": hash_token(token)} for token in tokens]
    db.session.execute(sa.insert(MailedToken), proofs)
    db.session.commit()
    return tokens


def verification(asking, tokens) -> Pairs:
    """A token that was used against one that was made up."""
    kept = Pairs()

    def send(token):
        return lambda: asking.client.put(
            "/v1/email-verifications",
            json={"token": token},
            environ_base={"REMOTE_ADDR": f"11.{next(asking.addresses) >> 6 & 255}.1.1"},
        )

    for token in tokens:
        asking.pair(kept, send(token), send("made" + token[4:]))
    return Pairs(kept.account[WARM_UP:], kept.nobody[WARM_UP:])


def row_of(question, state, time_, pairs) -> tuple[tuple[str, ...], bool]:
    (low, median, high), (_, wall, _) = (interval(pairs.differences_ms(which)) for which in (0, 1))
    auc = pairs.auc(0)
    holds = low > -WITHIN_MS and high < WITHIN_MS and AUC_WITHIN[0] <= auc <= AUC_WITHIN[1]
    about = f"{median:+.3f} ({low:+.3f} to {high:+.3f})"
    spent = statistics.median(a[0] for a in pairs.nobody) * 1e3
    shown = (question, state, time_, f"{spent:.2f}", about, f"{auc:.3f}", f"{wall:+.2f}", f"{pairs.auc(1):.3f}")
    return (*shown, "yes" if holds else "NO"), holds


HEAD = ("asked", "about", "time", "ms", "median difference, ms", "AUC", "clock, ms", "AUC", "holds")


def measure(app, asked, chance) -> Iterator[tuple[tuple[str, ...], bool]]:
    asking = Asking(app, chance)
    wanted = [(q, s) for q in QUESTIONS if q.startswith(asked.only) for s in QUESTIONS[q][0]]
    gc.freeze()
    with progress_bar(len(wanted), "Pairs") as bar:
        for question, state in wanted:
            for number, pairs in enumerate(asking.about(state, question, asked.pairs + WARM_UP)):
                yield row_of(question, state, ("first", "second")[number], pairs)
            bar.update(1)
    if "verification".startswith(asked.only):
        with app.app_context():
            tokens = used_tokens(asked.pairs + WARM_UP)
        yield row_of("verification", "a used token", "", verification(asking, tokens))


def arguments():
    parser = argparse.ArgumentParser("python -m bench.timing", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (one is started)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", default="", help="questions that begin so: " + ", ".join((*QUESTIONS, "verification"))
    )
    parser.add_argument("--cheap", action="store_true", help="hashes of next to no cost: less time, and it hides less")
    parser.add_argument("--plant", choices=("no-hash", "2ms"), help="it must be found")
    return parser.parse_args()


def main():
    asked = arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(database(asked.database, folder))
        costs = CHEAP_HASHING if asked.cheap else {}
        settings = Settings(database_url=url, secret_key=("a secret for measuring alone, long enough",), **costs)
        app = create_app(settings.with_defaults())
        with app.app_context():
            flask_migrate.upgrade()
            settle(asked.pairs + WARM_UP)
            db.session.remove()
        if asked.plant:
            plant(asked.plant)
        hash_told = "cheap" if asked.cheap else "real"
        print(f"{report.machine()}\n{asked.database}, {asked.pairs} pairs, {hash_told} hashes, seed {asked.seed}")
        rows, all_hold = [], True
        for shown, holds in measure(app, asked, random.Random(asked.seed)):
            print("  ".join(shown), file=sys.stderr, flush=True)  # whoever stops it has these
            rows.append(shown)
            all_hold = all_hold and holds
        print(report.table([HEAD, *rows]))
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
    sys.exit(all_hold if asked.plant else not all_hold)


if __name__ == "__main__":
    main()
