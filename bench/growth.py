"""python -m bench.growth: what the catalogue's reads cost as the catalogue grows, as ratios to the smallest.

    python -m bench.growth                                        10,000 and 100,000 titles on SQLite
    python -m bench.growth --sizes 10000,100000,1000000           a million too: importing them takes a while
    python -m bench.growth --database postgresql
    python -m bench.growth --folder /var/tmp/catalogues           keeps the databases (SQLite) and takes them up again

Catalogues in IMDb's shape (scripts/make_titles.py) are imported by the service's own import, each by a process of its
own, whose speed and peak of memory are told. Then one viewer asks: WSGI calls in this process, each question anew
(answers are not kept), the sizes in turn in random order, call by call in short runs, so that what else the machine
does weighs on all of them. Times are of the processor on SQLite, which works in this very thread, and of the clock on
PostgreSQL.
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
from bench.paths import Request
from streamsvc.app import create_app
from streamsvc.blueprints.catalog.responses import ResponseCache
from streamsvc.cli.progress import progress_bar
from streamsvc.http import pagination
from streamsvc.models import Title
from streamsvc.operations.catalog.formats import ndjson
from streamsvc.operations.catalog.imports import importing
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from streamsvc.worker import gc_tuning

MAKER = servers.ROOT / "scripts" / "make_titles.py"
GENRES = ("drama", "comedy", "documentary", "thriller", "western", "news")
SORTS = ("-added", "title", "-year", "-popularity")
PAGE = 50
QUESTIONS = 100
"""Different ones for each path; each round asks each of them once."""
RUN = 10
"""Questions to one catalogue before the next has its turn."""
VIEWER = {"password": "seven red herons at noon", "country": "DE", "time_zone": "UTC"}
CLOCKS = {"sqlite": time.thread_time, "postgresql": time.perf_counter}


def arguments():
    parser = argparse.ArgumentParser("python -m bench.growth", description="What a larger catalogue costs.")
    parser.add_argument("--sizes", default="10000,100000", help="titles, by commas")
    parser.add_argument("--database", choices=list(CLOCKS), default="sqlite")
    parser.add_argument("--folder", type=Path, help="where databases are kept, and taken up again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.sizes = sorted(int(size) for size in asked.sizes.split(","))
    return asked


def main():
    asked = arguments()
    if asked.fill:
        return print(json.dumps(fill(asked.fill)))
    with ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-growth-")))
        print(report.machine(), flush=True)
        envs = environments(asked, folder, stack)
        told = {size: filled(size, env) for size, env in envs.items()}
        print(f"\nImport, {asked.database}\n{imports_table(told)}", flush=True)
        catalogues = [Catalogue(size, env, asked.database) for size, env in envs.items()]
        times = measure(catalogues, asked.rounds)
        print(f"\nReads, {asked.database}; µs, and the ratio to {catalogues[0].size:,} titles\n{reads_table(times)}")


def environments(asked, folder, stack) -> dict[int, dict]:
    """What an app on the catalogue of each size needs."""
    if asked.database == "postgresql":
        from tests.worlds import postgres

        server = stack.enter_context(postgres.postgres_server())
        engine = sa.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
        with closing(engine.raw_connection()) as connection:
            for size in asked.sizes:
                connection.cursor().execute(f"CREATE DATABASE titles_{size}")
        urls = {size: server.format(f"titles_{size}") for size in asked.sizes}
    else:
        urls = {size: f"sqlite:///{folder / f'{size}.sqlite3'}" for size in asked.sizes}
    same = {"STREAMSVC_DATA_DIR": str(folder), "STREAMSVC_SANDBOX": "1"}
    return {size: servers.clean_env() | same | {"STREAMSVC_DATABASE_URL": url} for size, url in urls.items()}


def filled(size: int, env: dict) -> dict:
    """Fill a database in a process of its own, unless it is there already; what that took."""
    file = make_url(env["STREAMSVC_DATABASE_URL"]).database
    if env["STREAMSVC_DATABASE_URL"].startswith("sqlite") and (kept := Path(f"{file}.json")).exists():
        return json.loads(kept.read_text())
    subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
    command = [sys.executable, "-m", "bench.growth", "--fill", str(size)]
    told = subprocess.run(command, env=env, cwd=servers.ROOT, check=True, stdout=subprocess.PIPE).stdout
    if env["STREAMSVC_DATABASE_URL"].startswith("sqlite"):
        kept.write_bytes(told)
    return json.loads(told)


def fill(size: int) -> dict:
    """Import a made catalogue, straight from its maker."""
    app = create_app(Settings.from_env(os.environ))
    maker = subprocess.Popen([sys.executable, str(MAKER), str(size)], stdout=subprocess.PIPE)
    gc_tuning.tune_gc()  # as the command does
    began = time.perf_counter()
    with app.app_context(), maker.stdout as file, progress_bar(size, f"Importing {size:,} titles") as bar:
        found = importing.import_entries(ndjson.read_ndjson(file), lambda done: bar.update(done - bar.pos))
        bytes_ = db.session.scalar(sa.text(SIZES[db.engine.dialect.name]))
    assert (found.added, found.rejected, maker.wait()) == (size, 0, 0), found
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - began,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "mib": bytes_ / 2**20,
    }


SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


class Catalogue:
    """An app on one catalogue, a viewer who watches, and the questions of each path."""

    def __init__(self, size: int, env: dict, database: str):
        self.size, self.clock = size, CLOCKS[database]
        self.chance = random.Random(size)
        self.app = create_app(Settings.from_env(env))
        self.app.extensions["catalog_response_cache"] = ResponseCache(max_bytes=0)
        with self.app.app_context():
            last = db.session.scalar(sa.select(sa.func.max(Title.pk)))
            some = sorted({self.chance.randint(1, last) for _ in range(20 * QUESTIONS)})
            movies = sa.and_(
                Title.pk.in_(some), Title.kind == "movie", Title.min_age.is_not(None), Title.windowed.is_(False)
            )
            self.titles = db.session.scalars(sa.select(Title).where(movies)).all()
            db.session.remove()  # its unit of work would keep others from writing
            words = runpy.run_path(str(MAKER))["COMMON"]
            self.token = self._viewer()
            self.paths = {
                "list, first page": self._lists(),
                "list, deep page": self._lists(deep=True),
                "list, many filters": self._filtered(),
                "search, common words": self._searches(_common(words, self.chance) for _ in range(QUESTIONS)),
                "search, a title": self._searches(title.title for title in self.titles),
                "search, two letters": self._searches(title.title[:2] for title in self.titles),
                "search, misspelt": self._searches(_misspelt(title.title, self.chance) for title in self.titles),
                "suggestions": self._searches(
                    (t.title[: self.chance.randint(3, 6)] for t in self.titles), suggest=True
                ),
                "title": self._asked(f"/v1/catalog/titles/{title.id}" for title in self.titles),
                "title, with similar": self._asked(
                    f"/v1/catalog/titles/{title.id}?expand=similar" for title in self.titles
                ),
                "person": self._people(),
                "home": self._asked(["/v1/catalog/home"] * QUESTIONS),
                "filters": self._asked(["/v1/catalog/filters"] * QUESTIONS),
            }

    def took(self, path: str, first: int) -> list[float]:
        """Microseconds that each of some questions took."""
        took = []
        for at in range(first, first + RUN):
            questions = self.paths[path]
            environ = questions[at % len(questions)].environ()
            began = self.clock()
            body, started = self._answer(environ)
            took.append((self.clock() - began) * 1e6)
            assert started[0].startswith("200"), (started, body)
        return took

    def _answer(self, environ):
        started = []
        with closing(self.app.wsgi_app(environ, lambda status, *_: started.append(status))) as body:
            return b"".join(body), started

    def _viewer(self) -> str:
        """Somebody who has seen one title to its end and begun others; new each time."""
        client = self.app.test_client()
        made = client.post("/v1/accounts", json={"email": f"{time.time_ns()}@bench.example", **VIEWER}).json
        mine = {"Authorization": f"Bearer {made['token']}"}
        now = datetime.now(UTC).isoformat()
        for number, title in enumerate(self.titles[:20]):
            told = {"position_s": title.runtime_s if number == 0 else 900, "duration_s": title.runtime_s, "at": now}
            path = f"/v1/profiles/{made['profile']['id']}/progress/{title.id}"
            answer = client.put(path, json=told, headers=mine)
            assert answer.status_code in (200, 204), answer.text
        return made["token"]

    def _asked(self, paths) -> list[Request]:
        return [Request("GET", path, self.token) for path, _ in zip(paths, range(QUESTIONS), strict=False)]

    def _lists(self, deep: bool = False):
        paths = []
        for at in range(QUESTIONS):
            genre, sort = GENRES[at % len(GENRES)], SORTS[at // len(GENRES) % len(SORTS)]
            narrowed = "" if at % 5 == 0 else f"&genre={genre}"
            cursor = f"&cursor={self._cursor(sort)}" if deep else ""
            paths.append(f"/v1/catalog/titles?limit={PAGE}&sort={sort}{narrowed}{cursor}")
        return self._asked(paths)

    def _cursor(self, sort):
        """A place about half way down a list."""
        at = self.titles[len(self.titles) // 2 - self.chance.randrange(len(self.titles) // 4)]
        place = {
            "added": [at.pk],
            "title": [sorted(t.sort_title for t in self.titles)[len(self.titles) // 2], at.pk],
            "year": [sorted(t.year_key for t in self.titles)[len(self.titles) // 2], at.pk],
            "popularity": [sorted(t.rank for t in self.titles)[len(self.titles) // 2]],
        }
        return pagination.encode_cursor(f"titles:{sort}", place[sort.removeprefix("-")])

    def _filtered(self):
        def query():
            genre, sort = self.chance.choice(GENRES[:4]), self.chance.choice(SORTS)
            more = f"year.gte={self.chance.randint(1970, 2005)}&kind=movie&language=en&runtime.lte=9000&age.lte=16"
            return f"genre={genre}&sort={sort}&limit={PAGE}&{more}"

        return self._asked(f"/v1/catalog/titles?{query()}" for _ in range(QUESTIONS))

    def _searches(self, typed, suggest=False):
        where = "suggestions" if suggest else "search"
        return self._asked(f"/v1/catalog/{where}?q={text.replace(' ', '+')}" for text in typed)

    def _people(self):
        told = [json.loads(self._answer(request.environ())[0]) for request in self.paths_of_titles()]
        return self._asked(f"/v1/catalog/people/{title['credits'][0]['person_id']}" for title in told)

    def paths_of_titles(self):
        return self._asked(f"/v1/catalog/titles/{title.id}" for title in self.titles)


def _common(words, chance) -> str:
    """One or two of the words that many titles have."""
    return " ".join(chance.choice(words) for _ in range(chance.randint(1, 2)))


def _misspelt(title: str, chance) -> str:
    """The title with two letters of its longest word swapped."""
    word = max(title.split(), key=len)
    at = chance.randrange(1, max(2, len(word) - 1))
    return title.replace(word, word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :])


def measure(catalogues: list[Catalogue], rounds: int) -> dict[str, dict[int, list[float]]]:
    """Path → size → µs of each call."""
    paths = list(catalogues[0].paths)
    times = {path: {one.size: [] for one in catalogues} for path in paths}
    turns = [(path, first) for path in paths for first in range(0, QUESTIONS, RUN)]
    for path in paths:
        for one in catalogues:
            for first in range(0, QUESTIONS, RUN):
                one.took(path, first)
    gc.collect()
    gc.freeze()
    with progress_bar(rounds * len(turns), "Reading") as bar:
        for _ in range(rounds):
            for path, first in random.sample(turns, len(turns)):
                for one in random.sample(catalogues, len(catalogues)):
                    times[path][one.size] += one.took(path, first)
                bar.update(1)
    return times


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


def imports_table(told: dict[int, dict]) -> str:
    rows = [("titles", "s", "titles/s", "processor s", "peak MiB", "database MiB")]
    rows += [
        (
            f"{size:,}",
            f"{one['seconds']:.0f}",
            f"{size / one['seconds']:.0f}",
            f"{one['processor_s']:.0f}",
            f"{one['peak_mib']:.0f}",
            f"{one['mib']:.0f}",
        )
        for size, one in told.items()
    ]
    return report.table(rows)


def reads_table(times: dict[str, dict[int, list[float]]]) -> str:
    sizes = list(next(iter(times.values())))
    head = ("path", *(f"{name} {size:,}" for name in ("p50", "p95") for size in sizes))
    rows = [(*head, *(f"{name} ×" for name in ("p50", "p95")))]
    for path, by_size in times.items():
        p50s, p95s = ([percentile(by_size[size], share) for size in sizes] for share in (0.5, 0.95))
        values = [f"{value:.0f}" for value in (*p50s, *p95s)]
        ratios = ["  ".join(f"{value / all_[0]:.2f}" for value in all_[1:]) for all_ in (p50s, p95s)]
        rows.append((path, *values, *ratios))
    return report.table(rows)


if __name__ == "__main__":
    main()
