"""python -m bench.stuffing: a storm of stolen pairs against a service that real people use meanwhile.

20,000 accounts, 500 of them with a password off the lists that attackers share. First, five pairs for each account, the
right one among them for the 500, from 1,000 addresses behind the trusted proxy, while people sign in: on devices that
their account knows, and on new ones. Then the same from one address that claims another with each request. Then 50
guesses at a time at each of 1,000 victims, from ever new addresses; each victim comes home right after. Real gunicorn,
two processes, the hash's real parameters; the served app counts the hashes that it computes. --attempts scales it all.

Accounts are rows, not sign-ups, and those without a breached password share one hash: making 20,000 takes ten minutes
and shows nothing. --plant serves an app with a fault that the run must find.
"""

import argparse
import asyncio
import collections
import itertools
import os
import random
import secrets
import statistics
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import argon2
import psutil
import sqlalchemy as sa

from bench import people, report, servers
from bench.wire import Answer, Line
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import RateLimitCounter, Session
from streamsvc.operations.credentials import attempts
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_one

LINES = 64
PAIRS_EACH, ATTEMPTS_EACH_ADDRESS, GUESSES_EACH_VICTIM = 5, 100, 50
BREACHED_SHARE, KNOWN, NEW, SPOOFED, VICTIMS_SHARE = 40, 200, 50, 2_000, 20
PAUSE_S = {True: 0.3, False: 2.0}
"""Between two people who sign in, on known devices and on new ones."""
OWN = "the owner's own word 7"
COUNTED = "BENCH_HASHES"
HASHED = (201, 401)
"""Answers that took a hash."""


def served(plant=""):
    """The app, which leaves a byte in a file for each hash that it verifies."""
    tally, verify = os.open(os.environ[COUNTED], os.O_WRONLY | os.O_APPEND), argon2._password_hasher.verify_secret

    def counted(*details):
        os.write(tally, b".")
        return verify(*details)

    argon2._password_hasher.verify_secret = counted
    PLANTS[plant]()
    return create_app()


def no_step_up():
    password_hashing.is_listed_as_breached = lambda password: False


def hashes_first():
    look = attempts.SignInAttempt._test_limits

    def looked(attempt):
        try:
            look(attempt)
        except TooManyAttempts:
            password_hashing.verify_password(None, "whatever")
            raise

    attempts.SignInAttempt._test_limits = looked


def reads_first():
    """The counters as they are often written: looked at, then set."""

    def take(counters, limit, subject, solved=False):
        key, now_s = rate_limits.counter_key(limit, subject), rate_limits._now_s()
        kept = fetch_one(sa.select(RateLimitCounter.count).where(RateLimitCounter.key == key))
        count = kept.count + 1 if kept else 1
        if count > (limit.max_attempts if isinstance(limit, limits.RateLimit) else limit.free_attempts):
            raise TooManyAttempts(60)
        row = {"count": count, "until_s": now_s + 60}
        step = rate_limits.insert(RateLimitCounter).values(key=key, **row)
        counters._connection.execute(step.on_conflict_do_update(index_elements=["key"], set_=row))
        return count

    rate_limits.counter_transaction = unguarded
    rate_limits.Counters.hit = take


