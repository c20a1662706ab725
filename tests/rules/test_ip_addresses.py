"""Every row of the IANA special-purpose registries, and IPv4 addresses within IPv6 addresses."""

import csv
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from streamsvc.rules import ip_addresses
from streamsvc.rules.ip_addresses import is_public_address

REGISTRIES = Path(__file__).parents[1] / "data" / "iana"
LOCAL_ANYCAST = {"192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128"}
NAT64 = "64:ff9b::/96"


def registry_rows(version):
    """[(block, whether it is globally reachable)]: footnotes removed, N/A and blank are no."""
    with (REGISTRIES / f"iana-ipv{version}-special-registry-1.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for block in row["Address Block"].split(" [")[0].split(", "):
                yield block, row["Globally Reachable"].split(" [")[0] == "True"


ROWS = {version: list(registry_rows(version)) for version in (4, 6)}


def innermost(address, rows):
    """The block of the registry with the longest prefix that holds the address."""
    return max((ip_network(b) for b, _ in rows if address in ip_network(b)), key=lambda network: network.prefixlen)


@pytest.mark.parametrize("version", [4, 6])
def test_the_tables_are_those_that_iana_publishes(version):
    assert list(getattr(ip_addresses, f"_IPV{version}_BLOCKS")) == ROWS[version]


@pytest.mark.parametrize(("block", "reachable"), [row for row in ROWS[4] + ROWS[6] if row[0] != NAT64])
def test_a_block_is_public_as_its_row_says(block, reachable):
    network, rows = ip_network(block), ROWS[ip_network(block).version]
    ends = [a for a in (network[0], network[-1], network[network.num_addresses // 2]) if innermost(a, rows) == network]
    assert ends
    expected = reachable and block not in LOCAL_ANYCAST
    assert {is_public_address(str(address)) for address in ends} == {expected}


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.32.0.0", "192.0.1.1", "223.255.255.255", "2606:4700::1111"],
)
def test_ordinary_addresses_are_public(address):
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "224.0.0.1",  # multicast
        "239.255.255.255",
        "ff02::1",
        "fec0::1",  # site-local, RFC 3879
        "feff::1",
        "::808:808",  # IPv4-compatible, RFC 4291, 2.5.5.1, of a public address too
        "::7f00:1",
        "::ffff:8.8.8.8",  # IPv4-mapped
        "::ffff:0:8.8.8.8",  # IPv4-translated, RFC 7915
        "4000::1",  # outside the global unicast block
        "200::1",  # NSAP
        "fe80::1%1",
    ],
)
def test_addresses_of_no_public_network_are_not_public(address):
    assert not is_public_address(address)


@pytest.mark.parametrize("block", [block for block, _ in ROWS[4]])
def test_an_ipv4_address_within_an_ipv6_address_counts(block):
    inner = ip_network(block)[0]
    for version_6 in (f"64:ff9b::{inner}", f"2a01:db9::5efe:{inner}", f"2a01:db9::200:5efe:{inner}"):
        assert is_public_address(version_6) == is_public_address(str(inner))


def test_ranges_with_an_ipv4_address_that_have_no_business_here_are_never_public():
    for inner in (IPv4Address("8.8.8.8"), IPv4Address("127.0.0.1")):
        digits = f"{int(inner) >> 16:x}:{int(inner) & 0xFFFF:x}"
        assert not is_public_address(f"2002:{digits}::1")  # 6to4
        assert not is_public_address(f"2001:0:{digits}::1")  # Teredo, with the server's address
        assert not is_public_address(f"64:ff9b:1::{digits}")  # local-use NAT64, RFC 8215
    assert is_public_address("64:ff9b::808:808")
