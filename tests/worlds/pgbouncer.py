"""A real PgBouncer in transaction mode in front of the tests' PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "PgBouncer is missing: apt-get install pgbouncer"
CONFIGURATION = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 5432
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_login_retry = 1
logfile = {folder}/log
"""
START_TIMEOUT_S = 20


@contextmanager
def bouncer(url: str, pool_size: int):
    """Start PgBouncer; yields the URL of the same database through it, on `pool_size` connections for all clients."""
    target, folder = sa.make_url(url), Path(tempfile.mkdtemp(prefix="streamsvc-pgb-"))
    (folder / "users").write_text('"postgres" ""\n')
    configuration = CONFIGURATION.format(server=target.query["host"], folder=folder, pool_size=pool_size)
    (folder / "bouncer.ini").write_text(configuration)
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody", "nogroup")
        folder.chmod(0o755)
    process = subprocess.Popen([PROGRAM, "-q", folder / "bouncer.ini"], cwd=folder, **user)
    try:
        through = target.set(query={**target.query, "host": str(folder)})
        url = through.render_as_string(hide_password=False)
        _wait_until_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)
        shutil.rmtree(folder)


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
