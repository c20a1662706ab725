"""What operators may do: scopes, and the roles that grant them.

A machine has an API key with scopes. A person has one role, which lists the scopes they may write and those they may
only read. Anything else is denied.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SCOPES = ("admin", "billing", "catalog", "support", "playback", "frontend")
"""Scopes of API keys; `admin` includes all. `frontend` gives no access: it vouches for end users' addresses."""
ALL_SCOPES = frozenset(SCOPES)


@dataclass(frozen=True)
class Role:
    """`write_scopes` allow every call, `read_scopes` only calls that change nothing."""

    description: str
    write_scopes: frozenset[str] = frozenset()
    read_scopes: frozenset[str] = frozenset()

    def has_scope(self, scope: str, write: bool) -> bool:
        """Whether a call that requires `scope` is allowed; `write`: whether it may change anything."""
        return "admin" in self.write_scopes or scope in self.write_scopes or (scope in self.read_scopes and not write)


ROLES = {
    "admin": Role("everything", write_scopes=ALL_SCOPES),
    "support": Role(
        "accounts, streams, access decisions; read-only impersonation of viewers",
        write_scopes=frozenset({"support", "playback"}),
        read_scopes=frozenset({"catalog"}),
    ),
    "billing": Role(
        "plans, invoices, refunds, reports", write_scopes=frozenset({"billing"}), read_scopes=frozenset({"support"})
    ),
    "catalog": Role("titles, imports, home rows", write_scopes=frozenset({"catalog"})),
    "auditor": Role("reads everything, including the audit log; changes nothing", read_scopes=ALL_SCOPES),
}
NO_ROLE = Role("nothing")


def get_role(name: str) -> Role:
    """Return the role with this name; one without scopes if there is none."""
    return ROLES.get(name, NO_ROLE)


def api_key_role(scopes: Iterable[str]) -> Role:
    """Return the role of an API key with these scopes."""
    return Role("an API key", write_scopes=frozenset(scopes))
