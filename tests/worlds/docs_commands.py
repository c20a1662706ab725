"""The world in which the documentation's `streamsvc` commands run: the demo's database, and files that pages name."""

import gzip
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from streamsvc import app, clock
from streamsvc.app import create_app
from streamsvc.cli import check, doctor
from streamsvc.cli.group import main
from streamsvc.models import Job
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.worlds.databases import close_app
from tests.worlds.docs_examples import Example, split_commands
from tests.worlds.service import DEMO_SETTINGS
from tests.worlds.shown_json import CHANGING, find_changed_value

FOLDERS = ("/backups", "/srv/media", "/var/lib/streamsvc")
"""Folders of the reader's machine that the pages name."""
FAILED_JOB = "job_01k8jnea6f7miugla25bjonu54"
LASTING = re.compile(r"streamsvc (serve|worker$|demo$)")
"""Commands that go on until they are stopped."""
FIGURE = re.compile(
    r"\d{8}T\d{6}Z|(?<![\w-])(?:[a-z]+_)?[\w-]{43}(?![\w-])|\b[0-9a-f]{64}\b|\b[0-9a-f]{4}(?=…)|\d[\d.,]*"
)
"""What differs from run to run: times in names of files, tokens, digests and numbers."""
SUBSCRIBER = (
    '{"external_id": "old-4711", "email": "cleo@example.com", "country": "DE", "price": {"plan": "premium", "currency":'
    ' "EUR", "amount_minor": 1699, "interval": "month"}, "started_on": "2024-03-31", "paid_through": "2026-02-28"}\n'
)
FILES = {
    "titles.ndjson": '{"external_id": "house:new", "kind": "movie", "title": "A new film"}\n'
    '{"external_id": "imdb:tt0087332", "kind": "movie", "title": "Ghostbusters", "year": "1984"}\n',
    "films.csv": "Film Name,Certificate,Notes,Year\nGhostbusters,12,seen twice,1984\n",
    "subscribers.ndjson": SUBSCRIBER
    + '{"external_id": "old-4712", "country": "DE", "started_on": "2024-03-31", "paid_through": "2026-02-28"}\n',
    "srv/media/Nosferatu.nfo": "<movie><title>Nosferatu</title><year>1922</year></movie>",
    "channels.m3u": '#EXTM3U\n#EXTINF:-1 tvg-id="news.example",News One\nhttps://cdn.example/news/index.m3u8\n',
    "guide.xml.gz": '<tv><channel id="news.example"><display-name>News One</display-name></channel><programme'
    ' channel="news.example" start="20260201120000 +0000" stop="20260201123000 +0000"><title>The News</title>'
    "</programme></tv>",
    "title.basics.tsv.gz": "tconst\ttitleType\tprimaryTitle\toriginalTitle\tisAdult\tstartYear\tendYear\truntimeMinutes"
    "\tgenres\ntt0013442\tmovie\tNosferatu\tNosferatu\t0\t1922\t\\N\t94\tHorror\n",
    "title.ratings.tsv.gz": "tconst\taverageRating\tnumVotes\ntt0013442\t7.8\t100\n",
    "title.akas.tsv.gz": "titleId\tordering\ttitle\tregion\tlanguage\ttypes\tattributes\tisOriginalTitle\n",
    "title.episode.tsv.gz": "tconst\tparentTconst\tseasonNumber\tepisodeNumber\n",
    "title.principals.tsv.gz": "tconst\tordering\tnconst\tcategory\tjob\tcharacters\n",
    "title.crew.tsv.gz": "tconst\tdirectors\twriters\n",
    "name.basics.tsv.gz": "nconst\tprimaryName\tbirthYear\tdeathYear\tprimaryProfession\tknownForTitles\n",
    "pwned-passwords.txt.gz": "correct horse\n",
    "backups/streamsvc-20200101T020000Z.backup": b"an old one",
}


class Run(NamedTuple):
    """A command that was run, its exit code and its output, and the output that its page shows, None without one."""

    page: str
    command: str
    exit_code: int
    output: str
    shown: str | None

    def __str__(self) -> str:
        return f"{self.page} {self.command}"


