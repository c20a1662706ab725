"""Rate limits of sign-in attempts and mails. Each attempt is counted before it is made.

A device that the account knows has a counter of its own, and no other counter blocks it: however often unknown clients
fail, the owner can sign in on a known device. All other attempts are counted by address, by the number of identifiers
that the address fails on, and by identifier; an identifier counts the same whether or not it has an account.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamsvc.gateways import challenges
from streamsvc.gateways.peers import CallFailed, log_failure
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.security import password_hashing, rate_limits
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.database import db

SPRAY_LIMIT = limits.SPRAYED_ADDRESS
LIMITS_LIFTED_BY_CHALLENGE = (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ACCOUNT, limits.SIGN_IN_DEVICE)


@dataclass
class SignInAttempt:
    """One attempt to sign in with a password, and the rate limits that it counts against."""

    identifier: str
    known_device: str | None
    facts: RequestFacts
    challenge_token: str | None = None
    """The client's proof of a solved challenge."""
    is_first_try: bool = False
    """Whether the address tries this identifier for the first time within the hour."""
    exhausted_limits: list[str] = field(default_factory=list)
    """The names of the limits that this attempt exhausted."""
    challenge_solved: bool = False
    """Whether a solved challenge was needed to allow the attempt."""
    address_has_failures: bool = False
    """Whether an attempt from the same address failed within the hour."""

    def __post_init__(self) -> None:
        self.is_enabled = current_settings().login_throttle
        self.network = self.facts.network

    def verify_password(self, password_hash: str | None, password: str) -> bool:
        """Test the limits, reserve hashing capacity, count the attempt, and compare the password with the hash.

        An attempt is not counted if a limit is exhausted or no hashing capacity is free: nothing was hashed, so the
        caller learned nothing. Raises TooManyAttempts; Unavailable if the hashing queue is full.
        """
        self._test_limits()
        with password_hashing.hashing_permit(self.known_device is not None, self.address_has_failures) as permit:
            self._count_attempt()
            try:
                return permit.verify_password(password_hash, password)
            except Unavailable:
                self._refund_hits(rate_limits.Counters.refund)
                raise

    @property
    def own_limit(self) -> rate_limits.Limit:
        """The backoff of the known device, or else of the identifier."""
        if self.known_device:
            return limits.SIGN_IN_DEVICE, self.known_device
        return limits.SIGN_IN_ACCOUNT, self.identifier

    @property
    def first_try_limit(self) -> tuple[limits.RateLimit, str]:
        """Counts the pair of address and identifier once an hour, to count the identifiers that an address tries."""
        return limits.SPRAYED_IDENTIFIER, f"{self.network} {self.identifier}"

    @property
    def address_limits(self) -> list[rate_limits.Limit]:
        return [(rule, self.network) for rule in (limits.SIGN_IN_ADDRESS, limits.SIGN_IN_ADDRESS_DAY, SPRAY_LIMIT)]

    def _test_limits(self) -> None:
        """Raise TooManyAttempts if a limit is exhausted that no solved challenge lifts."""
        if not self.is_enabled:
            return
        tested = [self.own_limit] if self.known_device else [*self.address_limits, self.first_try_limit, self.own_limit]
        resets_in_s = rate_limits.resets_in(tested)
        self.address_has_failures = (SPRAY_LIMIT, self.network) in resets_in_s
        if self.first_try_limit in resets_in_s:
            del resets_in_s[self.first_try_limit]
            resets_in_s.pop((SPRAY_LIMIT, self.network), None)  # another try of a counted identifier does not count
        for limit, wait_s in resets_in_s.items():
            if wait_s and (limit[0] not in LIMITS_LIFTED_BY_CHALLENGE or not self._require_challenge(wait_s)):
                raise TooManyAttempts(wait_s)

    def _require_challenge(self, retry_after_s: int) -> bool:
        """Whether a challenge was solved; False if none is configured.

        Raises TooManyAttempts with `challenge` if one is configured and was not solved.
        """
        settings = current_settings()
        if settings.challenge_url and not self.challenge_solved:
            self.challenge_solved = self._is_challenge_solved(settings)
            if not self.challenge_solved:
                raise TooManyAttempts(retry_after_s, challenge=True)
        return self.challenge_solved

    def _is_challenge_solved(self, settings: Settings) -> bool:
        """Ask the challenge service. While it is unavailable, no challenge counts as solved."""
        if not self.challenge_token:
            return False
        rate_limits.hit(limits.CHALLENGE_TOKENS, self.network)
        try:
            return challenges.is_challenge_solved(
                settings.challenge_url, settings.challenge_secret, self.challenge_token, self.facts.address
            )
        except CallFailed as error:
            log_failure(challenges.PEER.name, str(error))
            return False

    def _count_attempt(self) -> None:
        if not self.is_enabled:
            return
        try:
            self._hit_limits()
        except TooManyAttempts:
            if self.challenge_solved:
                raise
            self._test_limits()  # a limit was exhausted in the meantime: test whether a challenge lifts it
            self._hit_limits()

    def _hit_limits(self) -> None:
        counts = {}
        with rate_limits.counter_transaction() as counters:
            if not self.known_device:
                for rule, subject in self.address_limits[:2]:
                    is_lifted = self.challenge_solved and rule in LIMITS_LIFTED_BY_CHALLENGE
                    counts[rule] = counters.hit(rule, subject, is_lifted)
                self.is_first_try = counters.count_first_seen(*self.first_try_limit)
                if self.is_first_try:
                    counts[SPRAY_LIMIT] = counters.hit(SPRAY_LIMIT, self.network)
            counts[self.own_limit[0]] = counters.hit(*self.own_limit, self.challenge_solved)
        self.exhausted_limits = [rule.name for rule, count in counts.items() if rule.is_exhausted_at(count)]

    def record_success(self) -> None:
        """Clear the attempt's own limit and refund its hits on the limits of the address."""
        self._refund_hits(rate_limits.Counters.clear)

    def _refund_hits(
        self,
        release_own_limit: Callable[[rate_limits.Counters, rate_limits.RateLimit | rate_limits.Backoff, str], None],
    ) -> None:
        """Refund the hits of this attempt; `release_own_limit` is `Counters.refund` or `Counters.clear`."""
        if not self.is_enabled:
            return
        with rate_limits.counter_transaction() as counters:
            if not self.known_device:
                for limit in self.address_limits[: 3 if self.is_first_try else 2]:
                    counters.refund(*limit)
                if self.is_first_try:
                    counters.clear(*self.first_try_limit)
            release_own_limit(counters, *self.own_limit)

    def record_failure(self, account_id: str | None = None, **details: Any) -> None:
        """Record the failed attempt, and any limits that it exhausted, in the audit log. Commits."""
        audit.record_event("authn_login_fail", account_id, actor="anonymous", **details)
        security_events.enqueue_lock_event(account_id, security_events.OWN_LIMITS.intersection(self.exhausted_limits))
        if self.exhausted_limits:
            audit.record_event(
                "authn_login_lock", account_id, actor="anonymous", limits=self.exhausted_limits, **details
            )
        db.session.commit()


def audit_lockout(limit: limits.Backoff, count: int, account_id: str | None, actor: str) -> None:
    """Record in the caller's transaction that failure number `count` in a row starts a wait, if it does."""
    if limit.is_exhausted_at(count):
        audit.record_event("authn_login_lock", account_id, actor=actor, limits=[limit.name])
        security_events.enqueue_lock_event(account_id, [limit.name])


def hit_address_limit(limit: limits.RateLimit, facts: RequestFacts) -> None:
    """Count one call against `limit` by the client's address. Raises TooManyAttempts."""
    if current_settings().login_throttle:
        rate_limits.hit(limit, facts.network)
