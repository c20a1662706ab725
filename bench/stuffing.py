"""python -m bench.stuffing: a credential-stuffing attack on a service that real people use at the same time.

20,000 accounts, 500 of them with a password from the lists that attackers share. First, five email and password pairs
per account, including the right one for the 500, from 1,000 addresses behind the trusted proxy, while people sign in on
known and on new devices. Then the same attack from one address that claims another address with each request. Then 50
simultaneous guesses at each of 1,000 victims, from ever new addresses; each victim signs in right afterwards. gunicorn
serves the app with two processes and the real hash parameters, and the app counts the hashes that it computes.
--attempts scales everything.

Accounts are inserted as rows instead of signing up, and those without a breached password share one hash: creating
20,000 accounts properly would take ten minutes and show nothing. --plant serves an app with a bug that the run must
find.
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

from bench import accounts, report, servers
from bench.http_client import Connection, Response
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import Device, RateLimitCounter, Session
from streamsvc.operations.credentials import attempts
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_one

CONNECTIONS = 64
PAIRS_PER_ACCOUNT, ATTEMPTS_PER_ADDRESS, GUESSES_PER_VICTIM = 5, 100, 50
ACCOUNTS_PER_BREACHED, ACCOUNTS_PER_VICTIM = 40, 20
KNOWN_DEVICE_USERS, NEW_DEVICE_USERS, SPOOFED_ATTEMPTS = 200, 50, 2_000
SIGN_IN_INTERVAL_S = {True: 0.3, False: 2.0}
"""Seconds between two people who sign in, on known devices (True) and on new ones."""
OWNERS_PASSWORD = "the owner's own word 7"
HASH_COUNT_FILE = "BENCH_HASHES"
HASHED = (201, 401)
"""Statuses of responses that needed a hash."""


def create_counting_app(bug=""):
    """The app, which appends a byte to a file for each hash that it verifies; `bug` is a key of BUGS."""
    count_file = os.open(os.environ[HASH_COUNT_FILE], os.O_WRONLY | os.O_APPEND)
    verify_secret = argon2._password_hasher.verify_secret

    def count_and_verify(*args):
        os.write(count_file, b".")
        return verify_secret(*args)

    argon2._password_hasher.verify_secret = count_and_verify
    BUGS[bug]()
    return create_app()


def skip_step_up():
    """The bug that no code is mailed for a breached password."""
    password_hashing.is_listed_as_breached = lambda password: False


def hash_before_limits():
    """The bug that a hash is computed even if a limit is exhausted."""
    test_limits = attempts.SignInAttempt._test_limits

    def test_limits_and_hash(attempt):
        try:
            test_limits(attempt)
        except TooManyAttempts:
            password_hashing.verify_password(None, "whatever")
            raise

    attempts.SignInAttempt._test_limits = test_limits_and_hash


def read_before_write():
    """The bug of counters that are read and then set, in two statements."""

    def hit(counters, rule, subject, challenge_solved=False):
        key, now_s = rate_limits.counter_name(counters._key, rule, subject), rate_limits._now_s()
        counter = fetch_one(sa.select(RateLimitCounter.count).where(RateLimitCounter.key == key))
        count = counter.count + 1 if counter else 1
        if count > (rule.max_attempts if isinstance(rule, limits.RateLimit) else rule.free_attempts):
            raise TooManyAttempts(60)
        row = {"count": count, "until_s": now_s + 60}
        upsert = rate_limits.insert(RateLimitCounter).values(key=key, **row)
        counters._connection.execute(upsert.on_conflict_do_update(index_elements=["key"], set_=row))
        return count

    rate_limits.counter_transaction = autocommit_counters
    rate_limits.Counters.hit = hit


@contextmanager
def autocommit_counters():
    """Counters that commit each statement separately."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        yield rate_limits.Counters(connection)


BUGS = {
    "": lambda: None,
    "no-step-up": skip_step_up,
    "hashes-first": hash_before_limits,
    "reads-first": read_before_write,
}


@dataclass
class Users:
    """Names of the accounts that take part."""

    attacked: list[str]
    """Accounts that the stolen pairs are for."""
    breached: dict[str, str]
    """Those of them with a breached password → the password."""
    devices: dict[str, str]
    """Accounts with a known device → its id."""
    on_known_devices: list[str]
    on_new_devices: list[str]
    victims: list[str]


