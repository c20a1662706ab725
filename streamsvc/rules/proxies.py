"""Who calls, where reverse proxies stand in between: the nearest one that none of them is."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_address(peer: str, forwarded_for: str, trusted: int | Networks) -> str:
    """The caller's address. `trusted`: how many proxies there are, or the networks that they lie in.

    `forwarded_for` is X-Forwarded-For: each proxy writes behind a comma whom it heard from, so that it is read from
    the right, and no further than what a trusted proxy wrote. Where such a hop is no address, the one that wrote it
    counts.
    """
    client, hops = parse_address(peer), forwarded_for.split(",") if forwarded_for else []
    for nth, hop in enumerate(reversed(hops)):
        told = parse_address(hop)
        if told is None or not is_trusted_proxy(client, nth, trusted):
            break
        client = told
    return str(client) if client else peer


def is_trusted_proxy(hop: IPv4Address | IPv6Address | None, position: int, trusted: int | Networks) -> bool:
    """Whether the hop, the `nth` before the service (the peer is 0), is one of the proxies."""
    if isinstance(trusted, int):
        return position < trusted
    return hop is not None and any(hop in network for network in trusted)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """What the text names, an IPv4 address that is written as IPv6 as itself; None for what is no address."""
    try:
        parsed = ip_address(_strip_port(text.strip()))
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _strip_port(text: str) -> str:
    """Some proxies tell the port: 203.0.113.9:50000, [2001:db8::7]:50000."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
