"""The client's address behind reverse proxies cannot be forged."""

from ipaddress import ip_network

import pytest

from streamsvc.rules.proxies import client_address

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1", "2001:db8:5::/48")))


@pytest.mark.parametrize(
    "peer, forwarded_for, client",
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "10.0.0.7, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "10.0.0.7,10.0.0.8", "10.0.0.7"),
        ("2001:db8:5::1", "2001:db8:6::1, 2001:db8:7::1, 2001:db8:5::2", "2001:db8:7::1"),
        ("2001:db8:6::1", "198.51.100.1", "2001:db8:6::1"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:51000", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:7::1]:51000", "2001:db8:7::1"),
        ("10.0.0.1", "203.0.113.9, made up, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.256", "10.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_nearest_hop_outside_the_trusted_networks_is_the_client(peer, forwarded_for, client):
    assert client_address(peer, forwarded_for, TRUSTED) == client


@pytest.mark.parametrize(
    "trusted, forwarded_for, client",
    [
        (1, "", "192.0.2.1"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 192.0.2.2", "203.0.113.9"),
        (2, "203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, made up, 192.0.2.2", "192.0.2.2"),
        (1, "made up", "192.0.2.1"),
    ],
)
def test_with_a_number_of_proxies_the_furthest_one_names_the_client(trusted, forwarded_for, client):
    assert client_address("192.0.2.1", forwarded_for, trusted) == client