@contextmanager
def unguarded():
    """Counters whose statements are each a transaction of its own."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        yield rate_limits.Counters(connection)


PLANTS = {"": lambda: None, "no-step-up": no_step_up, "hashes-first": hashes_first, "reads-first": reads_first}


@dataclass
class Cast:
    """Who is there, by name: the accounts that the pairs are for, those with a breached password (and which), people
    who sign in on devices that their account knows (and which), people on new devices, victims."""

    names: list[str]
    breached: dict[str, str]
    devices: dict[str, str]
    on_known: list[str]
    on_new: list[str]
    victims: list[str]


def settle(chance, count) -> Cast:
    words = sorted(password_hashing._breached_passwords())
    names, victims = [f"user{n}" for n in range(count)], [f"victim{n}" for n in range(max(1, count // VICTIMS_SHARE))]
    chance.shuffle(names)
    breached = dict(zip(names, chance.sample(words, max(1, count // BREACHED_SHARE)), strict=False))
    rest = names[len(breached) :]
    rows = people.accounts(rest + victims, password_hashing.hash_password(OWN))
    devices = [people.device_of(row) for row in rows]
    known = {name: device["id"] for name, device in zip(rest + victims, devices, strict=True)}
    with progress_bar(len(breached), "Accounts with a breached password") as bar:
        for name, word in breached.items():
            rows += people.accounts([name], password_hashing.hash_password(word))
            bar.update(1)
    people.keep(rows, devices)
    return Cast(names, breached, known, rest[:KNOWN], rest[KNOWN : KNOWN + NEW], victims)


async def sign_in(line: Line, address: str, name: str, password: str, device_id: str | None = None) -> Answer:
    body = {"email": f"{name}@bench.example", "password": password}
    body["device"] = {"id": device_id, "name": "TV", "kind": "tv"} if device_id else {"name": "New", "kind": "phone"}
    return await line.ask("POST", "/v1/sessions", body, X_Forwarded_For=address)


async def storm(host: str, wanted, label: str, on_answer, persistent=False) -> int:
    """Send (address, name, password) as fast as LINES connections are answered; `on_answer(what, answer)`.

    The `persistent` try again what found a full house, until it is judged; how often they did.
    """
    waiting, again = collections.deque(wanted), 0
    with progress_bar(len(waiting), label) as bar:

        async def one(line):
            while waiting:
                what = waiting.popleft()
                answer = await sign_in(line, *what)
                if persistent and answer.status == 503:
                    nonlocal again
                    again += 1
                    waiting.append(what)
                else:
                    on_answer(what, answer)
                    bar.update(1)

        await asyncio.gather(*(one(Line(host)) for _ in range(LINES)))
    return again


@dataclass
class Told:
    """What attackers heard: how often each status, and of each subject how many were hashed, met a full house, or were
    right, which does not count against an address."""

    statuses: collections.Counter = field(default_factory=collections.Counter)
    let_by: collections.Counter = field(default_factory=collections.Counter)
    full: collections.Counter = field(default_factory=collections.Counter)
    right: collections.Counter = field(default_factory=collections.Counter)
    subjects: set = field(default_factory=set)

    def note(self, subject, answer):
        self.subjects.add(subject)
        self.statuses[answer.status] += 1
        self.let_by[subject] += answer.status in HASHED
        self.full[subject] += answer.status == 503
        self.right[subject] += b"second_factor_required" in answer.body

    @property
    def hashed(self) -> int:
        return self.let_by.total()

    def range(self) -> str:
        counts = [self.counted(subject) for subject in self.subjects]
        return f"{min(counts)}–{max(counts)} of each of {len(counts)}"

    def counted(self, subject) -> int:
        return self.let_by[subject] - self.right[subject]

    def is_never_above(self, limit: int) -> bool:
        return all(self.counted(one) <= limit for one in self.subjects)

    def is_exactly(self, limit: int, subjects=None) -> bool:
        """Whether as many were let by as may be; less those that met a full house at the end, never more."""
        subjects = self.subjects if subjects is None else subjects
        return self.is_never_above(limit) and all(limit - self.full[one] <= self.counted(one) for one in subjects)


async def stuffing(host, chance, cast, asked):
    """The pairs, while people sign in: what attackers heard, {on known devices?: what people heard}, and the addresses
    that tried nobody who comes on a new device, whose own door may be shut where the address's is not."""
    words = sorted(password_hashing._breached_passwords())
    pairs = [(name, word) for name in cast.names for word in chance.sample(words, PAIRS_EACH - 1)]
    pairs += [(name, cast.breached.get(name) or chance.choice(words)) for name in cast.names]
    chance.shuffle(pairs)
    addresses = [f"198.{18 + n // 250}.{n % 250}.7" for n in range(max(1, asked.attempts // ATTEMPTS_EACH_ADDRESS))]
    tried, wanted = collections.defaultdict(set), []
    for pair in pairs[: asked.attempts]:  # an address tries nobody twice, which would not count as one more of many
        address = next(a for a in chance.sample(addresses, len(addresses)) if pair[0] not in tried[a])
        tried[address].add(pair[0])
        wanted.append((address, *pair))
    plain = {a for a, names in tried.items() if not names & set(cast.on_new)}
    heard, homes = Told(), {True: [], False: []}
    over = asyncio.Event()
    coming = [asyncio.create_task(come(host, cast, known, homes[known], over)) for known in (True, False)]
    heard.statuses[503] = await storm(
        host, wanted, "Stolen pairs", lambda what, answer: heard.note(what[0], answer), persistent=True
    )
    over.set()
    await asyncio.gather(*coming)
    return heard, homes, plain


async def come(host, cast, known, answers, over):
    """Until it is over, people sign in, one after the other and not waiting for each other, each from an address of
    their own; whoever has begun is let finish."""
    who, at_once = cast.on_known if known else cast.on_new, set()
    lines = collections.deque(Line(host) for _ in range(LINES))

    async def one(name, address):
        line = lines.popleft()
        answers.append(await sign_in(line, address, name, OWN, cast.devices[name] if known else None))
        lines.append(line)

    number = 0
    while not over.is_set():
        address = f"{'10' if known else '11'}.{number // 62_500}.{number // 250 % 250}.{number % 250}"
        task = asyncio.create_task(one(who[number % len(who)], address))
        at_once.add(task)
        task.add_done_callback(at_once.discard)
        number += 1
        await asyncio.sleep(PAUSE_S[known])
    await asyncio.gather(*at_once)


async def spoofing(host, behind_proxy: bool):
    """One peer that claims a new address with each request. What it heard."""
    ours = ", 203.0.113.66" if behind_proxy else ""
    wanted = [(f"192.0.2.{n % 250}{ours}", f"spoofed{n}-{behind_proxy}", "guess") for n in range(SPOOFED)]
    heard = Told()
    await storm(host, wanted, "Spoofed addresses", lambda what, answer: heard.note("all", answer))
    return heard


async def targeting(host, cast):
    """Guesses at each victim, all at once from new addresses; then the victim comes home. (heard, home answers)."""
    heard, home, numbers = Told(), [], itertools.count()
    lines, own = [Line(host) for _ in range(GUESSES_EACH_VICTIM)], Line(host)

    async def guess(line, name):
        number = next(numbers)
        address = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        heard.note(name, await sign_in(line, address, name, "a guess at it"))

    with progress_bar(len(cast.victims), "Victims") as bar:
        for number, name in enumerate(cast.victims):
            await asyncio.gather(*(guess(line, name) for line in lines))
            home.append(await sign_in(own, f"12.0.{number // 250}.{number % 250}", name, OWN, cast.devices[name]))
            bar.update(1)
    return heard, home


@contextmanager
def serving(env, plant, proxies):
    with servers.gunicorn(f"bench.stuffing:served({plant!r})", env | {"STREAMSVC_TRUSTED_PROXIES": proxies}) as host:
        yield host


def own_memory_bytes() -> int:
    """What the web processes hold for themselves, without the pages of the database file that they all map."""
    served = [p for p in psutil.Process().children(recursive=True) if "gunicorn" in " ".join(p.cmdline())]
    infos = [p.memory_info() for p in served]
    return sum(info.rss - info.shared for info in infos)


async def warm(host, cast):
    """Have both processes hash, and read the list of breached passwords, before their memory is looked at."""
    for number in range(8):
        lines = [Line(host) for _ in range(8)]
        names = cast.on_known[number::8][:4] + cast.on_new[number::8][:4]
        asked = [
            sign_in(line, f"13.0.{number}.{place}", name, OWN, cast.devices[name] if place < 4 else None)
            for place, (line, name) in enumerate(zip(lines, names, strict=False))
        ]
        assert {answer.status for answer in await asyncio.gather(*asked)} <= {201, 503}
        for line in lines:
            line.close()


def milliseconds(answers, share) -> float:
    return statistics.quantiles((a.took_s for a in answers), n=100, method="inclusive")[int(share * 100) - 1] * 1e3


def share_in(answers) -> float:
    return sum(a.status == 201 for a in answers) / len(answers)


def sessions_of_breached(env) -> int:
    """Sessions on accounts with a breached password; nobody of theirs signs in here, and none has a device."""
    with people.at_the_desk(env):
        known = sa.select(people.Device.account_id).where(people.Device.name == "TV")
        return db.session.scalar(sa.select(sa.func.count(Session.id)).where(Session.account_id.not_in(known)))


async def all_of_it(asked, chance, cast, env, tally) -> list[tuple[str, str, str, bool]]:
    """Rows of the report: what, the figure, what it has to be, whether it is."""
    with serving(env, asked.plant, "1") as host:
        await warm(host, cast)
        memory, before = own_memory_bytes(), tally.stat().st_size
        heard, homes, plain = await stuffing(host, chance, cast, asked)
        known, new = homes[True], homes[False]
        computed = tally.stat().st_size - before - sum(answer.status in HASHED for answer in known + new)
        grown = own_memory_bytes() - memory
        behind = await spoofing(host, behind_proxy=True)
        before = tally.stat().st_size
        targeted, home = await targeting(host, cast)
        targeted_computed = tally.stat().st_size - before - sum(answer.status in HASHED for answer in home)
    with serving(env, asked.plant, "0") as host:
        bare = await spoofing(host, behind_proxy=False)
    many, ladder = limits.SPRAYED_ADDRESS.max_attempts, limits.SIGN_IN_ACCOUNT.free_attempts
    budget = many * len(heard.subjects) + len(cast.breached)
    issued = sessions_of_breached(env) + heard.statuses[201]
    exact = heard.is_exactly(many, plain)
    return [
        ("sessions for stolen pairs", f"{issued}", "0", issued == 0),
        ("attackers heard", str(dict(heard.statuses)), "401, 429, 503", {*heard.statuses} <= {401, 429, 503}),
        ("hashes computed for them", f"{computed}", f"≤ {budget}", computed <= budget),
        ("  answers that took one", f"{heard.hashed}", f"{computed}", computed == heard.hashed),
        ("  let by, of an address's hundred", heard.range(), f"{many}, {len(plain)} exactly", exact),
        (
            "people on known devices let in",
            f"{share_in(known):.2%} of {len(known)}",
            "≥ 99.5 %",
            share_in(known) >= 0.995,
        ),
        ("  95 % of them within", f"{milliseconds(known, 0.95):.0f} ms", "< 1 s", milliseconds(known, 0.95) < 1000),
        ("people on new devices, at once", f"{share_in(new):.1%} of {len(new)}", "", True),
        ("memory grown", f"{grown / 2**20:.0f} MiB", "< 64 MiB", grown < 64 * 2**20),
        ("let by, addresses made up", bare.range(), f"{many}", bare.is_exactly(many)),
        ("let by, the same behind a proxy", behind.range(), f"{many}", behind.is_exactly(many)),
        ("let by, of guesses at one victim", targeted.range(), f"{ladder}", targeted.is_exactly(ladder)),
        (
            "  hashes computed for them",
            f"{targeted_computed}",
            f"{targeted.hashed}",
            targeted_computed == targeted.hashed,
        ),
        ("victims home on a known device", f"{share_in(home):.1%} of {len(home)}", "≥ 99 %", share_in(home) >= 0.99),
    ]


def arguments():
    parser = argparse.ArgumentParser("python -m bench.stuffing", description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=100_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (one is started)")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--plant", default="", choices=list(PLANTS), help="serve this fault: it must be found")
    return parser.parse_args()


def main():
    asked = arguments()
    chance = random.Random(asked.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        (folder / "hashes").touch()
        env = stack.enter_context(people.empty_service(asked.database, folder, servers.clean_env()))
        env[COUNTED] = str(folder / "hashes")
        print(f"{report.machine()}\n{asked.database}, {asked.attempts} stolen pairs, seed {asked.seed}", flush=True)
        with people.at_the_desk(env):
            cast = settle(chance, max(400, asked.attempts // PAIRS_EACH))
        rows = asyncio.run(all_of_it(asked, chance, cast, env, folder / "hashes"))
    shown = [(what, figure, bound, "yes" if holds else "NO") for what, figure, bound, holds in rows]
    print(report.table([("what", "figure", "has to be", "holds"), *shown]))
    all_hold = all(holds for *_, holds in rows)
    sys.exit(all_hold if asked.plant else not all_hold)


if __name__ == "__main__":
    main()
