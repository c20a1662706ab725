"""Real media servers: an HLS ladder made by ffmpeg, and nginx and Caddy with the shipped configurations.

Tests are skipped where a program is missing; `make browser` requires them.
"""

import http.client
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DURATION_S = 60
START_TIMEOUT_S = 20
SUBTITLES = "WEBVTT\n\n00:00:00.000 --> 00:00:30.000\nFirst half\n\n00:00:30.000 --> 00:01:00.000\nSecond half\n"
LADDER = f"""
    -f lavfi -i testsrc2=size=1280x720:rate=5:duration={DURATION_S} -f lavfi -i sine=frequency=440:duration={DURATION_S}
    -i subtitles.vtt -filter_complex [0:v]split[high][v];[v]scale=640:360[low] -map [low] -map [high] -map 1:a -map 2:s
    -c:v libx264 -preset ultrafast -g 10 -keyint_min 10 -sc_threshold 0 -b:v:0 200k -b:v:1 600k -c:a aac -b:a 48k
    -c:s webvtt -f hls -hls_time 2 -hls_playlist_type vod -hls_segment_filename %v/%d.ts -master_pl_name master.m3u8
    -var_stream_map v:0,agroup:a,s:0,sgroup:subs,name:360p\\ v:1,agroup:a,name:720p\\ a:0,agroup:a,name:audio
    %v/index.m3u8
"""


DASH_LADDER = rf"""
    -f lavfi -i testsrc2=size=640x360:rate=5:duration={DURATION_S}
    -f lavfi -i sine=frequency=440:duration={DURATION_S}
    -filter_complex [0:v]split[high][v];[v]scale=320:180[low] -map [low] -map [high] -map 1:a
    -c:v libx264 -preset ultrafast -g 10 -keyint_min 10 -sc_threshold 0 -c:a aac -b:a 48k -f dash -seg_duration 2
    -init_seg_name $RepresentationID$/init.mp4 -media_seg_name $RepresentationID$/$Number%05d$.m4s
    -adaptation_sets id=0,streams=v\ id=1,streams=a manifest.mpd
"""


def require_program(name: str, *places: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *places]))
    return path or pytest.skip(f"{name} is not installed: apt-get install {name}")


def make_ladder(folder: Path) -> Path:
    """Make a minute of `master.m3u8`: pictures of 360 and 720 lines, audio and subtitles, in two-second segments."""
    ffmpeg = require_program("ffmpeg")
    folder.mkdir(parents=True)
    (folder / "subtitles.vtt").write_text(SUBTITLES)
    _run_ffmpeg(ffmpeg, LADDER, folder)
    return folder


def make_dash_ladder(folder: Path) -> Path:
    """Make a minute of `manifest.mpd`: pictures of 180 lines (in the folder 0) and 360 (1), and audio (2)."""
    ffmpeg = require_program("ffmpeg")
    for representation in "012":
        (folder / representation).mkdir(parents=True)
    _run_ffmpeg(ffmpeg, DASH_LADDER, folder)
    return folder


def _run_ffmpeg(ffmpeg: str, command: str, folder: Path) -> None:
    arguments = [word.replace("\0", " ") for word in command.replace("\\ ", "\0").split()]
    subprocess.run([ffmpeg, "-loglevel", "error", *arguments], cwd=folder, check=True, timeout=600)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def shipped(name: str, **replacements: str) -> str:
    """Return a shipped configuration with an operator's changes, each of which must apply exactly once."""
    text = (DEPLOY / name).read_text()
    for old, new in replacements.items():
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


class Response(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class MediaServer:
    """A running media server, and a client that changes nothing in a path."""

    def __init__(self, port: int, hosts: tuple[str, ...] = ("localhost",)) -> None:
        self.port, self.hosts = port, hosts

    def get(self, path: str, token: str | None = None, method: str = "GET", **headers: str) -> Response:
        sent = {"Host": self.hosts[0]} | {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()


@contextmanager
def _running(command: list[str], port: int, folder: Path, **env: str):
    """Run a server until the block ends; it must accept connections before it begins."""
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(command, cwd=folder, env=os.environ | env, stderr=log, stdout=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                running = process.poll() is None and time.monotonic() < deadline
                assert running, (folder / "server.log").read_text()
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)
        log.close()


@contextmanager
def running_site(folder: Path, port: int, site: str):
    """Run nginx in an existing folder. `site`: the contents of `http`; `port`: one that it listens on."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.getuid() == 0 else ''}\ndaemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{site}\n}}\n"
    )
    nginx = require_program("nginx")
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with _running(command, port, folder):
        yield


@contextmanager
def running_nginx(folder: Path, root: Path, port: int, service_port: int, page_origin: str, pages: str = ""):
    """Run nginx with the shipped configuration. It also passes `/v1` on to the service. `pages`: further servers."""
    folder.mkdir()
    service = f"127.0.0.1:{service_port}"
    (folder / "media.conf").write_text(
        shipped(
            "nginx-media.conf",
            **{"127.0.0.1:8000": service, "https://app.video.example": page_origin},
            **{"/var/cache/nginx-playback-grants": f"{folder}/grants"},
        )
    )
    (folder / "locations.conf").write_text(
        shipped(
            "nginx-media-locations.conf",
            **{"/var/log/nginx/media.log": f"{folder}/media.log", "/srv/streamsvc": str(root)},
        )
    )
    site = (
        f"include media.conf;\nserver {{\nlisten 127.0.0.1:{port};\nroot {root};\ninclude locations.conf;\n"
        f"location /v1/ {{ proxy_pass http://{service}; proxy_set_header Host $http_host;\n"
        f"proxy_set_header X-Forwarded-For $remote_addr; }}\nlocation /pages/ {{ types {{ text/html html; "
        f"text/javascript js; }} }}\n}}\n{pages}"
    )
    with running_site(folder, port, site):
        yield MediaServer(port)


@contextmanager
def running_catalog_cache(folder: Path, port: int, service_port: int, plain: bool):
    """Run nginx as a cache of the catalogue: with the shipped configuration, or `plain`, which heeds `Vary` alone."""
    folder.mkdir()
    service = f"127.0.0.1:{service_port}"
    cache = shipped(
        "nginx-catalog.conf",
        **{"/var/cache/nginx-catalog": f"{folder}/cache"},
        **{'$catalog_country {\n    default ""': "$catalog_country {\n    default $http_cf_ipcountry"},
    )
    locations = shipped("nginx-catalog-locations.conf", **{"127.0.0.1:8000": service})
    if plain:
        locations = (
            f"location / {{ proxy_pass http://{service}; proxy_cache catalog; proxy_cache_key $request_uri;\n"
            "add_header X-Cache-Status $upstream_cache_status always; }"
        )
    with running_site(folder, port, f"{cache}\nserver {{\nlisten 127.0.0.1:{port};\n{locations}\n}}"):
        yield MediaServer(port)


@contextmanager
def running_caddy(folder: Path, root: Path, port: int, service_port: int, page_origin: str):
    """Run Caddy with the shipped configuration."""
    caddy = require_program("caddy")
    folder.mkdir()
    text = (DEPLOY / "Caddyfile-media").read_text().replace("https://app.video.example", page_origin)
    for old, new in {
        "127.0.0.1:8000": f"127.0.0.1:{service_port}",
        "media.video.example {": f"{{\n\tadmin off\n}}\nhttp://:{port} {{",
        "/srv/streamsvc": str(root),
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "Caddyfile").write_text(text)
    command = [caddy, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with _running(command, port, folder, XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder)):
        yield MediaServer(port)
