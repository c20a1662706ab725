"""Which paths a manifest opens, and which media addresses are valid."""

import pytest

from streamsvc.rules.playback.media_paths import (
    MediaLocation,
    canonical_path,
    matches_any,
    opened_paths,
    parse_media_url,
    paths_on_host,
    picture_height,
    qualify_paths,
)
from streamsvc.settings import Settings


@pytest.mark.parametrize(
    "url, host, path",
    [
        ("https://CDN.example:8443/films/a/master.m3u8?v=1#t", "cdn.example", "/films/a/master.m3u8"),
        ("/media/a%20b/master.m3u8", "", "/media/a b/master.m3u8"),
        ("http://[2001:db8::1]/a.mpd", "2001:db8::1", "/a.mpd"),
    ],
)
def test_a_media_address_has_a_host_and_a_path(url, host, path):
    assert parse_media_url(url) == MediaLocation(host, path)


@pytest.mark.parametrize(
    "url",
    [
        "https://[cdn.example/a.m3u8",
        "https://cdn.example:port/a.m3u8",
        "https://cdn.example:99999/a.m3u8",
        "https:///a.m3u8",
        "https://cdn.example",
        "https://cdn.example/",
        "https://cdn.example/films/",
        "https://cdn.example//a.m3u8",
        "https://cdn.example/x/../a.m3u8",
        "https://cdn.example/x/%2e%2e/a.m3u8",
        "https://cdn.example/%2561.m3u8",
        "https://cdn.example/a*.m3u8",
        "https://user:secret@cdn.example/a.m3u8",
        "https://cdn_..example/a.m3u8",
        "https://münchen.example/a.m3u8",
        "//cdn.example/a.m3u8",
        "ftp://cdn.example/a.m3u8",
        "a.m3u8",
        "",
    ],
)
def test_a_malformed_media_address_is_refused(url):
    with pytest.raises(ValueError, match=r"^Must "):
        parse_media_url(url)


A = parse_media_url("https://cdn.example/films/a.m3u8")


def test_a_manifest_opens_its_own_folder():
    assert opened_paths(A, (), has_own_folder=True) == ["/films/"]


def test_a_manifest_at_the_root_never_opens_the_root():
    paths = opened_paths(MediaLocation("", "/a.m3u8"), (), has_own_folder=True)
    assert paths == ["/a.m3u8", "/a.*", "/a_*", "/a-*", "/a/"]


def test_in_a_shared_folder_a_manifest_opens_the_files_named_after_it():
    paths = opened_paths(A, ["/films/b.m3u8"], has_own_folder=False)
    assert matches_any("/films/a.m3u8", paths) and matches_any("/films/a_1080p/0001.ts", paths)
    assert not matches_any("/films/b.m3u8", paths) and not matches_any("/films/ab.m3u8", paths)


@pytest.mark.parametrize("neighbour", ["/films/a-team.m3u8", "/films/a_2.m3u8", "/films/a.2.m3u8", "/films/a/b.m3u8"])
def test_a_name_that_begins_another_items_opens_none_of_its_files(neighbour):
    paths = opened_paths(A, [neighbour], has_own_folder=False)
    stem = neighbour.removesuffix(".m3u8")
    assert not any(matches_any(path, paths) for path in (neighbour, f"{stem}_1.ts", f"{stem}/1.ts"))
    assert matches_any("/films/a.m3u8", paths)


@pytest.mark.parametrize("neighbour", ["/films/a.mpd", "/films/a", "/films/a.m3u8;v=2"])
def test_two_items_with_manifests_of_one_name_open_nothing_but_these(neighbour):
    assert opened_paths(A, [neighbour], has_own_folder=False) == ["/films/a.m3u8"]
    other = A._replace(path=neighbour)
    assert opened_paths(other, ["/films/a.m3u8"], has_own_folder=False) == [neighbour]


@pytest.mark.parametrize(
    "path", ["/a//b", "//a", "a", "", "/a/./b", "/a/../b", "/a\\b", "/%2561", "/a%0db", "/a*", "/a/..%20/b"]
)
def test_an_ambiguous_path_is_not_canonical(path):
    assert canonical_path(path) is None


@pytest.mark.parametrize(
    "path, height",
    [
        ("/f/1080p/1.ts", 1080),
        ("/f/v_720p_1.ts", 720),
        ("/f/2160P/1.ts", 2160),
        ("/f/720p/2160p.ts", 2160),
        ("/f/x2160px/1.ts", None),
        ("/f/12160p/1.ts", None),
        ("/f/audio/1.ts", None),
    ],
)
def test_the_height_is_found_in_a_path(path, height):
    assert picture_height(path, Settings.media_height_pattern) == height


def test_a_token_names_the_host_of_a_path_only_where_hosts_differ():
    assert qualify_paths({"a.example": ["/f/", "/f/"]}) == ["/f/"]
    paths = qualify_paths({"a.example": ["/f/", "/x.ts"], "b.example": ["/g/", "/x.ts"]})
    assert paths == ["//a.example/f/", "/x.ts", "//b.example/g/"]
    assert paths_on_host(paths, "a.example") == ("/f/", "/x.ts")
    assert paths_on_host(paths, "b.example") == ("/x.ts", "/g/")
    assert paths_on_host(paths, "a.example.evil") == paths_on_host(paths, "") == ("/x.ts",)
