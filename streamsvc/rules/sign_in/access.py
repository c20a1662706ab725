"""Access history: what gives access to an account, when it was added and by which session, and what to revoke of it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

MAILED_UNDO_PERIOD = timedelta(days=7)
"""How far back a link in a mail reaches, unless what it reports began earlier."""


@dataclass(frozen=True)
class AccessEntry:
    """One row that gives, or gave, access to an account."""

    kind: str
    """A key of `ACCESS_KINDS`."""
    id: str
    created_at: datetime
    added_by_session_id: str | None = None
    name: str | None = None
    device_id: str | None = None
    """The device of a session."""
    is_active: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the entry: ids are unique per kind only."""
        return self.kind, self.id


ACCESS_KINDS = (
    "session",
    "device",
    "device_approval",
    "passkey",
    "identity",
    "authenticator",
    "recovery_codes",
    "username",
    "phone",
    "email_change",
    "password_change",
)


@dataclass(frozen=True)
class AccessStart:
    """The moment of a takeover; everything from then on is to be revoked. Without `at`: everything there is.

    `row_id` is the row with which it began: of rows of the same instant, only those with a higher id are newer.
    """

    at: datetime | None = None
    row_id: str | None = None

    def includes(self, entry: AccessEntry) -> bool:
        """Whether the entry was added at the moment or later."""
        if self.at is None or entry.created_at > self.at:
            return True
        if entry.created_at < self.at:
            return False
        return self.row_id is None or _sort_key(entry.id) >= _sort_key(self.row_id)


EVERYTHING = AccessStart()


def find_entries_to_revoke(
    entries: Iterable[AccessEntry], start: AccessStart, device_ids: Collection[str] = ()
) -> list[AccessEntry]:
    """Find the entries since the moment, those of the devices, and all that their sessions added in turn."""
    remaining, revoked = list(entries), list[AccessEntry]()
    devices, sessions = set(device_ids), set[str]()
    while True:
        found = [
            entry
            for entry in remaining
            if start.includes(entry)
            or entry.added_by_session_id in sessions
            or (entry.device_id or entry.id if entry.kind in ("session", "device") else None) in devices
        ]
        if not found:
            return revoked
        revoked += found
        remaining = [entry for entry in remaining if entry not in found]
        sessions |= {entry.id for entry in found if entry.kind == "session"}
        devices |= {entry.id for entry in found if entry.kind == "device"}


@dataclass(frozen=True)
class RevocationPlan:
    """What a revocation removes, for its preview and its execution alike.

    Without `start`, the age of an entry does not matter: only sessions and approved televisions end.
    """

    start: AccessStart | None
    device_ids: Collection[str] = ()
    """Devices that are removed whatever their age, with all that their sessions added."""
    all_sessions: bool = False
    """Whether older sessions end too."""

    def find_revoked(self, entries: Iterable[AccessEntry]) -> list[AccessEntry]:
        """Find the entries that the plan removes: also approved televisions of any age, and the authenticator's codes.

        They are compared by kind and id: a username and a telephone number have the account's id.
        """
        entries = list(entries)
        revoked = [] if self.start is None else find_entries_to_revoke(entries, self.start, self.device_ids)
        kinds = {"device_approval"} | ({"session"} if self.all_sessions else set())
        if any(entry.kind == "authenticator" for entry in revoked):
            kinds.add("recovery_codes")
        found = {entry.key for entry in revoked}
        return revoked + [e for e in entries if e.is_active and e.kind in kinds and e.key not in found]


REVOKE_EVERYTHING = RevocationPlan(EVERYTHING, all_sessions=True)


def _sort_key(row_id: str) -> str:
    """Return the part of an id that sorts by creation."""
    return row_id.rpartition("_")[2]
