"""One try to sign in, counted before it is made.

A device that the account knows has a count of its own, and no other count stops it: however long strangers try, the
owner comes in at home. Everybody else is counted by address, by how many identifiers the address fails on, and by the
identifier, which counts the same whether or not there is such an account.
"""

from dataclasses import dataclass, field
from functools import cached_property

from flask import current_app, request

from streamsvc import throttle
from streamsvc.database import db
from streamsvc.gateways.calls import Away
from streamsvc.gateways.challenges import is_solved
from streamsvc.operations import audit
from streamsvc.rules import throttle as limits
from streamsvc.rules.refusals import TooManyAttempts


@dataclass
class Attempt:
    identifier: str
    known_device: str | None
    source: str
    is_on: bool
    challenge: str | None = None
    """What the client sent as solved."""
    sprayed: bool = False
    """Whether this was the address's first try at the identifier within the hour."""
    shut: list[str] = field(default_factory=list)
    """The limits that this attempt used up."""

    @classmethod
    def counted(cls, identifier: str, known_device: str | None, challenge: str | None = None) -> "Attempt":
        """Raises TooManyAttempts where there is none left; a solved challenge gives one more."""
        is_on = current_app.extensions["settings"].login_throttle
        attempt = cls(identifier, known_device, limits.network(request.remote_addr), is_on, challenge)
        if is_on:
            attempt._count()
        return attempt

    def _count(self) -> None:
        if not self.known_device:
            self._take(limits.SIGN_IN_ADDRESS, self.source)
            self._note(limits.SIGN_IN_ADDRESS_DAY, throttle.take(limits.SIGN_IN_ADDRESS_DAY, self.source))
            self._count_identifier()
        self._take(*self.door)

    def _count_identifier(self) -> None:
        """One more identifier of the address's. It is noted only once it is counted: asking twice is no way round."""
        if throttle.was_seen(limits.SPRAYED_IDENTIFIER, self.pair):
            return
        count = throttle.take(limits.SPRAYED_ADDRESS, self.source)
        self.sprayed = throttle.seen_first(limits.SPRAYED_IDENTIFIER, self.pair)
        if self.sprayed:
            self._note(limits.SPRAYED_ADDRESS, count)
        else:  # another attempt noted it at this very moment
            throttle.give_back(limits.SPRAYED_ADDRESS, self.source)

    @property
    def pair(self) -> str:
        return f"{self.source} {self.identifier}"

    def _take(self, limit: limits.Window | limits.Ladder, subject: str) -> None:
        """Count by a limit that a solved challenge passes."""
        try:
            count = throttle.take(limit, subject)
        except TooManyAttempts as shut:
            if not current_app.extensions["settings"].challenge_url:
                raise
            if not self._is_solved:
                raise TooManyAttempts(shut.retry_after_s, challenge=True) from None
            count = throttle.take(limit, subject, solved=True)
        self._note(limit, count)

    def _note(self, limit: limits.Window | limits.Ladder, count: int) -> None:
        if limit.shuts_at(count):
            self.shut.append(limit.name)

    @cached_property
    def _is_solved(self) -> bool:
        """Asks once; nobody passes while the service that knows is away."""
        if not self.challenge:
            return False
        throttle.take(limits.CHALLENGE_TOKENS, self.source)
        settings = current_app.extensions["settings"]
        try:
            return is_solved(settings.challenge_url, settings.challenge_secret, self.challenge, request.remote_addr)
        except Away as error:
            current_app.logger.warning("challenges cannot be checked: %s", error)
            return False

    @property
    def door(self) -> tuple[limits.Ladder, str]:
        """The ladder that this attempt climbed, and whose."""
        if self.known_device:
            return limits.SIGN_IN_DEVICE, self.known_device
        return limits.SIGN_IN_ACCOUNT, self.identifier

    def succeeded(self) -> None:
        """It was no guess: it opens the identifier's door anew and leaves what else the address did."""
        if self.is_on:
            self._clear_source()
            throttle.clear(*self.door)

    def failed(self, account_id: str | None = None, **about) -> None:
        """It was a wrong guess; told in the audit log, and so is what it shuts. Commits."""
        audit.record("authn_login_fail", account_id, actor="anonymous", **about)
        if self.shut:
            audit.record("authn_login_lock", account_id, actor="anonymous", limits=self.shut, **about)
        db.session.commit()

    def was_none(self) -> None:
        """Nothing was hashed, so nobody learned anything: what a full house refuses does not count."""
        if self.is_on:
            self._clear_source()
            throttle.give_back(*self.door)

    def _clear_source(self) -> None:
        if self.known_device:
            return
        throttle.give_back(limits.SIGN_IN_ADDRESS, self.source)
        throttle.give_back(limits.SIGN_IN_ADDRESS_DAY, self.source)
        if self.sprayed:
            throttle.clear(limits.SPRAYED_IDENTIFIER, self.pair)
            throttle.give_back(limits.SPRAYED_ADDRESS, self.source)


def tell_if_shut(limit: limits.Ladder, count: int, account_id: str | None, actor: str) -> None:
    """Note in the caller's unit of work that a wrong guess, the `count`th in a row, begins a wait."""
    if limit.shuts_at(count):
        audit.record("authn_login_lock", account_id, actor=actor, limits=[limit.name])


def count_by_address(limit: limits.Window) -> None:
    """Count one call of whatever `limit` limits, by the caller's address. Raises TooManyAttempts."""
    if current_app.extensions["settings"].login_throttle:
        throttle.take(limit, limits.network(request.remote_addr))


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
        throttle.take(limit, subject)
