from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback.tokens import PlaybackToken, allowed_path, allows_path, is_expired

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
GRANT = PlaybackToken("str_1", "acc_1", "pro_1", "ttl_1", "DE", ("/media/ttl_1/",), 1080, NOON + timedelta(seconds=90))


def test_a_token_has_all_its_claims():
    assert GRANT.claims() == {
        "aud": "playback",
        "sub": "str_1",
        "account": "acc_1",
        "profile": "pro_1",
        "item": "ttl_1",
        "country": "DE",
        "paths": ("/media/ttl_1/",),
        "max_height": 1080,
        "exp": int(NOON.timestamp()) + 90,
    }


def test_a_token_expires_on_the_second():
    assert not is_expired(GRANT.claims(), NOON + timedelta(seconds=89, microseconds=999_999))
    assert is_expired(GRANT.claims(), NOON + timedelta(seconds=90))


def test_a_token_allows_the_folder_of_its_manifest():
    assert allowed_path("https://cdn.example/films/a/master.m3u8?v=1") == "/films/a/"


def test_a_manifest_at_the_root_allows_only_itself():
    assert allowed_path("https://cdn.example/master.m3u8") == "/master.m3u8"
    alone = GRANT.claims() | {"paths": ["/master.m3u8"]}
    assert (
        allows_path(alone, "/master.m3u8")
        and not allows_path(alone, "/master.m3u8x")
        and not allows_path(alone, "/other.m3u8")
    )


@pytest.mark.parametrize("path", ["/media/ttl_1/master.m3u8", "/media/ttl_1/1080/seg-1.m4s", "/media/ttl_1/a%20b.vtt"])
def test_a_token_allows_every_segment_of_its_item(path):
    assert allows_path(GRANT.claims(), path)


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
        "",
    ],
)
def test_a_token_allows_nothing_else_however_it_is_spelled(path):
    assert not allows_path(GRANT.claims(), path)
