"""Password hashing: argon2id, so many at a time as there are cores, a short queue, then an honest 503.

A hash takes 19 MiB and a core for some 25 ms. Without a bound, a storm of sign-ins takes every thread and gigabytes of
memory; with it, some threads always stay free for requests that hash nothing. Three eighths of the threads may wait for
strangers' hashes and a quarter for those of people at home, on a device that their account knows or in a session of
theirs: however long strangers queue, these find a place, and come first. Of the strangers' places one is
for those alone from whose address nobody failed of late, and they come before the others: a storm from addresses that
have shown what they are leaves a way in for who has a new television. Threads of their own compute, one
for each slot: the allocator keeps for each thread what it once used, and eight threads that hash in turn would hold
eight times 19 MiB.
"""

import gzip
import hmac
import itertools
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import PriorityQueue

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from flask import current_app

from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.sign_in import foreign_hashes
from streamsvc.rules.sign_in.passwords import normalize_password
from streamsvc.security import breached_passwords

BREACHED_PASSWORDS_FILE = Path(__file__).parent.parent / "data" / "breached_passwords.txt.gz"
ARGON2ID_PREFIX = "$argon2id$"
PEPPER_PREFIX = "pepper:"
MAX_MEASURED_LENGTH = 40
QUEUE_TIMEOUT_S = 1.0
log = logging.getLogger("streamsvc.security")


