from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback.tokens import (
    MediaScope,
    PlaybackToken,
    allows_address,
    allows_host,
    allows_path,
    bind_network,
    is_expired,
)
from streamsvc.settings import Settings

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SCOPE = MediaScope(("cdn.example",), ("/media/ttl_1/",), ("/media/ttl_1/uhd/",))
GRANT = PlaybackToken("str_1", "acc_1", "pro_1", "ttl_1", "DE", SCOPE, 1080, None, NOON + timedelta(seconds=90))
HEIGHTS = Settings.media_height_pattern


def test_a_token_has_all_its_claims():
    assert GRANT.claims() == {
        "aud": "playback",
        "sub": "str_1",
        "account": "acc_1",
        "profile": "pro_1",
        "item": "ttl_1",
        "country": "DE",
        "hosts": ("cdn.example",),
        "paths": ("/media/ttl_1/",),
        "denied": ("/media/ttl_1/uhd/",),
        "max_height": 1080,
        "network": None,
        "exp": int(NOON.timestamp()) + 90,
    }


def test_a_token_expires_on_the_second():
    assert not is_expired(GRANT.claims(), NOON + timedelta(seconds=89, microseconds=999_999))
    assert is_expired(GRANT.claims(), NOON + timedelta(seconds=90))


def test_a_token_that_names_a_file_or_a_prefix_allows_nothing_else():
    claims = GRANT.claims() | {"paths": ["/a.m3u8", "/a_*"]}
    assert all(allows_path(claims, path, HEIGHTS) for path in ("/a.m3u8", "/a_", "/a_1.ts"))
    assert not any(allows_path(claims, path, HEIGHTS) for path in ("/a.m3u8x", "/b.m3u8", "/a", "/ab_1.ts"))


def test_a_token_of_before_paths_had_hosts_is_valid_until_it_expires():
    claims = GRANT.claims() | {"hosts": ["a.example", "b.example"], "paths": ["/a/", "/b/"]}
    assert all(allows_path(claims, "/a/1.ts", HEIGHTS, host) for host in ("a.example", "b.example:443", None))


def test_a_token_without_hosts_allows_nothing():
    assert not allows_path(GRANT.claims() | {"hosts": [], "paths": []}, "/a/1.ts", HEIGHTS)


@pytest.mark.parametrize("path", ["master.m3u8", "1080/seg-1.m4s", "v_1080p.ts", "2160/x.ts", "a%20b.vtt"])
def test_a_token_allows_every_segment_of_its_item(path):
    assert allows_path(GRANT.claims(), f"/media/ttl_1/{path}", HEIGHTS)


@pytest.mark.parametrize(
    "path",
    [
        "/media/ttl_2/master.m3u8",
        "/media/ttl_1",
        "/media/ttl_11/master.m3u8",
        "/media/ttl_1/../ttl_2/master.m3u8",
        "/media/ttl_1/%2e%2e/ttl_2/master.m3u8",
        "/media/ttl_1/%252e%252e/ttl_2/master.m3u8",
        "/media/ttl_1/..%5cttl_2/master.m3u8",
        "/media/ttl_1//../ttl_2/x",
        "/media/ttl_1/x%00",
        "/media/ttl_1/x%0a",
        "//media/ttl_1/x",
        "http://media/ttl_1/x",
        "media/ttl_1/x",
        "//[",
        "/media/ttl_1/uhd/1.ts",
        "/media/ttl_1/%75hd/1.ts",
        "/media/ttl_1/UHD/1.ts",
        "/media/ttl_1/2160p/1.ts",
        "/media/ttl_1/720p/from_1440p.ts",
        "",
    ],
)
def test_a_token_allows_nothing_else_however_it_is_spelled(path):
    assert not allows_path(GRANT.claims(), path, HEIGHTS)


@pytest.mark.parametrize(
    "host, allowed",
    [
        ("cdn.example", True),
        ("CDN.example:8443", True),
        ("other.example", False),
        ("", False),
        ("cdn.example.evil", False),
    ],
)
def test_a_token_allows_only_the_host_of_its_manifests(host, allowed):
    assert allows_host(GRANT.claims(), host) == allowed


def test_a_host_may_be_an_ipv6_address():
    claims = GRANT.claims() | {"hosts": ["::1"]}
    assert allows_host(claims, "[::1]:8000") and allows_host(claims, "[::1]") and not allows_host(claims, "[::2]:80")


@pytest.mark.parametrize(
    "issued_to, used_from, allowed",
    [
        ("203.0.113.7", "203.0.113.200", True),
        ("203.0.113.7", "203.0.114.7", False),
        ("203.0.113.7", "2001:db8::1", False),
        ("203.0.113.7", None, False),
        ("2001:db8:0:12::1", "2001:db8:0:13:ffff::1", True),
        ("2001:db8:0:12::1", "2001:db8:0:112::1", False),
    ],
)
def test_a_token_can_be_bound_to_the_network_of_the_viewer(issued_to, used_from, allowed):
    claims = GRANT.claims() | {"network": bind_network(issued_to, "24/56")}
    assert allows_address(claims, used_from) == allowed
    assert allows_address(GRANT.claims() | {"network": bind_network(issued_to, "")}, used_from)