def create_users(rng, count) -> Users:
    """Insert `count` attacked accounts and the victims."""
    breached_passwords = sorted(password_hashing._breached_passwords())
    names = [f"user{n}" for n in range(count)]
    victims = [f"victim{n}" for n in range(max(1, count // ACCOUNTS_PER_VICTIM))]
    rng.shuffle(names)
    chosen = rng.sample(breached_passwords, max(1, count // ACCOUNTS_PER_BREACHED))
    breached = dict(zip(names, chosen, strict=False))
    others = names[len(breached) :]
    rows = accounts.account_rows(others + victims, password_hashing.hash_password(OWNERS_PASSWORD))
    device_rows = [accounts.device_row(row) for row in rows]
    devices = {name: device["id"] for name, device in zip(others + victims, device_rows, strict=True)}
    with progress_bar(len(breached), "Accounts with a breached password") as bar:
        for name, password in breached.items():
            rows += accounts.account_rows([name], password_hashing.hash_password(password))
            bar.update(1)
    accounts.insert_rows(rows, device_rows)
    on_known, on_new = others[:KNOWN_DEVICE_USERS], others[KNOWN_DEVICE_USERS : KNOWN_DEVICE_USERS + NEW_DEVICE_USERS]
    return Users(names, breached, devices, on_known, on_new, victims)


async def sign_in(
    connection: Connection, address: str, name: str, password: str, device_id: str | None = None
) -> Response:
    body = {"email": f"{name}@bench.example", "password": password}
    body["device"] = {"id": device_id, "name": "TV", "kind": "tv"} if device_id else {"name": "New", "kind": "phone"}
    return await connection.send("POST", "/v1/sessions", body, X_Forwarded_For=address)


async def attack(host: str, tries, label: str, on_response, retry_busy=False) -> int:
    """Send (address, name, password) over CONNECTIONS connections, as fast as they get responses.

    Calls `on_response(try, response)`. With `retry_busy`, a try that the full hashing queue rejects (503) is repeated
    until it is judged. Returns the number of repetitions.
    """
    waiting, repetitions = collections.deque(tries), 0
    with progress_bar(len(waiting), label) as bar:

        async def send_tries(connection):
            nonlocal repetitions
            while waiting:
                attempt = waiting.popleft()
                response = await sign_in(connection, *attempt)
                if retry_busy and response.status == 503:
                    repetitions += 1
                    waiting.append(attempt)
                else:
                    on_response(attempt, response)
                    bar.update(1)

        await asyncio.gather(*(send_tries(Connection(host)) for _ in range(CONNECTIONS)))
    return repetitions


@dataclass
class AttackResult:
    """The responses to an attack: how often each status, and per subject (address or account) the number of attempts
    that were hashed, that met a full queue, and that were right, which do not count against an address."""

    statuses: collections.Counter = field(default_factory=collections.Counter)
    hashed_by_subject: collections.Counter = field(default_factory=collections.Counter)
    busy_by_subject: collections.Counter = field(default_factory=collections.Counter)
    right_by_subject: collections.Counter = field(default_factory=collections.Counter)
    subjects: set = field(default_factory=set)

    def record_response(self, subject, response):
        self.subjects.add(subject)
        self.statuses[response.status] += 1
        self.hashed_by_subject[subject] += response.status in HASHED
        self.busy_by_subject[subject] += response.status == 503
        self.right_by_subject[subject] += b"second_factor_required" in response.body

    @property
    def hashed(self) -> int:
        return self.hashed_by_subject.total()

    def format_range(self) -> str:
        counts = [self.counted(subject) for subject in self.subjects]
        return f"{min(counts)}–{max(counts)} of each of {len(counts)}"

    def counted(self, subject) -> int:
        """The attempts of the subject that were admitted and count against its limit."""
        return self.hashed_by_subject[subject] - self.right_by_subject[subject]

    def is_never_above(self, limit: int) -> bool:
        return all(self.counted(subject) <= limit for subject in self.subjects)

    def is_exactly(self, limit: int, subjects=None) -> bool:
        """Whether exactly `limit` attempts were admitted, less those that last met a full queue; never more."""
        subjects = self.subjects if subjects is None else subjects
        return self.is_never_above(limit) and all(
            limit - self.busy_by_subject[subject] <= self.counted(subject) for subject in subjects
        )


async def stuff_credentials(host, rng, users, options):
    """Send the stolen pairs while people sign in.

    Returns the AttackResult, {on known devices?: responses to people}, and the addresses that tried no account of a
    person on a new device: such an account's own limit may be exhausted when the address's is not.
    """
    breached_passwords = sorted(password_hashing._breached_passwords())
    pairs = [
        (name, password)
        for name in users.attacked
        for password in rng.sample(breached_passwords, PAIRS_PER_ACCOUNT - 1)
    ]
    pairs += [(name, users.breached.get(name) or rng.choice(breached_passwords)) for name in users.attacked]
    rng.shuffle(pairs)
    count = max(1, options.attempts // ATTEMPTS_PER_ADDRESS)
    addresses = [f"198.{18 + n // 250}.{n % 250}.7" for n in range(count)]
    tried, tries = collections.defaultdict(set), []
    for pair in pairs[: options.attempts]:  # an address tries no account twice: that would not count as another one
        address = next(a for a in rng.sample(addresses, len(addresses)) if pair[0] not in tried[a])
        tried[address].add(pair[0])
        tries.append((address, *pair))
    on_new_devices = set(users.on_new_devices)
    unaffected = {address for address, names in tried.items() if not names & on_new_devices}
    result, people = AttackResult(), {True: [], False: []}
    over = asyncio.Event()
    signing_in = [
        asyncio.create_task(sign_people_in(host, users, known, people[known], over)) for known in (True, False)
    ]
    result.statuses[503] = await attack(
        host,
        tries,
        "Stolen pairs",
        lambda attempt, response: result.record_response(attempt[0], response),
        retry_busy=True,
    )
    over.set()
    await asyncio.gather(*signing_in)
    return result, people, unaffected


async def sign_people_in(host, users, known, responses, over):
    """Until `over`, start a sign-in at fixed intervals, each from another address, without waiting for the previous
    one; then wait for those that have started."""
    names, running = users.on_known_devices if known else users.on_new_devices, set()
    connections = collections.deque(Connection(host) for _ in range(CONNECTIONS))

    async def sign_person_in(name, address):
        connection = connections.popleft()
        device_id = users.devices[name] if known else None
        responses.append(await sign_in(connection, address, name, OWNERS_PASSWORD, device_id))
        connections.append(connection)

    number = 0
    while not over.is_set():
        address = f"{'10' if known else '11'}.{number // 62_500}.{number // 250 % 250}.{number % 250}"
        task = asyncio.create_task(sign_person_in(names[number % len(names)], address))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        await asyncio.sleep(SIGN_IN_INTERVAL_S[known])
    await asyncio.gather(*running)


async def spoof_addresses(host, behind_proxy: bool) -> AttackResult:
    """Attack from one peer that claims a new address with each request."""
    appended = ", 203.0.113.66" if behind_proxy else ""
    tries = [(f"192.0.2.{n % 250}{appended}", f"spoofed{n}-{behind_proxy}", "guess") for n in range(SPOOFED_ATTEMPTS)]
    result = AttackResult()
    await attack(host, tries, "Spoofed addresses", lambda _, response: result.record_response("all", response))
    return result


async def attack_victims(host, users) -> tuple[AttackResult, list[Response]]:
    """Guess at each victim, simultaneously from new addresses; then the victim signs in on a known device."""
    result, victims, numbers = AttackResult(), [], itertools.count()
    connections, own_connection = [Connection(host) for _ in range(GUESSES_PER_VICTIM)], Connection(host)

    async def guess(connection, name):
        number = next(numbers)
        address = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        result.record_response(name, await sign_in(connection, address, name, "a guess at it"))

    with progress_bar(len(users.victims), "Victims") as bar:
        for number, name in enumerate(users.victims):
            await asyncio.gather(*(guess(connection, name) for connection in connections))
            address = f"12.0.{number // 250}.{number % 250}"
            victims.append(await sign_in(own_connection, address, name, OWNERS_PASSWORD, users.devices[name]))
            bar.update(1)
    return result, victims


@contextmanager
def serve_counting_app(env, bug, proxies):
    env = env | {"STREAMSVC_TRUSTED_PROXIES": proxies}
    with servers.run_gunicorn(f"bench.stuffing:create_counting_app({bug!r})", env) as host:
        yield host


def private_memory_bytes() -> int:
    """The memory of the web processes, without the pages of the database file that they share."""
    processes = [p for p in psutil.Process().children(recursive=True) if "gunicorn" in " ".join(p.cmdline())]
    infos = [process.memory_info() for process in processes]
    return sum(info.rss - info.shared for info in infos)


async def warm_up(host, users):
    """Make both processes hash and load the list of breached passwords, before their memory is measured."""
    for number in range(8):
        connections = [Connection(host) for _ in range(8)]
        names = users.on_known_devices[number::8][:4] + users.on_new_devices[number::8][:4]
        responses = await asyncio.gather(
            *(
                sign_in(
                    connection,
                    f"13.0.{number}.{index}",
                    name,
                    OWNERS_PASSWORD,
                    users.devices[name] if index < 4 else None,
                )
                for index, (connection, name) in enumerate(zip(connections, names, strict=False))
            )
        )
        assert {response.status for response in responses} <= {201, 503}
        for connection in connections:
            connection.close()


def percentile_ms(responses, share) -> float:
    times_s = (response.elapsed_s for response in responses)
    return statistics.quantiles(times_s, n=100, method="inclusive")[int(share * 100) - 1] * 1e3


def share_signed_in(responses) -> float:
    return sum(response.status == 201 for response in responses) / len(responses)


def count_sessions_of_breached(env) -> int:
    """The sessions of accounts with a breached password: their owners do not sign in here, and they have no device."""
    with accounts.local_app_context(env):
        with_device = sa.select(Device.account_id).where(Device.name == "TV")
        return db.session.scalar(sa.select(sa.func.count(Session.id)).where(Session.account_id.not_in(with_device)))


async def run_attacks(options, rng, users, env, count_file) -> list[tuple[str, str, str, bool]]:
    """Run everything; returns the rows of the report: (name, figure, bound, whether it holds)."""
    with serve_counting_app(env, options.plant, "1") as host:
        await warm_up(host, users)
        memory_bytes, before = private_memory_bytes(), count_file.stat().st_size
        stolen, people, unaffected = await stuff_credentials(host, rng, users, options)
        known, new = people[True], people[False]
        computed = count_file.stat().st_size - before - count_hashed(known + new)
        growth_bytes = private_memory_bytes() - memory_bytes
        behind_proxy = await spoof_addresses(host, behind_proxy=True)
        before = count_file.stat().st_size
        guesses, victims = await attack_victims(host, users)
        computed_for_guesses = count_file.stat().st_size - before - count_hashed(victims)
    with serve_counting_app(env, options.plant, "0") as host:
        direct = await spoof_addresses(host, behind_proxy=False)
    per_address, per_account = limits.SPRAYED_ADDRESS.max_attempts, limits.SIGN_IN_ACCOUNT.free_attempts
    budget = per_address * len(stolen.subjects) + len(users.breached)
    sessions = count_sessions_of_breached(env) + stolen.statuses[201]
    is_exact = stolen.is_exactly(per_address, unaffected)
    known_share, known_ms, victims_share = share_signed_in(known), percentile_ms(known, 0.95), share_signed_in(victims)
    return [
        ("sessions for stolen pairs", f"{sessions}", "0", sessions == 0),
        ("responses to attackers", str(dict(stolen.statuses)), "401, 429, 503", {*stolen.statuses} <= {401, 429, 503}),
        ("hashes computed for them", f"{computed}", f"≤ {budget}", computed <= budget),
        ("  responses that needed one", f"{stolen.hashed}", f"{computed}", computed == stolen.hashed),
        (
            "  admitted, of an address's hundred",
            stolen.format_range(),
            f"{per_address}, {len(unaffected)} exactly",
            is_exact,
        ),
        ("people signed in on known devices", f"{known_share:.2%} of {len(known)}", "≥ 99.5 %", known_share >= 0.995),
        ("  95 % of them within", f"{known_ms:.0f} ms", "< 1 s", known_ms < 1000),
        ("people on new devices, first try", f"{share_signed_in(new):.1%} of {len(new)}", "", True),
        ("memory growth", f"{growth_bytes / 2**20:.0f} MiB", "< 64 MiB", growth_bytes < 64 * 2**20),
        ("admitted, spoofed addresses", direct.format_range(), f"{per_address}", direct.is_exactly(per_address)),
        (
            "admitted, the same behind a proxy",
            behind_proxy.format_range(),
            f"{per_address}",
            behind_proxy.is_exactly(per_address),
        ),
        (
            "admitted, of guesses at one victim",
            guesses.format_range(),
            f"{per_account}",
            guesses.is_exactly(per_account),
        ),
        (
            "  hashes computed for them",
            f"{computed_for_guesses}",
            f"{guesses.hashed}",
            computed_for_guesses == guesses.hashed,
        ),
        (
            "victims signed in on known devices",
            f"{victims_share:.1%} of {len(victims)}",
            "≥ 99 %",
            victims_share >= 0.99,
        ),
    ]


def count_hashed(responses) -> int:
    return sum(response.status in HASHED for response in responses)


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench.stuffing", description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=100_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (started for the run)")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--plant", default="", choices=list(BUGS), help="serve the app with this bug: it must be found")
    return parser.parse_args()


def main():
    options = parse_arguments()
    rng = random.Random(options.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        (folder / "hashes").touch()
        env = servers.environment_without_settings()
        env = stack.enter_context(accounts.migrated_database(options.database, folder, env))
        env[HASH_COUNT_FILE] = str(folder / "hashes")
        print(report.describe_machine())
        print(f"{options.database}, {options.attempts} stolen pairs, seed {options.seed}", flush=True)
        with accounts.local_app_context(env):
            users = create_users(rng, max(400, options.attempts // PAIRS_PER_ACCOUNT))
        rows = asyncio.run(run_attacks(options, rng, users, env, folder / "hashes"))
    table = [(name, figure, bound, "yes" if holds else "NO") for name, figure, bound, holds in rows]
    print(report.format_table([("measure", "figure", "bound", "holds"), *table]))
    all_hold = all(holds for *_, holds in rows)
    sys.exit(all_hold if options.plant else not all_hold)


if __name__ == "__main__":
    main()
