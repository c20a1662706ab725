"""One try to sign in, counted before it is made.

A device that the account knows has a count of its own, and no other count stops it: however long strangers try, the
owner comes in at home. Everybody else is counted by address, by how many identifiers the address fails on, and by the
identifier, which counts the same whether or not there is such an account.
"""

from dataclasses import dataclass, field

from flask import current_app, request

from streamsvc.gateways.calls import CallFailed
from streamsvc.gateways.challenges import is_challenge_solved
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import db

SPRAY_LIMIT = limits.SPRAYED_ADDRESS
LIMITS_LIFTED_BY_CHALLENGE = (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ACCOUNT, limits.SIGN_IN_DEVICE)


@dataclass
class SignInAttempt:
    identifier: str
    known_device: str | None
    challenge_token: str | None = None
    """What the client sent as solved."""
    is_first_try: bool = False
    """Whether this was the address's first try at the identifier within the hour."""
    exhausted_limits: list[str] = field(default_factory=list)
    """The limits that this attempt used up."""
    challenge_solved: bool = False
    """Whether it took a challenge to let it by."""
    address_has_failures: bool = False
    """Whether somebody failed from the same address within the hour."""

    def __post_init__(self):
        self.is_enabled = current_app.extensions["settings"].login_throttle
        self.network = limits.source_network(request.remote_addr)

    def verify_password(self, password_hash: str | None, password: str) -> bool:
        """Look, find a place, count, hash: whether this is the password behind `kept`.

        What a shut door refuses is counted nowhere, and neither is what finds no place: nothing was hashed, so nobody
        learned anything. Raises TooManyAttempts, or Unavailable where too many ask at once.
        """
        self._test_limits()
        with password_hashing.hashing_permit(self.known_device is not None, self.address_has_failures) as place:
            self._count_attempt()
            try:
                return place.verify_password(password_hash, password)
            except Unavailable:
                self._refund_hits(rate_limits.Counters.refund)
                raise

    @property
    def own_limit(self) -> rate_limits.Limit:
        """The ladder that this attempt climbs, and whose."""
        if self.known_device:
            return limits.SIGN_IN_DEVICE, self.known_device
        return limits.SIGN_IN_ACCOUNT, self.identifier

    @property
    def first_try_limit(self) -> rate_limits.Limit:
        """The address and the identifier: together, once an hour, one more of those that it tried."""
        return limits.SPRAYED_IDENTIFIER, f"{self.network} {self.identifier}"

    @property
    def address_limits(self) -> list[rate_limits.Limit]:
        return [(one, self.network) for one in (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ADDRESS_DAY, SPRAY_LIMIT)]

    def _test_limits(self) -> None:
        """Raise TooManyAttempts where a door is shut and no challenge opens it."""
        if not self.is_enabled:
            return
        asked = [self.own_limit] if self.known_device else [*self.address_limits, self.first_try_limit, self.own_limit]
        seen = rate_limits.resets_in(asked)
        self.address_has_failures = (SPRAY_LIMIT, self.network) in seen
        if self.first_try_limit in seen:
            del seen[self.first_try_limit]
            seen.pop((SPRAY_LIMIT, self.network), None)  # it is none more of those that the address tried
        for door, shut_for_s in seen.items():
            if shut_for_s and (door[0] not in LIMITS_LIFTED_BY_CHALLENGE or not self._require_challenge(shut_for_s)):
                raise TooManyAttempts(shut_for_s)

    def _require_challenge(self, retry_after_s: int) -> bool:
        """Whether a challenge was solved for it. Raises TooManyAttempts that asks for one where it was not."""
        settings = current_app.extensions["settings"]
        if settings.challenge_url and not self.challenge_solved:
            self.challenge_solved = self._is_challenge_solved(settings)
            if not self.challenge_solved:
                raise TooManyAttempts(retry_after_s, challenge=True)
        return self.challenge_solved

    def _is_challenge_solved(self, settings) -> bool:
        """Asks; nobody passes while the service that knows is away."""
        if not self.challenge_token:
            return False
        rate_limits.hit(limits.CHALLENGE_TOKENS, self.network)
        try:
            return is_challenge_solved(
                settings.challenge_url, settings.challenge_secret, self.challenge_token, request.remote_addr
            )
        except CallFailed as error:
            current_app.logger.warning("challenges cannot be checked: %s", error)
            return False

    def _count_attempt(self) -> None:
        if not self.is_enabled:
            return
        try:
            self._hit_limits()
        except TooManyAttempts:
            if self.challenge_solved:
                raise
            self._test_limits()  # a door was shut just now: it says what opens it
            self._hit_limits()

    def _hit_limits(self) -> None:
        counted = {}
        with rate_limits.counter_transaction() as counters:
            if not self.known_device:
                for limit, subject in self.address_limits[:2]:
                    counted[limit] = counters.hit(
                        limit, subject, self.challenge_solved and limit in LIMITS_LIFTED_BY_CHALLENGE
                    )
                self.is_first_try = counters.count_first_seen(*self.first_try_limit)
                if self.is_first_try:
                    counted[SPRAY_LIMIT] = counters.hit(SPRAY_LIMIT, self.network)
            counted[self.own_limit[0]] = counters.hit(*self.own_limit, self.challenge_solved)
        self.exhausted_limits = [limit.name for limit, count in counted.items() if limit.is_exhausted_at(count)]

    def record_success(self) -> None:
        """It was no guess: it opens the identifier's door anew and leaves what else the address did."""
        self._refund_hits(rate_limits.Counters.clear)

    def _refund_hits(self, release_own_limit) -> None:
        if not self.is_enabled:
            return
        with rate_limits.counter_transaction() as counters:
            if not self.known_device:
                for door in self.address_limits[: 3 if self.is_first_try else 2]:
                    counters.refund(*door)
                if self.is_first_try:
                    counters.clear(*self.first_try_limit)
            release_own_limit(counters, *self.own_limit)

    def record_failure(self, account_id: str | None = None, **about) -> None:
        """It was a wrong guess; told in the audit log, and so is what it shuts. Commits."""
        audit.record_event("authn_login_fail", account_id, actor="anonymous", **about)
        if self.exhausted_limits:
            audit.record_event("authn_login_lock", account_id, actor="anonymous", limits=self.exhausted_limits, **about)
        db.session.commit()


def audit_lockout(limit: limits.Backoff, count: int, account_id: str | None, actor: str) -> None:
    """Note in the caller's unit of work that a wrong guess, the `count`th in a row, begins a wait."""
    if limit.is_exhausted_at(count):
        audit.record_event("authn_login_lock", account_id, actor=actor, limits=[limit.name])


def hit_address_limit(limit: limits.RateLimit) -> None:
    """Count one call of whatever `limit` limits, by the caller's address. Raises TooManyAttempts."""
    if current_app.extensions["settings"].login_throttle:
        rate_limits.hit(limit, limits.source_network(request.remote_addr))


def is_mail_allowed(limit: limits.RateLimit, subject: str) -> bool:
    """Count what is dropped in silence where it is too much, by `subject` and by address; whether it is not."""
    try:
        hit_mail_limits(limit, subject)
    except TooManyAttempts:
        return False
    return True


def hit_mail_limits(limit: limits.RateLimit, subject: str) -> None:
    """Count a mail that somebody asks for, by `subject` and by the caller's address. Raises TooManyAttempts."""
    hit_address_limit(limits.MAIL_FROM_ADDRESS)
    if current_app.extensions["settings"].login_throttle:
        rate_limits.hit(limit, subject)
