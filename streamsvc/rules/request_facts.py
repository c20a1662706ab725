"""The facts of a request that operations need: who sends it from where."""

from dataclasses import dataclass
from typing import NamedTuple

from streamsvc.rules.geography import Place
from streamsvc.rules.rate_limits import source_network


class GuestSession(NamedTuple):
    """The live session of a guest."""

    account_id: str
    session_id: str


@dataclass(frozen=True)
class RequestFacts:
    """Read once by the HTTP layer and passed down, so that operations do not depend on a current request."""

    address: str | None
    """The client's IP address, after trusted proxies and X-End-User-Address."""
    city: str | None
    """The client's city as reported by a trusted proxy; None if unknown."""
    user_agent: str
    place: Place = Place()
    """What the geographic database says about the address."""
    dpop_jkt: str | None = None
    """The thumbprint of the key that the client proved at sign-in (DPoP)."""
    former_token: str = ""
    """The session token that the client sent along, whether or not it is still valid; empty: none."""
    guest: GuestSession | None = None
    """The guest who signs up or signs in, proved by the token sent along."""

    @property
    def network(self) -> str:
        """The address as rate limits count it: an IPv4 address, or the /64 of an IPv6 address."""
        return source_network(self.address)
