"""Measures the time and memory of reading large files of titles in each format, each in a process of its own.

python -m bench.import_formats                      100,000 titles in each format
python -m bench.import_formats --size 1000000       a million
python -m bench.import_formats --write csv          imports them into a new SQLite database, too
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_migrate

from bench import servers
from streamsvc.app import create_app
from streamsvc.operations.catalog.formats import ReadOptions
from streamsvc.operations.catalog.imports import local_files, reading
from streamsvc.rules.catalog.record import convert_record
from streamsvc.settings import Settings

PLOT = "A count from the Carpathians buys a house, and the town that he moves to is never the same again. " * 4
OPTIONS = ReadOptions(media_base_url="https://media.example/library")


def write_csv(path: Path, size: int) -> None:
    """A spreadsheet in Windows-1252 with semicolons."""
    with path.open("w", encoding="cp1252", errors="replace") as file:
        file.write("Titel;Jahr;Laufzeit;Genre;Darsteller;Handlung;imdb_id\n")
        for n in range(size):
            plot = PLOT.replace(";", ",")
            file.write(f"Königin {n};{1920 + n % 100};1h {n % 60}min;Drama, War;Ann {n % 999}, Ben;{plot};tt{n:07}\n")


def write_tmdb(path: Path, size: int) -> None:
    """An array of details."""
    with path.open("w") as file:
        for n in range(size):
            cast = [{"name": f"Ann {(n + i) % 9_999}", "character": f"Role {i}", "order": i} for i in range(10)]
            item = {"id": n, "title": f"Film {n}", "original_title": f"Film {n}", "release_date": "1994-10-14",
                    "overview": PLOT, "runtime": 90, "genres": [{"id": 18, "name": "Drama"}],
                    "poster_path": f"/{n}.jpg", "credits": {"cast": cast}}  # fmt: skip
            file.write(("[" if n == 0 else ",\n") + json.dumps(item))
        file.write("]")


def write_m3u(path: Path, size: int) -> None:
    """Films, and series of fifty episodes."""
    with path.open("w") as file:
        file.write("#EXTM3U\n")
        for n in range(size):
            name = f"Show {n // 50} S01E{n % 50 + 1}" if n % 2 else f"Film {n} (1994)"
            file.write(f'#EXTINF:5400 tvg-logo="https://a.example/{n}.jpg" group-title="Drama",{name}\n')
            file.write(f"https://a.example/{n}/master.m3u8\n")


def write_roku(path: Path, size: int) -> None:
    """A feed for Direct Publisher."""
    videos = [{"url": "https://a.example/x/master.m3u8", "quality": "HD", "videoType": "HLS"}]
    with path.open("w") as file:
        file.write('{"providerName": "Acme", "movies": [')
        for n in range(size):
            item = {"id": f"m{n}", "title": f"Film {n}", "longDescription": PLOT, "genres": ["drama"],
                    "releaseDate": "1994-10-14", "content": {"duration": 5400, "videos": videos}}  # fmt: skip
            file.write(("" if n == 0 else ",\n") + json.dumps(item))
        file.write("]}")


def write_nfo(path: Path, size: int) -> None:
    """A tar archive of a library with a poster beside each film."""
    with tarfile.open(path, "w") as archive:
        for n in range(min(size, 160_000)):  # with poster and film three files each, of half a million
            body = f"<movie><title>Film {n}</title><year>1994</year><plot>{PLOT}</plot></movie>".encode()
            for name, content in (("movie.nfo", body), ("poster.jpg", b""), ("film.mkv", b"")):
                member = tarfile.TarInfo(f"{n % 100}/Film {n} (1994)/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "csv": write_csv, "tmdb": write_tmdb, "m3u": write_m3u, "roku": write_roku, "nfo": write_nfo,
}  # fmt: skip


def read_file(path: str) -> Iterator[int]:
    """Read and check all titles; yield 1 for each."""
    with local_files.open_source(path) as source:
        for entry in reading.read_entries(source.format, source.files[0], options=OPTIONS):
            assert not entry.errors, entry
            if entry.part is not None:
                convert_record({**(entry.defaults or {}), **entry.part}, from_text=True)
                yield 1


def import_file(path: str) -> int:
    """Import all titles into the database of the environment; return how many."""
    app = create_app(Settings.from_env(os.environ))
    with app.app_context():
        flask_migrate.upgrade()
        report = local_files.import_file(path, file_format=None, options=OPTIONS)
    assert report.rejected == 0, report.rejections[:3]
    return report.added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--write", nargs="*", default=[], choices=list(WRITERS), help="formats to import as well")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--import", dest="imports", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        started = time.process_time()
        titles = import_file(options.measure) if options.imports else sum(read_file(options.measure))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{titles:,} titles, {time.process_time() - started:.0f} s of processor time, peak {peak_mib:.0f} MiB")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            path = Path(folder) / "titles"
            write(path, options.size)
            env = servers.environment_without_settings() | {"STREAMSVC_SANDBOX": "1", "STREAMSVC_DATA_DIR": folder}
            env["STREAMSVC_DATABASE_URL"] = f"sqlite:///{folder}/{name}.sqlite"
            for imports in ([], ["--import"])[: 2 if name in options.write else 1]:
                print(f"{name}{' imported' if imports else ' read'}: ", end="", flush=True)
                command = [sys.executable, "-m", "bench.import_formats", "--measure", str(path), *imports]
                subprocess.run(command, env=env, cwd=servers.ROOT, check=True)


if __name__ == "__main__":
    main()
