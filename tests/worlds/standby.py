"""A PostgreSQL primary with a streaming standby, both real."""

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from tests.worlds.postgres import Server, find_programs, started_server
from tests.worlds.service import wait_until

SETTINGS = {"wal_level": "replica", "max_wal_senders": "5", "wal_receiver_status_interval": "1s"}
SYNCHRONOUS = "ALTER SYSTEM SET synchronous_standby_names = '*'"


class Standby(Server):
    """A standby of `primary`, made from a base backup of it."""

    def __init__(self, primary: Server, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="streamsvc-pg-"))
        self.url = "postgresql://postgres@/{}?host=" + str(self.folder)
        self.user, self.programs, self.data = primary.user, primary.programs, self.folder / "data"
        if self.user:
            shutil.chown(self.folder, "nobody", "nogroup")
        options = {"listen_addresses": "''", **SETTINGS, "max_connections": "200", **settings}
        self.options = " ".join(f"-c {name}={value}" for name, value in options.items())
        self.run("pg_basebackup", "-h", primary.folder, "-U", "postgres", "-R", "-c", "fast", "--no-sync")

    def promote(self):
        """Make it a primary; returns once it accepts writes."""
        self.run("pg_ctl", "-w", "promote")

    def execute(self, statement):
        return execute(self.url.format("postgres"), statement)


@contextmanager
def primary_and_standby(primary_settings=None, **standby_settings):
    """Start both; yields (primary, standby). Commits wait for the disk of neither, and for no standby."""
    with started_server(**SETTINGS, **(primary_settings or {})) as primary:
        standby = Standby(primary, **standby_settings)
        try:
            standby.start()
            yield primary, standby
        finally:
            if (standby.data / "postmaster.pid").exists():
                standby.crash()
            shutil.rmtree(standby.folder, ignore_errors=True)


def kill(server):
    """Kill all processes of a server at once, as a power failure does, and wait for their end."""
    path = server.data / "postmaster.pid"
    postmaster = psutil.Process(int(path.read_text().split()[0]))
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes)
    path.unlink(missing_ok=True)


def replicate_synchronously(primary):
    """Have commits on the primary wait for the standby, and wait until it does."""
    url = primary.url.format("postgres")
    execute(url, SYNCHRONOUS)
    execute(url, "SELECT pg_reload_conf()")
    wait_until(lambda: execute(url, "SELECT sync_state FROM pg_stat_replication") == [("sync",)])


def execute(url, statement):
    """Run a statement; returns its rows, if any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def has_programs():
    """Whether this machine can have a standby: not each PostgreSQL comes with what makes one."""
    programs = find_programs()
    return programs is not None and (programs / "pg_basebackup").exists()
