"""python -m bench.growth: how the catalogue's reads slow down as the catalogue grows, as ratios to the smallest.

    python -m bench.growth                                        10,000 and 100,000 titles on SQLite
    python -m bench.growth --sizes 10000,100000,1000000           also a million; importing them takes a while
    python -m bench.growth --database postgresql
    python -m bench.growth --folder /var/tmp/catalogues           keep the databases (SQLite) and reuse them
    python -m bench.growth --rounds 0                             only import

Generated catalogues with the shape of IMDb's (scripts/make_titles.py) are imported by the service's own import, each in
a separate process; the report has its speed and peak memory. Then one viewer reads, by WSGI calls in this process and
without the response cache. The sizes take turns in random order, in short runs of calls, so that other load on the
machine affects all of them. Times are processor time on SQLite, which runs in the calling thread, and wall-clock time
on PostgreSQL.
"""

import argparse
import gc
import json
import math
import os
import random
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from bench import report, servers
from bench.hot_paths import Request, call_app
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.http import pagination
from streamsvc.http.kept_responses import ResponseCache
from streamsvc.models import Title
from streamsvc.operations.catalog.formats import ndjson
from streamsvc.operations.catalog.imports import importing
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from streamsvc.worker import gc_tuning

GENERATOR = servers.ROOT / "scripts" / "make_titles.py"
GENRES = ("drama", "comedy", "documentary", "thriller", "western", "news")
SORTS = ("-added", "title", "-year", "-popularity")
PAGE_SIZE = 50
REQUESTS = 100
"""Different requests per path; each round sends each of them once."""
PEAK_PERCENTAGES = (10, 50, 100)
"""How much of an import is done when its peak memory so far is read."""
RUN_LENGTH = 10
"""Requests to one catalogue before the next takes its turn."""
NEW_VIEWER = {"password": "seven red herons at noon", "country": "DE", "time_zone": "UTC"}
CLOCKS = {"sqlite": time.thread_time, "postgresql": time.perf_counter}


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench.growth", description="Measure the cost of a larger catalogue.")
    parser.add_argument("--sizes", default="10000,100000", help="comma-separated numbers of titles")
    parser.add_argument("--database", choices=list(CLOCKS), default="sqlite")
    parser.add_argument("--folder", type=Path, help="keep the databases here, and reuse those of earlier runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.sizes = sorted(int(size) for size in options.sizes.split(","))
    return options


def main():
    options = parse_arguments()
    if options.fill:
        return print(json.dumps(import_titles(options.fill)))
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-growth-")))
        print(report.describe_machine(), flush=True)
        envs = create_environments(options, folder, stack)
        imports = {size: fill_database(size, env) for size, env in envs.items()}
        print(f"\nImport, {options.database}\n{format_imports_table(imports)}", flush=True)
        if not options.rounds:
            return
        catalogues = [Catalogue(size, env, options.database) for size, env in envs.items()]
        times = measure_reads(catalogues, options.rounds)
        heading = f"Reads, {options.database}; µs, and the ratio to {catalogues[0].size:,} titles"
        print(f"\n{heading}\n{format_reads_table(times)}")


def create_environments(options, folder, stack) -> dict[int, dict]:
    """Size → environment of an app on the catalogue of that size."""
    if options.database == "postgresql":
        from tests.worlds import postgres

        server = stack.enter_context(postgres.postgres_server())
        engine = sa.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
        with closing(engine.raw_connection()) as connection:
            for size in options.sizes:
                connection.cursor().execute(f"CREATE DATABASE titles_{size}")
        urls = {size: server.format(f"titles_{size}") for size in options.sizes}
    else:
        urls = {size: f"sqlite:///{folder / f'{size}.sqlite3'}" for size in options.sizes}
    common = {"STREAMSVC_DATA_DIR": str(folder), "STREAMSVC_SANDBOX": "1"}
    common |= servers.environment_without_settings()
    return {size: common | {"STREAMSVC_DATABASE_URL": url} for size, url in urls.items()}


def fill_database(size: int, env: dict) -> dict:
    """Import the titles in a separate process, unless an earlier run has; returns what `import_titles` measured."""
    file = make_url(env["STREAMSVC_DATABASE_URL"]).database
    if env["STREAMSVC_DATABASE_URL"].startswith("sqlite") and (result := Path(f"{file}.json")).exists():
        return json.loads(result.read_text())
    subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
    command = [sys.executable, "-m", "bench.growth", "--fill", str(size)]
    output = subprocess.run(command, env=env, cwd=servers.ROOT, check=True, stdout=subprocess.PIPE).stdout
    if env["STREAMSVC_DATABASE_URL"].startswith("sqlite"):
        result.write_bytes(output)
    return json.loads(output)


def import_titles(size: int) -> dict:
    """Import a generated catalogue, piped from the generator; returns the time, memory and database size."""
    app = create_app(Settings.from_env(os.environ))
    generator = subprocess.Popen([sys.executable, str(GENERATOR), str(size)], stdout=subprocess.PIPE)
    gc_tuning.tune_gc()  # as the import command does
    started, peaks_mib = time.perf_counter(), {}
    with app.app_context(), generator.stdout as file, progress_bar(size, f"Importing {size:,} titles") as bar:

        def record_progress(done: int) -> None:
            bar.update(done - bar.pos)
            for percent in PEAK_PERCENTAGES:
                if done * 100 >= percent * size:
                    peaks_mib.setdefault(percent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

        summary = importing.import_entries(ndjson.read_ndjson(file), record_progress)
        database_bytes = db.session.scalar(sa.text(SIZE_QUERIES[db.engine.dialect.name]))
    assert (summary.added, summary.rejected, generator.wait()) == (size, 0, 0), summary
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - started,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peaks_mib": [*peaks_mib.values(), usage.ru_maxrss / 1024],
        "mib": database_bytes / 2**20,
    }


SIZE_QUERIES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


class Catalogue:
    """An app on one catalogue, a viewer with a history, and the requests of each path."""

    def __init__(self, size: int, env: dict, database: str):
        self.size, self.clock = size, CLOCKS[database]
        self.rng = random.Random(size)
        self.app = create_app(Settings.from_env(env))
        self.app.extensions["kept_responses"] = ResponseCache(max_bytes=0)
        with self.app.app_context():
            last = db.session.scalar(sa.select(sa.func.max(Title.pk)))
            pks = sorted({self.rng.randint(1, last) for _ in range(20 * REQUESTS)})
            movies = sa.and_(
                Title.pk.in_(pks), Title.kind == "movie", Title.min_age.is_not(None), Title.windowed.is_(False)
            )
            self.titles = db.session.scalars(sa.select(Title).where(movies)).all()
            db.session.remove()  # an open transaction would block other writers
            common_words = runpy.run_path(str(GENERATOR))["COMMON_WORDS"]
            self.token = self._create_viewer()
            self.paths = {
                "list, first page": self._list_requests(),
                "list, deep page": self._list_requests(deep=True),
                "list, many filters": self._filter_requests(),
                "search, common words": self._search_requests(
                    _common_query(common_words, self.rng) for _ in range(REQUESTS)
                ),
                "search, a title": self._search_requests(title.title for title in self.titles),
                "search, two letters": self._search_requests(title.title[:2] for title in self.titles),
                "search, misspelt": self._search_requests(_misspell(title.title, self.rng) for title in self.titles),
                "suggestions": self._search_requests(
                    (t.title[: self.rng.randint(3, 6)] for t in self.titles), suggest=True
                ),
                "title": self._get_requests(f"/v1/catalog/titles/{title.id}" for title in self.titles),
                "title, with similar": self._get_requests(
                    f"/v1/catalog/titles/{title.id}?expand=similar" for title in self.titles
                ),
                "person": self._person_requests(),
                "home": self._get_requests(["/v1/catalog/home"] * REQUESTS),
                "filters": self._get_requests(["/v1/catalog/filters"] * REQUESTS),
            }

    def measure_run(self, path: str, first: int) -> list[float]:
        """Send a run of the path's requests, from the `first` on; returns the microseconds of each."""
        times_us, requests = [], self.paths[path]
        for index in range(first, first + RUN_LENGTH):
            environ = requests[index % len(requests)].environ()
            started = self.clock()
            status, body = call_app(self.app, environ)
            times_us.append((self.clock() - started) * 1e6)
            assert status.startswith("200"), (status, body)
        return times_us

    def _create_viewer(self) -> str:
        """The token of a new viewer who has finished one title and started others."""
        client = self.app.test_client()
        viewer = client.post("/v1/accounts", json={"email": f"{time.time_ns()}@bench.example", **NEW_VIEWER}).json
        headers = {"Authorization": f"Bearer {viewer['token']}"}
        now = datetime.now(UTC).isoformat()
        for number, title in enumerate(self.titles[:20]):
            progress = {"position_s": title.runtime_s if number == 0 else 900, "duration_s": title.runtime_s, "at": now}
            path = f"/v1/profiles/{viewer['profile']['id']}/progress/{title.id}"
            response = client.put(path, json=progress, headers=headers)
            assert response.status_code in (200, 204), response.text
        return viewer["token"]

    def _get_requests(self, paths) -> list[Request]:
        return [Request("GET", path, self.token) for path, _ in zip(paths, range(REQUESTS), strict=False)]

    def _list_requests(self, deep: bool = False):
        paths = []
        for number in range(REQUESTS):
            genre, sort = GENRES[number % len(GENRES)], SORTS[number // len(GENRES) % len(SORTS)]
            filters = {} if number % 5 == 0 else {"genre": genre}
            cursor = f"&cursor={self._cursor(sort, filters)}" if deep else ""
            genre_filter = "".join(f"&{name}={value}" for name, value in filters.items())
            paths.append(f"/v1/catalog/titles?limit={PAGE_SIZE}&sort={sort}{genre_filter}{cursor}")
        return self._get_requests(paths)

    def _cursor(self, sort, filters):
        """A cursor about half way down the list."""
        title = self.titles[len(self.titles) // 2 - self.rng.randrange(len(self.titles) // 4)]
        sort_keys = {
            "added": [title.pk],
            "title": [sorted(t.sort_title for t in self.titles)[len(self.titles) // 2], title.pk],
            "year": [sorted(t.year_key for t in self.titles)[len(self.titles) // 2], title.pk],
            "popularity": [sorted(t.rank for t in self.titles)[len(self.titles) // 2]],
        }
        return pagination.encode_cursor(f"titles:{sort}:{filters}", sort_keys[sort.removeprefix("-")])

    def _filter_requests(self):
        def query():
            genre, sort = self.rng.choice(GENRES[:4]), self.rng.choice(SORTS)
            filters = f"year.gte={self.rng.randint(1970, 2005)}&kind=movie&language=en&runtime.lte=9000&age.lte=16"
            return f"genre={genre}&sort={sort}&limit={PAGE_SIZE}&{filters}"

        return self._get_requests(f"/v1/catalog/titles?{query()}" for _ in range(REQUESTS))

    def _search_requests(self, queries, suggest=False):
        endpoint = "suggestions" if suggest else "search"
        return self._get_requests(f"/v1/catalog/{endpoint}?q={text.replace(' ', '+')}" for text in queries)

    def _person_requests(self):
        titles = [json.loads(call_app(self.app, request.environ())[1]) for request in self._title_requests()]
        return self._get_requests(f"/v1/catalog/people/{title['credits'][0]['person_id']}" for title in titles)

    def _title_requests(self):
        return self._get_requests(f"/v1/catalog/titles/{title.id}" for title in self.titles)


def _common_query(words, rng) -> str:
    """One or two of the words that many titles contain."""
    return " ".join(rng.choice(words) for _ in range(rng.randint(1, 2)))


def _misspell(title: str, rng) -> str:
    """The title with two letters of its longest word swapped."""
    word = max(title.split(), key=len)
    i = rng.randrange(1, max(2, len(word) - 1))
    return title.replace(word, word[:i] + word[i + 1 : i + 2] + word[i : i + 1] + word[i + 2 :])


def measure_reads(catalogues: list[Catalogue], rounds: int) -> dict[str, dict[int, list[float]]]:
    """Path → size → microseconds of each call."""
    paths = list(catalogues[0].paths)
    times = {path: {catalogue.size: [] for catalogue in catalogues} for path in paths}
    runs = [(path, first) for path in paths for first in range(0, REQUESTS, RUN_LENGTH)]
    for path in paths:
        for catalogue in catalogues:
            for first in range(0, REQUESTS, RUN_LENGTH):
                catalogue.measure_run(path, first)
    gc.collect()
    gc.freeze()
    with progress_bar(rounds * len(runs), "Reading") as bar:
        for _ in range(rounds):
            for path, first in random.sample(runs, len(runs)):
                for catalogue in random.sample(catalogues, len(catalogues)):
                    times[path][catalogue.size] += catalogue.measure_run(path, first)
                bar.update(1)
    return times


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


def format_imports_table(imports: dict[int, dict]) -> str:
    peaks = [f"peak MiB at {percent} %" for percent in PEAK_PERCENTAGES]
    rows = [("titles", "s", "titles/s", "processor s", *peaks, "at the end", "database MiB")]
    rows += [
        (
            f"{size:,}",
            f"{result['seconds']:.0f}",
            f"{size / result['seconds']:.0f}",
            f"{result['processor_s']:.0f}",
            *(f"{peak:.0f}" for peak in result["peaks_mib"]),
            f"{result['mib']:.0f}",
        )
        for size, result in imports.items()
    ]
    return report.format_table(rows)


def format_reads_table(times: dict[str, dict[int, list[float]]]) -> str:
    sizes = list(next(iter(times.values())))
    header = ("path", *(f"{name} {size:,}" for name in ("p50", "p95") for size in sizes))
    rows = [(*header, *(f"{name} ×" for name in ("p50", "p95")))]
    for path, by_size in times.items():
        p50s, p95s = ([percentile(by_size[size], share) for size in sizes] for share in (0.5, 0.95))
        values = [f"{value:.0f}" for value in (*p50s, *p95s)]
        ratios = ["  ".join(f"{value / values_us[0]:.2f}" for value in values_us[1:]) for values_us in (p50s, p95s)]
        rows.append((path, *values, *ratios))
    return report.format_table(rows)


if __name__ == "__main__":
    main()
