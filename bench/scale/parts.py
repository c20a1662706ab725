"""The parts that are started and killed: HAProxy, PgBouncer, the two servers of PostgreSQL, and the nodes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from bench.servers import ROOT, find_free_port
from tests.worlds.acknowledged_writes import put_on_sale
from tests.worlds.pgbouncer import CONFIGURATION
from tests.worlds.postgres import Server
from tests.worlds.service import Service, wait_until
from tests.worlds.standby import SETTINGS, Standby, execute, kill, replicate_synchronously

DATABASE, POOL_SIZE, NODES, FILMS = "tv", 40, 4, 60
SECRET_KEY = "one secret that all four nodes share"
START_TIMEOUT_S = 300
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on", **SETTINGS}
ROLE_SETTINGS = (
    "ALTER ROLE postgres SET lock_timeout = '2s'",
    "ALTER ROLE postgres SET statement_timeout = '30s'",
    "ALTER ROLE postgres SET synchronous_commit = 'on'",
)
"""What docs/deployment.md says of a role behind PgBouncer."""
REPLICATION = "SELECT state FROM pg_stat_replication"


def find_missing_programs() -> list[str]:
    """The Debian packages that this machine lacks."""
    found = {name: find_program(name) for name in ("haproxy", "pgbouncer")} | {"postgresql": find_postgresql()}
    return [package for package, path in found.items() if path is None]


def find_program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def find_postgresql() -> Path | None:
    """The programs of the newest PostgreSQL of Debian."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


def kill_all(pid: int) -> None:
    """Kill a process and all below it at once, as a machine that loses its power does."""
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


class Front(Service):
    """The service as viewers see it, through HAProxy."""

    def __init__(self, url: str, folder: Path, port: int) -> None:
        super().__init__(url, folder)
        self.port = port

    def call(self, method, path, body=None, token=None, **headers) -> tuple[int, dict]:
        """Send a request; returns (status, document). HAProxy's own 503 has no document."""
        try:
            return super().call(method, path, body, token, **headers)
        except ValueError:
            return 503, {}


class Bouncer:
    """PgBouncer in transaction mode in front of one of the servers."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="streamsvc-pgb-"))
        self.url = f"postgresql://postgres@/{DATABASE}?host={self.folder}"
        (self.folder / "users").write_text('"postgres" ""\n')
        self.user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "nobody", "nogroup")
            self.folder.chmod(0o755)

    def point_at(self, server: Server) -> None:
        text = CONFIGURATION.format(server=server.folder, folder=self.folder, pool_size=POOL_SIZE)
        (self.folder / "bouncer.ini").write_text(text)

    def start(self) -> None:
        command = [find_program("pgbouncer"), "-q", self.folder / "bouncer.ini"]
        self.process = subprocess.Popen(command, cwd=self.folder, **self.user)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


class Node(Service):
    """A node: `streamsvc serve`, with a worker only if it is the first or the second."""

    def __init__(self, number: int, folder: Path, bouncer: Bouncer, standby: Server) -> None:
        folder.mkdir()
        super().__init__(bouncer.url, folder)
        self.arguments = [] if number < 2 else ["--no-worker"]
        self.env |= {
            "STREAMSVC_SECRET_KEY": SECRET_KEY,
            "STREAMSVC_DATABASE_REPLICA_URL": standby.url.format(DATABASE),
            "STREAMSVC_WORKERS": "1",
            "STREAMSVC_LOGIN_THROTTLE": "0",
            "STREAMSVC_TRUSTED_PROXIES": "1",
            "STREAMSVC_BREACHED_PASSWORDS": "",
            "STREAMSVC_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "streamsvc.cli", "serve", *self.arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    def is_up(self) -> bool:
        """Whether it is ready. Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"a node has ended: {self.log.read_text()[-1000:]}")
        return self.is_ready()

    def kill(self) -> None:
        kill_all(self.process.pid)
        self.process.wait()


