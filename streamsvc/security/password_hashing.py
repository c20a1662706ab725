"""Password hashing: argon2id, as many at a time as there are cores, with a short queue and then a 503.

A hash takes 19 MiB and about 25 ms of a core. Unbounded, a storm of sign-ins would occupy every thread and gigabytes of
memory; with the bound, some threads always stay free for requests that hash nothing.

Hashes for unrecognized devices have a share of the threads, and hashes for known devices (a device or session that the
account knows) another (`rules/thread_shares.py`), so that a queue of unknown devices cannot keep them out; they also
come first. One of the permits for unknown devices is reserved for addresses without recent failures, which come next: a
storm from addresses that have failed leaves room for someone with a new television.

Hashing runs on threads of its own, one per slot: the allocator keeps for each thread what it once used, and eight
threads hashing in turn would hold eight times 19 MiB.
"""

import gzip
import hmac
import itertools
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import PriorityQueue
from typing import Any, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from flask import current_app

from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.sign_in import foreign_hashes
from streamsvc.rules.sign_in.passwords import normalize_password
from streamsvc.rules.thread_shares import share_threads
from streamsvc.security import breached_passwords
from streamsvc.settings import Settings, current_settings

BREACHED_PASSWORDS_FILE = Path(__file__).parent.parent / "data" / "breached_passwords.txt.gz"
ARGON2ID_PREFIX = "$argon2id$"
PEPPER_PREFIX = "pepper:"
MAX_MEASURED_LENGTH = 40
QUEUE_TIMEOUT_S = 1.0
log = logging.getLogger("streamsvc.security")
Result = TypeVar("Result")


class HashingPool:
    """A process's capacity for hashing: `slots` hashes at a time, the rest waiting in `queue`."""

    def __init__(self, settings: Settings) -> None:
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
        shares = share_threads(settings.threads, self.slots)
        self.unknown_device_permits = threading.BoundedSemaphore(shares.unknown_device_hashes)
        self.failing_address_permits = threading.BoundedSemaphore(max(1, shares.unknown_device_hashes - 1))
        self.known_device_permits = threading.BoundedSemaphore(shares.known_device_hashes)
        self.number = itertools.count()
        self.queue: PriorityQueue[tuple[int, int, Future[Any], Callable[[], Any]]] = PriorityQueue()
        """(rank, number, future, work): known devices first, addresses with failures last."""
        self.dummy_hash = self.hasher.hash(secrets.token_hex(16))
        """Verified if there is no account, so that its absence takes the same time."""

    @contextmanager
    def permit(self, known_device: bool = False, address_has_failures: bool = False) -> Iterator["HashingPermit"]:
        """Hold a permit for one hash during the block. Raises Unavailable if none is free."""
        with ExitStack() as stack:
            for permits in (
                [self.known_device_permits]
                if known_device
                else [self.failing_address_permits] * address_has_failures + [self.unknown_device_permits]
            ):
                if not permits.acquire(blocking=False):
                    raise Unavailable(retry_after_s=1)
                stack.callback(permits.release)
            yield HashingPermit(self, rank=0 if known_device else 1 + address_has_failures)

    def run(self, work: Callable[[], Result], rank: int) -> Result:
        """Queue `work` and return its result. Raises Unavailable if it does not start within `QUEUE_TIMEOUT_S`."""
        future: Future[Result] = Future()
        self.queue.put((rank, next(self.number), future, work))
        self.executor.submit(self._run_next)
        try:
            return future.result(QUEUE_TIMEOUT_S)
        except TimeoutError:
            if future.cancel():
                raise Unavailable(retry_after_s=1) from None
            return future.result()

    def _run_next(self) -> None:
        """Run the first work in the queue; called once per queued work."""
        _, _, future, work = self.queue.get_nowait()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)


@dataclass(frozen=True)
class HashingPermit:
    """A permit to hash, acquired before an attempt is counted: one rejected for a full queue is not counted."""

    hashing: HashingPool
    rank: int

    def run(self, work: Callable[[], Result]) -> Result:
        return self.hashing.run(work, self.rank)

    def hash_password(self, password: str) -> str:
        """Hash with argon2id, in PHC form; with a pepper, prefixed by `pepper:<id>:`."""
        pepper = _current_pepper()
        peppered = _apply_pepper(password, pepper)
        phc = self.run(lambda: self.hashing.hasher.hash(peppered))
        return f"{PEPPER_PREFIX}{pepper}:{phc}" if pepper else phc

    def verify_password(self, stored: str | None, password: str) -> bool:
        """Whether the password matches the stored hash. Always computes one hash, even if `stored` is None."""
        legacy_digest, peppered_hash = foreign_hashes.split_legacy_prefix(stored or self.hashing.dummy_hash)
        password = legacy_digest.hash_password(password) if legacy_digest else password
        pepper, phc = _split_pepper(peppered_hash)
        if pepper not in _peppers():
            log.error("pepper %s is not configured: passwords hashed with it cannot be verified", pepper)
            stored, pepper, phc = None, "", self.hashing.dummy_hash
        peppered = _apply_pepper(password, pepper)

        def compare_hash() -> bool:
            if not phc.startswith(ARGON2ID_PREFIX):
                return foreign_hashes.parse_foreign_hash(phc).verify_password(password)
            try:
                return self.hashing.hasher.verify(phc, peppered) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

        return self.run(compare_hash)


