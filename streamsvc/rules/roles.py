"""What operators may do: the scopes that doors ask for, and the roles that people have.

A machine has an API key, which carries scopes. A person has one role, which names the scopes in which they act and
those in which they only look. What neither list names stays closed.
"""

from dataclasses import dataclass

SCOPES = ("admin", "billing", "catalog", "support", "playback", "frontend")
"""What an API key may be for; `admin` includes all. `frontend` opens no door: it vouches for end users' addresses."""
ALL_SCOPES = frozenset(SCOPES)


@dataclass(frozen=True)
class Role:
    """`acts`: scopes in which every call is open. `looks`: scopes in which those calls are that change nothing."""

    description: str
    write_scopes: frozenset[str] = frozenset()
    read_scopes: frozenset[str] = frozenset()

    def has_scope(self, scope: str, write: bool) -> bool:
        """Whether a call that asks for `scope` is open, `changes` saying whether it may change anything."""
        return "admin" in self.write_scopes or scope in self.write_scopes or (scope in self.read_scopes and not write)


ROLES = {
    "admin": Role("everything", write_scopes=ALL_SCOPES),
    "support": Role(
        "accounts, streams, the reasons of refusals; looks on as a viewer",
        write_scopes=frozenset({"support", "playback"}),
        read_scopes=frozenset({"catalog"}),
    ),
    "billing": Role(
        "plans, invoices, refunds, reports", write_scopes=frozenset({"billing"}), read_scopes=frozenset({"support"})
    ),
    "catalog": Role("titles, imports, home rows", write_scopes=frozenset({"catalog"})),
    "auditor": Role("reads everything, the audit log included; changes nothing", read_scopes=ALL_SCOPES),
}
NO_ROLE = Role("nothing")


def get_role(name: str) -> Role:
    """The role of this name; one that opens nothing where there is none."""
    return ROLES.get(name, NO_ROLE)


def api_key_role(scopes) -> Role:
    """What an API key with these scopes may do."""
    return Role("an API key", write_scopes=frozenset(scopes))
