"""Make the demo's videos, streamsvc/demo/media: test pictures of ffmpeg as HLS, in two heights, with subtitles.

    python scripts/make_demo_videos.py

Needs ffmpeg with libx264 and libfreetype. The pictures are drawn by ffmpeg and the subtitles are written here, so
nobody else has rights in them. Each variant is one fragmented MP4 file that its playlist reads by byte ranges. Chosen
are pictures of flat colours that move little: they need a few kilobytes for a second.
"""

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "streamsvc"
TARGET = PACKAGE / "demo" / "media"
FONT = PACKAGE / "data" / "fonts" / "NotoSans-Bold.ttf"
HEIGHTS = {360: "640x360", 720: "1280x720"}
FRAMES_PER_S, SEGMENT_S = 12, 6
MAX_TOTAL_BYTES = 1_500_000
CODECS = "avc1.4d401f,mp4a.40.2"


class Video(NamedTuple):
    """A video: its folder, its title in the picture, ffmpeg's source, its length, and the pitch of its bell in Hz."""

    folder: str
    title: str
    source: str
    duration_s: int
    pitch: int


STAND_IN = "stand-in"
VIDEOS = (
    Video("colour-bars", "Colour Bars", "smptehdbars=size={size}:rate={rate}", 36, 440),
    Video(
        "game-of-life",
        "Game of Life",
        "life=size=32x18:rate=2:ratio=0.3:seed=7:life_color=0xffb347:death_color=0x101014",
        30,
        523,
    ),
    Video(
        "gradients",
        "Gradients",
        "gradients=size={size}:rate={rate}:c0=0x24104f:c1=0xd9622b:x0=0:y0=0:x1=1280:y1=720:nb_colors=2:speed=0.01:seed=5",
        30,
        349,
    ),
    Video("test-patterns-1-1", "The Counter", "testsrc=size={size}:rate={rate}", 20, 392),
    Video("test-patterns-1-2", "Seventy-five Per Cent", "pal75bars=size={size}:rate={rate}", 20, 494),
    Video("test-patterns-1-3", "Red, Green, Blue", "rgbtestsrc=size={size}:rate={rate}", 20, 587),
    Video("test-patterns-2-1", "Back to the Bars", "smptebars=size={size}:rate={rate}", 20, 330),
    Video("test-patterns-2-2", "The Whole Range", "yuvtestsrc=size={size}:rate={rate}", 20, 262),
    Video(STAND_IN, "No video in this demo", "color=0x1b1b22:size={size}:rate={rate}", 20, 294),
)
SUBTITLES = {
    "en": (
        "English",
        "{title}: a test picture, drawn by ffmpeg.",
        "These subtitles come in four languages.",
        "That was it. Thank you for watching.",
    ),
    "de": (
        "Deutsch",
        "{title}: ein Testbild, gezeichnet von ffmpeg.",
        "Diese Untertitel gibt es in vier Sprachen.",
        "Das war’s. Danke fürs Zuschauen.",
    ),
    "es": (
        "Español",
        "{title}: una imagen de prueba dibujada por ffmpeg.",
        "Estos subtítulos están disponibles en cuatro idiomas.",
        "Eso es todo. Gracias por mirar.",
    ),
    "ja": (
        "日本語",
        "{title}:ffmpegが描いたテスト画像です。",
        "この字幕は4つの言語で用意されています。",
        "以上です。ご視聴ありがとうございました。",
    ),
}
STAND_IN_SUBTITLE = {
    "en": "The demo has no video of this title. You see a test picture instead.",
    "de": "Die Demo hat kein Video zu diesem Titel. Du siehst stattdessen ein Testbild.",
    "es": "La demo no tiene vídeo de este título. En su lugar ves una imagen de prueba.",
    "ja": "このデモには本作品の動画がありません。代わりにテスト画像を表示しています。",
}