_pool_lock = threading.Lock()


def _hashing_pool() -> HashingPool:
    """Return the app's hashing pool, created on first use and shared by its threads."""
    extensions = current_app.extensions
    with _pool_lock:
        if "hashing" not in extensions:
            extensions["hashing"] = HashingPool(extensions["settings"])
    return extensions["hashing"]


def hashing_permit(
    known_device: bool = False, address_has_failures: bool = False
) -> AbstractContextManager[HashingPermit]:
    """Hold a permit to hash during the block. Raises Unavailable if none is free.

    `known_device`: the request's device or session is known to the account. `address_has_failures`: its address has
    failed to sign in recently.
    """
    return _hashing_pool().permit(known_device, address_has_failures)


def hash_password(password: str, known_device: bool = False) -> str:
    """Acquire a permit and hash, as `HashingPermit.hash_password`. Raises Unavailable if none is free."""
    with hashing_permit(known_device) as permit:
        return permit.hash_password(password)


def import_hash(text: str) -> str:
    """Return what to store for another system's hash: the hash itself, or for a mere digest our own hash of it.

    The latter takes as long as hashing a password. Raises ValueError, with the reason, if the hash is unknown or too
    expensive to verify; Unavailable if no permit is free.
    """
    if parsed := foreign_hashes.parse_legacy_digest(text):
        legacy_digest, value = parsed
        return legacy_digest.prefix + hash_password(value)
    foreign_hashes.parse_foreign_hash(text)
    return text


def verify_password(stored: str | None, password: str, known_device: bool = False) -> bool:
    """Acquire a permit and verify, as `HashingPermit.verify_password`. Raises Unavailable if none is free."""
    with hashing_permit(known_device) as permit:
        return permit.verify_password(stored, password)


def needs_rehash(stored: str) -> bool:
    """Whether the hash was made by another system, or with a pepper or costs other than the current ones."""
    pepper, phc = _split_pepper(stored)
    return (
        pepper != _current_pepper()
        or not phc.startswith(ARGON2ID_PREFIX)
        or _hashing_pool().hasher.check_needs_rehash(phc)
    )


def _split_pepper(stored: str) -> tuple[str, str]:
    """Split into the pepper's id ("" for none) and the hash in PHC form."""
    if not stored.startswith(PEPPER_PREFIX):
        return "", stored
    pepper, _, phc = stored.removeprefix(PEPPER_PREFIX).partition(":")
    return pepper, phc


def _peppers() -> dict[str, str]:
    """Return the peppers by id; "" stands for no pepper, which is always allowed."""
    return {"": ""} | dict(current_settings().password_pepper)


def _current_pepper() -> str:
    peppers = current_settings().password_pepper
    return peppers[0][0] if peppers else ""


def _apply_pepper(password: str, pepper: str) -> str:
    """Return the text to hash: the password or, with a pepper, its HMAC-SHA-256.

    With a pepper, the database alone is not enough to try passwords.
    """
    secret = _peppers()[pepper]
    return (
        hmac.digest(secret.encode(), normalize_password(password).encode(), "sha256").hex()
        if secret
        else normalize_password(password)
    )


def estimate_strength(password: str, names: tuple[str, ...] = ()) -> dict | None:
    """Estimate with zxcvbn: {score: 0 (guessed at once) to 4, hint}; None if the extra `strength` is not installed.

    It is only advice for choosing a better password, never a reason to reject one.
    """
    try:
        from zxcvbn import zxcvbn
    except ImportError:
        return None
    estimate = zxcvbn(password[:MAX_MEASURED_LENGTH], user_inputs=[name for name in names if name])
    feedback = estimate["feedback"]
    return {"score": estimate["score"], "hint": feedback["warning"] or (feedback["suggestions"] or [None])[0]}


def is_listed_as_breached(password: str) -> bool:
    """Whether the password is on the built-in list or in the configured filter, also with other capitals."""
    folded = normalize_password(password).casefold()
    return folded in _breached_passwords() or breached_passwords.is_in_filter(password, folded)


@cache
def _breached_passwords() -> frozenset[str]:
    return frozenset(gzip.decompress(BREACHED_PASSWORDS_FILE.read_bytes()).decode().splitlines())
