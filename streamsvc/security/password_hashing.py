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
from streamsvc.rules.sign_in.passwords import normal
from streamsvc.security import breached_passwords

BREACHED = Path(__file__).parent.parent / "data" / "breached_passwords.txt.gz"
OURS = "$argon2id$"
PEPPERED = "pepper:"
LONGEST_MEASURED = 40
LONGEST_WAIT_S = 1.0
log = logging.getLogger("streamsvc.security")


class Hashing:
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
        self.computing = ThreadPoolExecutor(self.slots, "hash")
        strangers = self.slots + max(1, settings.threads * 3 // 8)
        self.for_strangers = threading.BoundedSemaphore(strangers)
        self.for_suspects = threading.BoundedSemaphore(strangers - 1)
        self.at_home = threading.BoundedSemaphore(self.slots + max(1, settings.threads // 4))
        self.queue, self.number = PriorityQueue(), itertools.count()
        """(rank, number, future, work): who is at home comes first, who is suspect last."""
        self.dummy = self.hasher.hash(secrets.token_hex(16))
        """What is verified where there is no account, so that none costs as much as one."""

    @contextmanager
    def place(self, at_home: bool = False, suspect: bool = False) -> Iterator["Place"]:
        """A place in the queue. Raises Unavailable where there is none."""
        with ExitStack() as held:
            for places in [self.at_home] if at_home else [self.for_suspects] * suspect + [self.for_strangers]:
                if not places.acquire(blocking=False):
                    raise Unavailable(retry_after_s=1)
                held.callback(places.release)
            yield Place(self, rank=0 if at_home else 1 + suspect)

    def run(self, work, rank: int):
        """What `work()` gives, in its turn, to who has a place. Raises Unavailable where the queue does not move."""
        waiting = Future()
        self.queue.put((rank, next(self.number), waiting, work))
        self.computing.submit(self._next)
        try:
            return waiting.result(LONGEST_WAIT_S)
        except TimeoutError:
            if waiting.cancel():
                raise Unavailable(retry_after_s=1) from None
            return waiting.result()

    def _next(self):
        """Do what is first in turn; as often as something was queued."""
        *_, waiting, work = self.queue.get_nowait()
        if not waiting.set_running_or_notify_cancel():
            return
        try:
            waiting.set_result(work())
        except BaseException as error:
            waiting.set_exception(error)


@dataclass(frozen=True)
class Place:
    """Held from before an attempt is counted: what a full house refuses has cost nothing and counts nowhere."""

    hashing: Hashing
    rank: int

    def run(self, work):
        return self.hashing.run(work, self.rank)

    def hashed(self, password: str) -> str:
        """What is kept of a password: its argon2id hash in PHC form, behind `pepper:<id>:` where one went into it."""
        pepper = _pepper_now()
        peppered = _peppered(password, pepper)
        fresh = self.run(lambda: self.hashing.hasher.hash(peppered))
        return f"{PEPPERED}{pepper}:{fresh}" if pepper else fresh

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether this is the password behind `kept`; one hash is computed whether or not there is one to match."""
        digested, ours = foreign_hashes.taken_apart(kept or self.hashing.dummy)
        password = digested.of(password) if digested else password
        pepper, phc = _taken_apart(ours)
        if pepper not in _peppers():
            log.error("the pepper %s is not among the settings: passwords kept with it open nothing", pepper)
            kept, pepper, phc = None, "", self.hashing.dummy
        peppered = _peppered(password, pepper)

        def compare():
            if not phc.startswith(OURS):
                return foreign_hashes.parse(phc).matches(password)
            try:
                return self.hashing.hasher.verify(phc, peppered) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

        return self.run(compare)


_making = threading.Lock()


def _hashing() -> Hashing:
    """The one that this app's threads share; made by the first that hashes."""
    known = current_app.extensions
    with _making:
        if "hashing" not in known:
            known["hashing"] = Hashing(known["settings"])
    return known["hashing"]


def place(at_home: bool = False, suspect: bool = False) -> AbstractContextManager[Place]:
    """A place in the queue for hashes, to be held while one is computed. Raises Unavailable where too many ask.

    `at_home`: the asking device or session is one that the account knows. `suspect`: whoever asks comes from
    where somebody failed of late.
    """
    return _hashing().place(at_home, suspect)


def hashed(password: str, at_home: bool = False) -> str:
    """As `Place.hashed`, at once. Raises Unavailable where too many ask."""
    with place(at_home) as mine:
        return mine.hashed(password)


def taken_over(text: str) -> str:
    """What is kept of another system's hash: itself; of a mere digest our hash of it, which takes one hash's time.

    Raises ValueError, with the reason, where it is unknown or costs too much; Unavailable where too many ask.
    """
    if found := foreign_hashes.weak(text):
        digested, value = found
        return digested.mark + hashed(value)
    foreign_hashes.parse(text)
    return text


def matches(kept: str | None, password: str, at_home: bool = False) -> bool:
    """As `Place.matches`, at once. Raises Unavailable where too many ask."""
    with place(at_home) as mine:
        return mine.matches(kept, password)


def is_outdated(kept: str) -> bool:
    """Whether `kept` was made by another system, or with another pepper or other costs than are asked for today."""
    pepper, phc = _taken_apart(kept)
    return pepper != _pepper_now() or not phc.startswith(OURS) or _hashing().hasher.check_needs_rehash(phc)


def _taken_apart(kept: str) -> tuple[str, str]:
    """The id of the pepper ("" for none), and the hash in PHC form."""
    if not kept.startswith(PEPPERED):
        return "", kept
    pepper, _, phc = kept.removeprefix(PEPPERED).partition(":")
    return pepper, phc


def _peppers() -> dict[str, str]:
    """The peppers by their ids; "" is none, which every hash may have."""
    return {"": ""} | dict(current_app.extensions["settings"].password_pepper)


def _pepper_now() -> str:
    given = current_app.extensions["settings"].password_pepper
    return given[0][0] if given else ""


def _peppered(password: str, pepper: str) -> str:
    """What is hashed: the password itself, or an HMAC-SHA-256 of it, which who has the database alone cannot try."""
    secret = _peppers()[pepper]
    return hmac.digest(secret.encode(), normal(password).encode(), "sha256").hex() if secret else normal(password)


def strength(password: str, names: tuple[str, ...] = ()) -> dict | None:
    """{score: 0 (guessed at once) to 4, hint}, as zxcvbn has it; None where the extra `strength` is not installed.

    It decides nothing: it tells who chose badly how to choose better.
    """
    try:
        from zxcvbn import zxcvbn
    except ImportError:
        return None
    found = zxcvbn(password[:LONGEST_MEASURED], user_inputs=[name for name in names if name])
    told = found["feedback"]
    return {"score": found["score"], "hint": told["warning"] or (told["suggestions"] or [None])[0]}


def is_breached(password: str) -> bool:
    """Whether attackers try this password early; capitals do not make another of it."""
    folded = normal(password).casefold()
    return folded in _breached() or breached_passwords.are_known(password, folded)


@cache
def _breached() -> frozenset[str]:
    return frozenset(gzip.decompress(BREACHED.read_bytes()).decode().splitlines())
