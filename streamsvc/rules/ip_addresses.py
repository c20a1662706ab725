"""Which IP addresses are public, according to the IANA special-purpose address registries as of 18 July 2026.

The registries are copied here instead of taken from the standard library, whose copy is as old as the interpreter. A
test compares the tables with the published files (tests/data/iana).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_IPV4_BLOCKS = (
    ("0.0.0.0/8", False),  # This network
    ("0.0.0.0/32", False),  # This host on this network
    ("10.0.0.0/8", False),  # Private-Use
    ("100.64.0.0/10", False),  # Shared Address Space
    ("127.0.0.0/8", False),  # Loopback
    ("169.254.0.0/16", False),  # Link Local
    ("172.16.0.0/12", False),  # Private-Use
    ("192.0.0.0/24", False),  # IETF Protocol Assignments
    ("192.0.0.0/29", False),  # IPv4 Service Continuity Prefix
    ("192.0.0.8/32", False),  # IPv4 dummy address
    ("192.0.0.9/32", True),  # Port Control Protocol Anycast
    ("192.0.0.10/32", True),  # Traversal Using Relays around NAT Anycast
    ("192.0.0.170/32", False),  # NAT64/DNS64 Discovery
    ("192.0.0.171/32", False),  # NAT64/DNS64 Discovery
    ("192.0.2.0/24", False),  # Documentation (TEST-NET-1)
    ("192.31.196.0/24", True),  # AS112-v4
    ("192.52.193.0/24", True),  # AMT
    ("192.88.99.0/24", False),  # Deprecated (6to4 Relay Anycast)
    ("192.88.99.2/32", False),  # 6a44-relay anycast address
    ("192.168.0.0/16", False),  # Private-Use
    ("192.175.48.0/24", True),  # Direct Delegation AS112 Service
    ("198.18.0.0/15", False),  # Benchmarking
    ("198.51.100.0/24", False),  # Documentation (TEST-NET-2)
    ("203.0.113.0/24", False),  # Documentation (TEST-NET-3)
    ("240.0.0.0/4", False),  # Reserved
    ("255.255.255.255/32", False),  # Limited Broadcast
)
_IPV6_BLOCKS = (
    ("::1/128", False),  # Loopback Address
    ("::/128", False),  # Unspecified Address
    ("::ffff:0:0/96", False),  # IPv4-mapped Address
    ("64:ff9b::/96", True),  # IPv4-IPv6 Translat.
    ("64:ff9b:1::/48", False),  # IPv4-IPv6 Translat.
    ("100::/64", False),  # Discard-Only Address Block
    ("100:0:0:1::/64", False),  # Dummy IPv6 Prefix
    ("2001::/23", False),  # IETF Protocol Assignments
    ("2001::/32", False),  # TEREDO
    ("2001:1::1/128", True),  # Port Control Protocol Anycast
    ("2001:1::2/128", True),  # Traversal Using Relays around NAT Anycast
    ("2001:1::3/128", True),  # DNS-SD Service Registration Protocol Anycast
    ("2001:2::/48", False),  # Benchmarking
    ("2001:3::/32", True),  # AMT
    ("2001:4:112::/48", True),  # AS112-v6
    ("2001:10::/28", False),  # Deprecated (previously ORCHID)
    ("2001:20::/28", True),  # ORCHIDv2
    ("2001:30::/28", True),  # Drone Remote ID Protocol Entity Tags (DETs) Prefix
    ("2001:db8::/32", False),  # Documentation
    ("2002::/16", False),  # 6to4
    ("2620:4f:8000::/48", True),  # Direct Delegation AS112 Service
    ("3fff::/20", False),  # Documentation
    ("5f00::/16", False),  # Segment Routing (SRv6) SIDs
    ("fc00::/7", False),  # Unique-Local
    ("fe80::/10", False),  # Link-Local Unicast
)
"""(block, whether it is globally reachable) per row of the registry. The longest matching block decides."""

_IPV4_MULTICAST = IPv4Network("224.0.0.0/4")  # RFC 5771
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291: site-local and IPv4-compatible addresses lie outside, as others
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that a translator connects to
_ISATAP_INTERFACES = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1: the upper half of an interface identifier

_LOCAL_ANYCAST = frozenset(
    ip_address(text) for text in ("192.0.0.9", "192.0.0.10", "2001:1::1", "2001:1::2", "2001:1::3")
)
"""Globally reachable by the registry, but the nearest network answers: often the service's own gateway."""


def _parse_blocks(rows: tuple[tuple[str, bool], ...]) -> tuple[tuple[IPv4Network | IPv6Network, bool], ...]:
    blocks = [(ip_network(block), reachable) for block, reachable in rows]
    return tuple(sorted(blocks, key=lambda row: -row[0].prefixlen))


_BLOCKS = {4: _parse_blocks(_IPV4_BLOCKS), 6: _parse_blocks(_IPV6_BLOCKS)}


def is_public_address(address: str) -> bool:
    """Whether an IP address is a public unicast address, and so is each IPv4 address that it embeds."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return ip not in _IPV4_MULTICAST and _is_globally_reachable(ip)
    if ip in _NAT64:
        return is_public_address(str(_lowest_ipv4(ip)))
    if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP_INTERFACES and not is_public_address(str(_lowest_ipv4(ip))):
        return False
    return ip in _GLOBAL_UNICAST and _is_globally_reachable(ip)


def _is_globally_reachable(ip: IPv4Address | IPv6Address) -> bool:
    if ip in _LOCAL_ANYCAST:
        return False
    return next((reachable for block, reachable in _BLOCKS[ip.version] if ip in block), True)


def _lowest_ipv4(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFFFFFF)
