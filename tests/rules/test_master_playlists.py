"""HLS master playlists: which lines stay, and that all URIs become absolute.

Examples after RFC 8216, section 8.
"""

import time

import pytest

from streamsvc.rules.playback.master_playlists import InvalidPlaylist, filter_master_playlist

URL = "https://cdn.example/films/a/master.m3u8?v=2"
BASE = "https://cdn.example/films/a"


def up_to(most):
    return lambda height, url: height is None or height <= most


def filtered(text, most=720, **more):
    return filter_master_playlist(text, URL, up_to(most), **more).splitlines()


def test_variants_and_i_frames_above_the_height_are_removed_with_their_uris():
    text = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2"
low/audio-video.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=86000,RESOLUTION=640x360,URI="low/iframe.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2560000,RESOLUTION=1280x720,CODECS="avc1.4d401f,mp4a.40.2"

mid/audio-video.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=7680000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080
hi/audio-video.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=550000,RESOLUTION=1920x1080,URI="hi/iframe.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"
audio-only.m3u8
"""
    assert filtered(text) == [
        "#EXTM3U",
        '#EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2"',
        f"{BASE}/low/audio-video.m3u8",
        f'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=86000,RESOLUTION=640x360,URI="{BASE}/low/iframe.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=2560000,RESOLUTION=1280x720,CODECS="avc1.4d401f,mp4a.40.2"',
        f"{BASE}/mid/audio-video.m3u8",
        '#EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"',
        f"{BASE}/audio-only.m3u8",
    ]


def test_audio_and_subtitles_stay_and_video_renditions_of_removed_variants_go():
    text = """#EXTM3U\r
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="Commentary, RESOLUTION=1x9999",URI="commentary/audio.m3u8"\r
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",URI="/subs/en.m3u8"\r
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="English",INSTREAM-ID="CC1"\r
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="low",NAME="Centerfield",URI="low/centerfield.m3u8"\r
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="hi",NAME="Centerfield",URI="hi/centerfield.m3u8"\r
#EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=640x360,VIDEO="low",AUDIO="aac"\r
https://other.example/low.m3u8\r
#EXT-X-STREAM-INF:BANDWIDTH=7680000,RESOLUTION=1920x1080,VIDEO="hi",AUDIO="aac"\r
hi/main.m3u8\r
"""
    lines = filtered(text)
    assert [line for line in lines if 'GROUP-ID="hi"' in line or "1920" in line or "hi/" in line] == []
    assert lines[1].endswith(f'NAME="Commentary, RESOLUTION=1x9999",URI="{BASE}/commentary/audio.m3u8"')
    assert lines[2].endswith('URI="https://cdn.example/subs/en.m3u8"')
    assert lines[-1] == "https://other.example/low.m3u8" and len(lines) == 7


def test_keys_steering_and_variables_survive():
    text = """#EXTM3U
#EXT-X-DEFINE:NAME="host",VALUE="https://b.example/x"
#EXT-X-DEFINE:QUERYPARAM="v"
#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://key-1",KEYFORMAT="com.apple.streamingkeydelivery"
#EXT-X-CONTENT-STEERING:SERVER-URI="../steering",PATHWAY-ID="a"
#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360
{$host}/low.m3u8?v={$v}
"""
    lines = filtered(text)
    assert lines[3] == text.splitlines()[3]
    assert lines[4] == '#EXT-X-CONTENT-STEERING:SERVER-URI="https://cdn.example/films/steering",PATHWAY-ID="a"'
    assert lines[-1] == "https://b.example/x/low.m3u8?v=2"


def test_urls_of_playlists_can_be_changed_and_those_of_keys_cannot():
    text = """#EXTM3U
#EXT-X-SESSION-KEY:METHOD=AES-128,URI="key"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="n",URI="audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1
low.m3u8
"""
    lines = filtered(text, rewrite_url=lambda url: f"{url}?grant=x")
    assert [line.rpartition("/")[2] for line in lines[1:]] == [
        'key"',
        'audio.m3u8?grant=x"',
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "low.m3u8?grant=x",
    ]


def test_a_media_playlist_only_gets_absolute_uris():
    text = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:2.0,\n1.m4s\n#EXT-X-ENDLIST\n'
    assert filtered(text)[2:5] == [f'#EXT-X-MAP:URI="{BASE}/init.mp4"', "#EXTINF:2.0,", f"{BASE}/1.m4s"]


def test_a_playlist_without_an_allowed_variant_is_none():
    text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=3840x2160\nhi.m3u8\n"
    assert filter_master_playlist(text, URL, up_to(1080)) is None
    assert filter_master_playlist(text, URL, up_to(2160)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "\n#EXTM3U",
        "#EXTM3U8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$nothing}/a",
        "#EXTM3U\nhttp://[",
    ],
)
def test_what_is_no_playlist_is_refused(text):
    with pytest.raises(InvalidPlaylist):
        filter_master_playlist(text, URL, up_to(720))


def test_a_height_with_thousands_of_digits_is_too_high():
    text = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1x{'9' * 5000}\nhi.m3u8\n"
    assert filter_master_playlist(text, URL, up_to(1080)) is None


def test_a_long_line_takes_no_quadratic_time():
    text = f"#EXTM3U\n#EXT-X-MEDIA:{'A' * 100_000}\n"
    started = time.process_time()
    assert filtered(text) == text.splitlines()
    assert time.process_time() - started < 1


def test_variables_do_not_multiply_the_playlist():
    text = f'#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 10_000}"\n{"{$a}" * 10_000}\n'
    with pytest.raises(InvalidPlaylist):
        filter_master_playlist(text, URL, up_to(720))
