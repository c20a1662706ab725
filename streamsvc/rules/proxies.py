"""The client's address behind reverse proxies: the nearest hop that is not a trusted proxy."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_address(peer: str, forwarded_for: str, trusted: int | Networks) -> str:
    """Return the client's address. `trusted`: the number of proxies, or their networks.

    `forwarded_for` is X-Forwarded-For: each proxy appends, after a comma, the address that connected to it. So it is
    read from the right, and only as far as trusted proxies wrote it. If such an entry is not an address, the proxy that
    wrote it counts as the client.
    """
    client, hops = parse_address(peer), forwarded_for.split(",") if forwarded_for else []
    for position, hop in enumerate(reversed(hops)):
        hop_address = parse_address(hop)
        if hop_address is None or not is_trusted_proxy(client, position, trusted):
            break
        client = hop_address
    return str(client) if client else peer


def is_trusted_proxy(hop: IPv4Address | IPv6Address | None, position: int, trusted: int | Networks) -> bool:
    """Whether the hop is one of the proxies. `position` counts from the service; the peer is 0."""
    if isinstance(trusted, int):
        return position < trusted
    return hop is not None and any(hop in network for network in trusted)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address; an IPv4 address in IPv6 form becomes IPv4. None for anything else."""
    try:
        parsed = ip_address(_strip_port(text.strip()))
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _strip_port(text: str) -> str:
    """Remove the port that some proxies append: 203.0.113.9:50000, [2001:db8::7]:50000."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