class HashingPool:
    """One process's right to hash: `slots` at a time, `queue` waiting."""

    def __init__(self, settings):
        self.hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=1,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self.slots = max(1, (os.cpu_count() or 1) // settings.workers)
        self.executor = ThreadPoolExecutor(self.slots, "hash")
        strangers = self.slots + max(1, settings.threads * 3 // 8)
        self.unknown_device_permits = threading.BoundedSemaphore(strangers)
        self.failing_address_permits = threading.BoundedSemaphore(strangers - 1)
        self.known_device_permits = threading.BoundedSemaphore(self.slots + max(1, settings.threads // 4))
        self.queue, self.number = PriorityQueue(), itertools.count()
        """(rank, number, future, work): who is at home comes first, who is suspect last."""
        self.dummy_hash = self.hasher.hash(secrets.token_hex(16))
        """What is verified where there is no account, so that none costs as much as one."""

    @contextmanager
    def permit(self, known_device: bool = False, address_has_failures: bool = False) -> Iterator["HashingPermit"]:
        """A place in the queue. Raises Unavailable where there is none."""
        with ExitStack() as held:
            for places in (
                [self.known_device_permits]
                if known_device
                else [self.failing_address_permits] * address_has_failures + [self.unknown_device_permits]
            ):
                if not places.acquire(blocking=False):
                    raise Unavailable(retry_after_s=1)
                held.callback(places.release)
            yield HashingPermit(self, rank=0 if known_device else 1 + address_has_failures)

    def run(self, work, rank: int):
        """What `work()` gives, in its turn, to who has a place. Raises Unavailable where the queue does not move."""
        waiting = Future()
        self.queue.put((rank, next(self.number), waiting, work))
        self.executor.submit(self._run_next)
        try:
            return waiting.result(QUEUE_TIMEOUT_S)
        except TimeoutError:
            if waiting.cancel():
                raise Unavailable(retry_after_s=1) from None
            return waiting.result()

    def _run_next(self):
        """Do what is first in turn; as often as something was queued."""
        *_, waiting, work = self.queue.get_nowait()
        if not waiting.set_running_or_notify_cancel():
            return
        try:
            waiting.set_result(work())
        except BaseException as error:
            waiting.set_exception(error)


@dataclass(frozen=True)
class HashingPermit:
    """Held from before an attempt is counted: what a full house refuses has cost nothing and counts nowhere."""

    hashing: HashingPool
    rank: int

    def run(self, work):
        return self.hashing.run(work, self.rank)

    def hash_password(self, password: str) -> str:
        """What is kept of a password: its argon2id hash in PHC form, behind `pepper:<id>:` where one went into it."""
        pepper = _current_pepper()
        peppered = _apply_pepper(password, pepper)
        fresh = self.run(lambda: self.hashing.hasher.hash(peppered))
        return f"{PEPPER_PREFIX}{pepper}:{fresh}" if pepper else fresh

    def verify_password(self, stored: str | None, password: str) -> bool:
        """Whether this is the password behind `kept`; one hash is computed whether or not there is one to match."""
        digested, ours = foreign_hashes.split_legacy_prefix(stored or self.hashing.dummy_hash)
        password = digested.hash_password(password) if digested else password
        pepper, phc = _split_pepper(ours)
        if pepper not in _peppers():
            log.error("the pepper %s is not among the settings: passwords kept with it open nothing", pepper)
            stored, pepper, phc = None, "", self.hashing.dummy_hash
        peppered = _apply_pepper(password, pepper)

        def compare():
            if not phc.startswith(ARGON2ID_PREFIX):
                return foreign_hashes.parse_foreign_hash(phc).verify_password(password)
            try:
                return self.hashing.hasher.verify(phc, peppered) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

        return self.run(compare)


_pool_lock = threading.Lock()


def _hashing_pool() -> HashingPool:
    """The one that this app's threads share; made by the first that hashes."""
    known = current_app.extensions
    with _pool_lock:
        if "hashing" not in known:
            known["hashing"] = HashingPool(known["settings"])
    return known["hashing"]


def hashing_permit(
    known_device: bool = False, address_has_failures: bool = False
) -> AbstractContextManager[HashingPermit]:
    """A place in the queue for hashes, to be held while one is computed. Raises Unavailable where too many ask.

    `at_home`: the asking device or session is one that the account knows. `suspect`: whoever asks comes from
    where somebody failed of late.
    """
    return _hashing_pool().permit(known_device, address_has_failures)


def hash_password(password: str, known_device: bool = False) -> str:
    """As `Place.hashed`, at once. Raises Unavailable where too many ask."""
    with hashing_permit(known_device) as mine:
        return mine.hash_password(password)


def import_hash(text: str) -> str:
    """What is kept of another system's hash: itself; of a mere digest our hash of it, which takes one hash's time.

    Raises ValueError, with the reason, where it is unknown or costs too much; Unavailable where too many ask.
    """
    if found := foreign_hashes.parse_legacy_digest(text):
        digested, value = found
        return digested.prefix + hash_password(value)
    foreign_hashes.parse_foreign_hash(text)
    return text


def verify_password(stored: str | None, password: str, known_device: bool = False) -> bool:
    """As `Place.matches`, at once. Raises Unavailable where too many ask."""
    with hashing_permit(known_device) as mine:
        return mine.verify_password(stored, password)


def needs_rehash(stored: str) -> bool:
    """Whether `kept` was made by another system, or with another pepper or other costs than are asked for today."""
    pepper, phc = _split_pepper(stored)
    return (
        pepper != _current_pepper()
        or not phc.startswith(ARGON2ID_PREFIX)
        or _hashing_pool().hasher.check_needs_rehash(phc)
    )


def _split_pepper(stored: str) -> tuple[str, str]:
    """The id of the pepper ("" for none), and the hash in PHC form."""
    if not stored.startswith(PEPPER_PREFIX):
        return "", stored
    pepper, _, phc = stored.removeprefix(PEPPER_PREFIX).partition(":")
    return pepper, phc


def _peppers() -> dict[str, str]:
    """The peppers by their ids; "" is none, which every hash may have."""
    return {"": ""} | dict(current_app.extensions["settings"].password_pepper)


def _current_pepper() -> str:
    given = current_app.extensions["settings"].password_pepper
    return given[0][0] if given else ""


def _apply_pepper(password: str, pepper: str) -> str:
    """What is hashed: the password itself, or an HMAC-SHA-256 of it, which who has the database alone cannot try."""
    secret = _peppers()[pepper]
    return (
        hmac.digest(secret.encode(), normalize_password(password).encode(), "sha256").hex()
        if secret
        else normalize_password(password)
    )


def estimate_strength(password: str, names: tuple[str, ...] = ()) -> dict | None:
    """{score: 0 (guessed at once) to 4, hint}, as zxcvbn has it; None where the extra `strength` is not installed.

    It decides nothing: it tells who chose badly how to choose better.
    """
    try:
        from zxcvbn import zxcvbn
    except ImportError:
        return None
    found = zxcvbn(password[:MAX_MEASURED_LENGTH], user_inputs=[name for name in names if name])
    told = found["feedback"]
    return {"score": found["score"], "hint": told["warning"] or (told["suggestions"] or [None])[0]}


def is_listed_as_breached(password: str) -> bool:
    """Whether attackers try this password early; capitals do not make another of it."""
    folded = normalize_password(password).casefold()
    return folded in _breached_passwords() or breached_passwords.is_in_filter(password, folded)


@cache
def _breached_passwords() -> frozenset[str]:
    return frozenset(gzip.decompress(BREACHED_PASSWORDS_FILE.read_bytes()).decode().splitlines())