class CommandWorld:
    """A folder with a database and what a page's commands read; the commands change it one after the other."""

    def __init__(self, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.monkeypatch, self.apps = folder, monkeypatch, []
        self.env = {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_SANDBOX": "1", "STREAMSVC_DATA_DIR": f"{folder}/data"}
        self.env |= DEMO_SETTINGS
        monkeypatch.chdir(folder)
        for module in (app, doctor, check):
            monkeypatch.setattr(module, "create_app", self._create_app)
        self._write_files()

    def _create_app(self, *given, **options):
        """Create an app that is closed after its command."""
        self.apps.append(create_app(*given, **options))
        return self.apps[-1]

    def run_page(self, page: str, examples: Sequence[Example]) -> list[Run]:
        """Run the commands of a page that can run here, in order."""
        runs: list[Run] = []
        if any(FAILED_JOB in example.text for example in examples):
            self._add_failed_job()
        for example, following in zip(examples, [*examples[1:], None], strict=True):
            if example.kind != "sh" or example.not_run:
                continue
            commands = pair_with_output(example)
            if following and following.kind == "text" and not following.not_run and commands:
                commands[-1] = (commands[-1][0], commands[-1][1] or following.text)
            for command, shown in commands:
                if words := find_runnable(command):
                    code, output = self._run(*words)
                    runs.append(Run(page, words[1], code, output, shown))
        return runs

    def _run(self, env: dict[str, str], command: str) -> tuple[int, str]:
        """Run a command as its entry point does, with `y` as the answer to its question."""
        for name in FOLDERS:
            command = command.replace(name, f"{self.folder}{name}")
        arguments = shlex.split(command, comments=True)
        arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
        self.monkeypatch.setattr(sys, "argv", arguments)
        code = None
        with CliRunner().isolation(input="y\n", env=self.env | env) as (_, _, output):
            try:
                main()
            except SystemExit as stop:
                code = stop.code
            if isinstance(code, str):
                click.echo(code)
            text = output.getvalue().decode().replace(str(self.folder), "")
        while self.apps:
            close_app(self.apps.pop())
        return (1 if isinstance(code, str) else int(code or 0)), text

    def _write_files(self) -> None:
        for name in FOLDERS:
            (self.folder / name.strip("/")).mkdir(parents=True)
        for name, content in FILES.items():
            path = self.folder / name
            data = content if isinstance(content, bytes) else content.encode()
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        (self.folder / "tombstones").symlink_to(self.folder / "var/lib/streamsvc/tombstones")

    def _add_failed_job(self) -> None:
        """Store the job that the pages list."""
        service = create_app(Settings.from_env(self.env))
        with service.app_context():
            now = clock.now()
            job = Job(id=FAILED_JOB, kind="mail.send", payload={}, run_at=now, failed_at=now, attempts=12)
            job.lane, job.last_error = "interactive", "ConnectionRefusedError(111, 'Connection refused')"
            db.session.add(job)
            db.session.commit()
        close_app(service)


def pair_with_output(example: Example) -> list[tuple[str, str | None]]:
    """Return the commands of a block, each with the output that the block shows after it."""
    if not example.text.startswith("$ "):
        return [(command, None) for command in split_commands(example.text)]
    pairs = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", example.text, re.MULTILINE)
    return [(command.replace("\\\n", " "), shown or None) for command, shown in pairs]


def find_runnable(command: str) -> tuple[dict[str, str], str] | None:
    """Return the environment and the text of a `streamsvc` command; None for other programs, and what does not end."""
    command = re.sub(r"^[*/5 ]+ ", "", command).partition(" && ")[0].partition(" || ")[0].strip()
    match = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(streamsvc .*)", command, re.DOTALL)
    if match is None or LASTING.match(match[2]):
        return None
    return dict(each.split("=", 1) for each in match[1].split()), match[2]


def find_changed_output(shown: str, output: str) -> str | None:
    """Say how an output is not the shown one, which may be wrapped; ids, times and figures may differ."""
    parts = [FIGURE.sub("", " ".join(CHANGING.sub("", text).split())) for text in (shown, output)]
    return find_changed_value(*parts)
