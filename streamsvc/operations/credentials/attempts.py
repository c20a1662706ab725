"""One try to sign in, counted before it is made.

A device that the account knows has a count of its own, and no other count stops it: however long strangers try, the
owner comes in at home. Everybody else is counted by address, by how many identifiers the address fails on, and by the
identifier, which counts the same whether or not there is such an account.
"""

from dataclasses import dataclass, field

from flask import current_app, request

from streamsvc.gateways.calls import Away
from streamsvc.gateways.challenges import is_solved
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import db

SPRAYED = limits.SPRAYED_ADDRESS
OPENED_BY_A_CHALLENGE = (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ACCOUNT, limits.SIGN_IN_DEVICE)


@dataclass
class Attempt:
    identifier: str
    known_device: str | None
    challenge: str | None = None
    """What the client sent as solved."""
    sprayed: bool = False
    """Whether this was the address's first try at the identifier within the hour."""
    used_up: list[str] = field(default_factory=list)
    """The limits that this attempt used up."""
    solved: bool = False
    """Whether it took a challenge to let it by."""
    suspect: bool = False
    """Whether somebody failed from the same address within the hour."""

    def __post_init__(self):
        self.is_on = current_app.extensions["settings"].login_throttle
        self.source = limits.network(request.remote_addr)

    def matches(self, kept: str | None, password: str) -> bool:
        """Look, find a place, count, hash: whether this is the password behind `kept`.

        What a shut door refuses is counted nowhere, and neither is what finds no place: nothing was hashed, so nobody
        learned anything. Raises TooManyAttempts, or Unavailable where too many ask at once.
        """
        self._look()
        with password_hashing.place(self.known_device is not None, self.suspect) as place:
            self._count()
            try:
                return place.matches(kept, password)
            except Unavailable:
                self._uncount(rate_limits.Counters.give_back)
                raise

    @property
    def door(self) -> rate_limits.Door:
        """The ladder that this attempt climbs, and whose."""
        if self.known_device:
            return limits.SIGN_IN_DEVICE, self.known_device
        return limits.SIGN_IN_ACCOUNT, self.identifier

    @property
    def pair(self) -> rate_limits.Door:
        """The address and the identifier: together, once an hour, one more of those that it tried."""
        return limits.SPRAYED_IDENTIFIER, f"{self.source} {self.identifier}"

    @property
    def doors_of_strangers(self) -> list[rate_limits.Door]:
        return [(one, self.source) for one in (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ADDRESS_DAY, SPRAYED)]

    def _look(self) -> None:
        """Raise TooManyAttempts where a door is shut and no challenge opens it."""
        if not self.is_on:
            return
        asked = [self.door] if self.known_device else [*self.doors_of_strangers, self.pair, self.door]
        seen = rate_limits.look(asked)
        self.suspect = (SPRAYED, self.source) in seen
        if self.pair in seen:
            del seen[self.pair]
            seen.pop((SPRAYED, self.source), None)  # it is none more of those that the address tried
        for door, shut_for_s in seen.items():
            if shut_for_s and (door[0] not in OPENED_BY_A_CHALLENGE or not self._solves(shut_for_s)):
                raise TooManyAttempts(shut_for_s)

    def _solves(self, retry_after_s: int) -> bool:
        """Whether a challenge was solved for it. Raises TooManyAttempts that asks for one where it was not."""
        settings = current_app.extensions["settings"]
        if settings.challenge_url and not self.solved:
            self.solved = self._is_known_as_solved(settings)
            if not self.solved:
                raise TooManyAttempts(retry_after_s, challenge=True)
        return self.solved

    def _is_known_as_solved(self, settings) -> bool:
        """Asks; nobody passes while the service that knows is away."""
        if not self.challenge:
            return False
        rate_limits.take(limits.CHALLENGE_TOKENS, self.source)
        try:
            return is_solved(settings.challenge_url, settings.challenge_secret, self.challenge, request.remote_addr)
        except Away as error:
            current_app.logger.warning("challenges cannot be checked: %s", error)
            return False

    def _count(self) -> None:
        if not self.is_on:
            return
        try:
            self._count_everywhere()
        except TooManyAttempts:
            if self.solved:
                raise
            self._look()  # a door was shut just now: it says what opens it
            self._count_everywhere()

    def _count_everywhere(self) -> None:
        counted = {}
        with rate_limits.counting() as counters:
            if not self.known_device:
                for limit, subject in self.doors_of_strangers[:2]:
                    counted[limit] = counters.take(limit, subject, self.solved and limit in OPENED_BY_A_CHALLENGE)
                self.sprayed = counters.seen_first(*self.pair)
                if self.sprayed:
                    counted[SPRAYED] = counters.take(SPRAYED, self.source)
            counted[self.door[0]] = counters.take(*self.door, self.solved)
        self.used_up = [limit.name for limit, count in counted.items() if limit.shuts_at(count)]

    def succeeded(self) -> None:
        """It was no guess: it opens the identifier's door anew and leaves what else the address did."""
        self._uncount(rate_limits.Counters.clear)

    def _uncount(self, what_becomes_of_the_door) -> None:
        if not self.is_on:
            return
        with rate_limits.counting() as counters:
            if not self.known_device:
                for door in self.doors_of_strangers[: 3 if self.sprayed else 2]:
                    counters.give_back(*door)
                if self.sprayed:
                    counters.clear(*self.pair)
            what_becomes_of_the_door(counters, *self.door)

    def failed(self, account_id: str | None = None, **about) -> None:
        """It was a wrong guess; told in the audit log, and so is what it shuts. Commits."""
        audit.record("authn_login_fail", account_id, actor="anonymous", **about)
        if self.used_up:
            audit.record("authn_login_lock", account_id, actor="anonymous", limits=self.used_up, **about)
        db.session.commit()


def tell_if_shut(limit: limits.Ladder, count: int, account_id: str | None, actor: str) -> None:
    """Note in the caller's unit of work that a wrong guess, the `count`th in a row, begins a wait."""
    if limit.shuts_at(count):
        audit.record("authn_login_lock", account_id, actor=actor, limits=[limit.name])


def count_by_address(limit: limits.Window) -> None:
    """Count one call of whatever `limit` limits, by the caller's address. Raises TooManyAttempts."""
    if current_app.extensions["settings"].login_throttle:
        rate_limits.take(limit, limits.network(request.remote_addr))


def is_within(limit: limits.Window, subject: str) -> bool:
    """Count what is dropped in silence where it is too much, by `subject` and by address; whether it is not."""
    try:
        count_mail(limit, subject)
    except TooManyAttempts:
        return False
    return True


def count_mail(limit: limits.Window, subject: str) -> None:
    """Count a mail that somebody asks for, by `subject` and by the caller's address. Raises TooManyAttempts."""
    count_by_address(limits.MAIL_FROM_ADDRESS)
    if current_app.extensions["settings"].login_throttle:
        rate_limits.take(limit, subject)
