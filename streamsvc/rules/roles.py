"""What operators may do: the scopes that doors ask for, and the roles that people have.

A machine has an API key, which carries scopes. A person has one role, which names the scopes in which they act and
those in which they only look. What neither list names stays closed.
"""

from dataclasses import dataclass

SCOPES = ("admin", "billing", "catalog", "support", "playback", "frontend")
"""What an API key may be for; `admin` includes all. `frontend` opens no door: it vouches for end users' addresses."""
EVERY_SCOPE = frozenset(SCOPES)


@dataclass(frozen=True)
class Role:
    """`acts`: scopes in which every call is open. `looks`: scopes in which those calls are that change nothing."""

    about: str
    acts: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()

    def may(self, scope: str, changes: bool) -> bool:
        """Whether a call that asks for `scope` is open, `changes` saying whether it may change anything."""
        return "admin" in self.acts or scope in self.acts or (scope in self.looks and not changes)


ROLES = {
    "admin": Role("everything", acts=EVERY_SCOPE),
    "support": Role(
        "accounts, streams, the reasons of refusals; looks on as a viewer",
        acts=frozenset({"support", "playback"}),
        looks=frozenset({"catalog"}),
    ),
    "billing": Role("plans, invoices, refunds, reports", acts=frozenset({"billing"}), looks=frozenset({"support"})),
    "catalog": Role("titles, imports, home rows", acts=frozenset({"catalog"})),
    "auditor": Role("reads everything, the audit log included; changes nothing", looks=EVERY_SCOPE),
}
NOTHING = Role("nothing")


def role_named(name: str) -> Role:
    """The role of this name; one that opens nothing where there is none."""
    return ROLES.get(name, NOTHING)


def of_key(scopes) -> Role:
    """What an API key with these scopes may do."""
    return Role("an API key", acts=frozenset(scopes))