def main() -> None:
    """Make all videos, and print what they weigh."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for video in VIDEOS:
        folder = TARGET / video.folder
        bandwidths = {height: make_variant(video, height, folder / f"{height}p") for height in HEIGHTS}
        (folder / "subtitles").mkdir()
        for language in SUBTITLES:
            write_subtitles(video, language, folder / "subtitles")
        (folder / "master.m3u8").write_text(master_playlist(video, bandwidths))
        print(f"{video.folder}: {folder_bytes(folder):,} bytes")
    total_bytes = folder_bytes(TARGET)
    print(f"all: {total_bytes:,} bytes")
    assert total_bytes <= MAX_TOTAL_BYTES, "the package would grow too much"


def make_variant(video: Video, height: int, folder: Path) -> int:
    """Encode one height of a video, and return its peak bit rate per second."""
    folder.mkdir(parents=True)
    size = HEIGHTS[height]
    source = video.source.format(size=size, rate=FRAMES_PER_S)
    bell = f"aevalsrc='0.3*sin(2*PI*{video.pitch}*t)*exp(-5*mod(t,3))':s=16000:d={video.duration_s}"
    caption, clock = (
        f"drawtext=fontfile={FONT}:fontcolor=white:fontsize={height // part}:box=1:boxcolor=0x101014:boxborderw="
        f"{height // 60}:x=(w-tw)/2:y=h*{place}:text={text}"
        for part, place, text in (
            (12, 0.12, "'" + video.title.replace(",", r"\,") + "'"),
            (16, 0.3, r"'%{pts\:gmtime\:0\:%M\\\:%S}'"),
        )
    )
    filters = f"scale={size.replace('x', ':')}:flags=neighbor,fps={FRAMES_PER_S},{caption},{clock},format=yuv420p"
    inputs = ["-f", "lavfi", "-i", source, "-f", "lavfi", "-i", bell, "-t", str(video.duration_s), "-vf", filters]
    picture = "-c:v libx264 -preset slow -profile:v main -level 3.1 -crf 33 -tune animation -sc_threshold 0 -g 1000"
    sound = "-c:a aac -b:a 10k -ac 1"
    same_bytes = "-fflags +bitexact -flags:v +bitexact -flags:a +bitexact"
    playlist = f"-f hls -hls_time {SEGMENT_S} -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags single_file"
    keyframes = ["-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT_S})"]
    output = ["-hls_segment_filename", "video.mp4", "index.m3u8"]
    options = " ".join((picture, sound, same_bytes, playlist)).split()
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, *keyframes, *options, *output], cwd=folder, check=True)
    return peak_bandwidth((folder / "index.m3u8").read_text())


def peak_bandwidth(playlist: str) -> int:
    """Return the highest bit rate of a segment in a playlist of byte ranges."""
    segments = re.findall(r"#EXTINF:([\d.]+),\n#EXT-X-BYTERANGE:(\d+)@", playlist)
    return max(math.ceil(8 * int(length) / float(duration)) for duration, length in segments)


def write_subtitles(video: Video, language: str, folder: Path) -> None:
    """Write the subtitles of a language, and their playlist of one segment."""
    _, first, second, last = SUBTITLES[language]
    if video.folder == STAND_IN:
        first = STAND_IN_SUBTITLE[language]
    end = video.duration_s
    cues = ((1, 7, first.format(title=video.title)), (9, 15, second), (end - 6, end - 1, last))
    lines = [f"00:00:{start:02}.000 --> 00:00:{stop:02}.000\n{text}\n" for start, stop, text in cues]
    (folder / f"{language}.vtt").write_text("\n".join(["WEBVTT\n", *lines]), encoding="utf-8")
    (folder / f"{language}.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{end}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        f"#EXTINF:{end},\n{language}.vtt\n#EXT-X-ENDLIST\n"
    )


def master_playlist(video: Video, bandwidths: dict[int, int]) -> str:
    """Return the master playlist, which says of the stand-in that it is one."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if video.folder == STAND_IN:
        lines.append('#EXT-X-SESSION-DATA:DATA-ID="streamsvc.stand-in",VALUE="yes"')
    lines += [
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subtitles",NAME="{name}",LANGUAGE="{language}",DEFAULT=NO,'
        f'AUTOSELECT=YES,URI="subtitles/{language}.m3u8"'
        for language, (name, *_) in SUBTITLES.items()
    ]
    for height, bandwidth in bandwidths.items():
        lines.append(
            f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},RESOLUTION={HEIGHTS[height]},FRAME-RATE={FRAMES_PER_S}.000,"
            f'CODECS="{CODECS}",SUBTITLES="subtitles"'
        )
        lines.append(f"{height}p/index.m3u8")
    return "\n".join(lines) + "\n"


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