class Balancer:
    """HAProxy with the configuration in deploy/, on a port of this machine and without TLS."""

    def __init__(self, folder: Path, nodes: list[Node]) -> None:
        self.port, self.path, self.log = find_free_port(), folder / "haproxy.cfg", folder / "haproxy.log"
        text = re.sub(r"bind :443.*", f"bind 127.0.0.1:{self.port}", (ROOT / "deploy" / "haproxy.cfg").read_text())
        for number, node in enumerate(nodes, 1):
            text = re.sub(rf"(server node{number}) .*", rf"\1 127.0.0.1:{node.port}", text)
        self.path.write_text(text)

    def start(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen([find_program("haproxy"), "-W", "-f", self.path], stdout=log, stderr=log)

    def is_up(self) -> bool:
        """Whether it runs. Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"HAProxy has ended: {self.log.read_text()[-1000:]}")
        return True

    def reload(self) -> None:
        self.process.send_signal(signal.SIGUSR2)


class Site:
    """All parts. The one who calls it is what watches over the servers of PostgreSQL, as Patroni would be."""

    def __init__(self, is_synchronous: bool, stack: ExitStack) -> None:
        self.is_synchronous, self.stack = is_synchronous, stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-scale-")))
        programs = find_postgresql()
        assert programs is not None
        self.primary = Server(programs, **DURABLE)
        self._start_server(self.primary)
        for statement in (f"CREATE DATABASE {DATABASE}", *ROLE_SETTINGS):
            execute(self.primary.url.format("postgres"), statement)
        self.price_id, self.film_id = put_on_sale(self.primary.url.format(DATABASE), SECRET_KEY, FILMS)
        self.standby = Standby(self.primary, **DURABLE)
        self._start_server(self.standby)
        self.replicate()
        self.bouncer = Bouncer()
        self.bouncer.point_at(self.primary)
        self.bouncer.start()
        stack.callback(shutil.rmtree, self.bouncer.folder, ignore_errors=True)
        stack.callback(self.bouncer.kill)
        self.nodes = [Node(n, self.folder / f"node{n + 1}", self.bouncer, self.standby) for n in range(NODES)]
        for node in self.nodes:
            node.start()
            stack.callback(lambda node=node: node.process.poll() is None and node.kill())
        self.balancer = Balancer(self.folder, self.nodes)
        self.balancer.start()
        stack.callback(lambda: self.balancer.process.poll() is None and kill_all(self.balancer.process.pid))
        self.front = Front(self.bouncer.url, self.folder, self.balancer.port)
        wait_until(self.is_up, START_TIMEOUT_S)

    def is_up(self) -> bool:
        """Whether all nodes are ready, and HAProxy knows it. Raises RuntimeError if one of them has ended."""
        return self.balancer.is_up() and all(node.is_up() for node in self.nodes) and self.front.is_ready()

    def _start_server(self, server: Server) -> None:
        self.stack.callback(shutil.rmtree, server.folder, ignore_errors=True)
        server.start()
        self.stack.callback(lambda: (server.data / "postmaster.pid").exists() and server.crash())

    def replicate(self) -> None:
        """Wait until the standby follows, and the primary's commits for it if replication is synchronous."""
        url = self.primary.url.format("postgres")
        wait_until(lambda: execute(url, REPLICATION) == [("streaming",)])
        if self.is_synchronous:
            replicate_synchronously(self.primary)

    def stop_waiting_for_standby(self) -> None:
        url = self.primary.url.format("postgres")
        execute(url, "ALTER SYSTEM SET synchronous_standby_names = ''")
        execute(url, "SELECT pg_reload_conf()")

    def kill_node(self, restart_after_s: float) -> None:
        self.nodes[-1].kill()
        time.sleep(restart_after_s)
        self.nodes[-1].start()
        wait_until(self.nodes[-1].is_up, START_TIMEOUT_S)

    def kill_bouncer(self, restart_after_s: float) -> None:
        self.bouncer.kill()
        time.sleep(restart_after_s)
        self.bouncer.start()

    def kill_standby(self, noticed_after_s: float) -> None:
        """Kill the standby; once that is noticed, commits no longer wait for it, and it starts again."""
        kill(self.standby)
        time.sleep(noticed_after_s)
        if self.is_synchronous:
            self.stop_waiting_for_standby()
        self.standby.start()
        self.replicate()

    def kill_primary(self, noticed_after_s: float) -> None:
        """Kill the primary; once that is noticed, the standby is promoted and PgBouncer is pointed at it."""
        kill(self.primary)
        time.sleep(noticed_after_s)
        self.standby.promote()
        self.bouncer.point_at(self.standby)
        self.bouncer.reload()
