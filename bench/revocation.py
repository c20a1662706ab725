"""python -m bench.revocation: is a token that was revoked ever accepted again?

Eight clients ask with one token as fast as they can, over two web processes. The token is revoked; every request that
was *started* after the revocation was answered must be refused. So many rounds, with a reload, a killed web process
and (on PostgreSQL) a crash of the database between them. With --plant, a cache of one second is put into the served
app by this script: the run must then find stale accepts, or it could not find any.
"""

import argparse
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from bench import report, servers
from bench.__main__ import database
from streamsvc import login
from streamsvc.app import create_app
from streamsvc.database import db, new_id
from streamsvc.models import Account, Device, Session
from streamsvc.rules.sessions import fingerprint, new_token
from streamsvc.settings import Settings

CLIENTS, ASKED_AFTER, LONGEST_ROUND_S = 8, 3, 20


def planted():
    """The app with the fault that the check must find: tokens are remembered for a second."""
    look, known = login._viewer, {}

    def remembered(token, *rest):
        found, until = known.get(token, (None, 0))
        if time.monotonic() < until:
            return found
        found = look(token, *rest)
        known[token] = (found, time.monotonic() + 1)
        return found

    login._viewer = remembered
    return create_app()


def settle(env, count) -> list[str]:
    """So many tokens of one viewer's, as rows."""
    subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
    app, now, tokens = create_app(Settings.from_env(env)), datetime.now(UTC), [new_token() for _ in range(count)]
    account = {"id": new_id("acc"), "email": "ann@bench.example", "email_key": "ann@bench.example", "country": "DE"}
    account |= {"time_zone": "UTC", "locale": "en", "status": "active", "created_at": now}
    device = {"id": new_id("dev"), "account_id": account["id"], "name": "TV", "kind": "tv"}
    device |= {"created_at": now, "last_seen_at": now}
    times = {"created_at": now, "authenticated_at": now, "last_seen_at": now}
    own = {"account_id": account["id"], "device_id": device["id"], "lifetime": "tv", "epoch": 0} | times
    with app.app_context():
        db.session.execute(sa.insert(Account), [account])
        db.session.execute(sa.insert(Device), [device])
        rows = [own | {"id": new_id("ses"), "token_hash": fingerprint(token)} for token in tokens]
        db.session.execute(sa.insert(Session), rows)
        db.session.commit()
        for engine in db.engines.values():
            engine.dispose()
    return tokens


class Asked:
    """One client's connection; `heard` is a list of (when it was started, status) since it was last emptied."""

    def __init__(self, host):
        self.host, self.connection, self.heard = host, None, []

    def ask(self, token, method="GET"):
        began = time.perf_counter()
        try:
            self.connection = self.connection or http.client.HTTPConnection(self.host, timeout=10)
            self.connection.request(method, "/v1/sessions/current", headers={"Authorization": f"Bearer {token}"})
            answer = self.connection.getresponse()
            answer.read()
            status = answer.status
            if answer.will_close or len(self.heard) % 20 == 19:  # a new connection may reach the other process
                self._drop()
        except (OSError, http.client.HTTPException):
            self._drop()
            status = 0
        self.heard.append((began, status))
        return status

    def _drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def one_round(host, token) -> tuple[int, float]:
    """(stale accepts, seconds that the revocation took)."""
    clients, done = [Asked(host) for _ in range(CLIENTS)], threading.Event()

    def hammer(client):
        while not done.is_set():
            client.ask(token)

    threads = [threading.Thread(target=hammer, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        _wait(lambda: all(any(status == 200 for _, status in c.heard) for c in clients))
        revoker, began = Asked(host), time.perf_counter()
        while revoker.ask(token, "DELETE") not in (204, 401):  # a dying process may take the answer with it
            time.sleep(0.05)
        revoked = time.perf_counter()
        _wait(lambda: all(sum(at > revoked and s != 0 for at, s in c.heard) >= ASKED_AFTER for c in clients))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    stale = sum(1 for client in clients for at, status in client.heard if at > revoked and status == 200)
    return stale, revoked - began


def _wait(condition):
    deadline = time.monotonic() + LONGEST_ROUND_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the service did not answer in time")
        time.sleep(0.002)


def shake(number, kind):
    """Something that happens to a service: a reload, a killed web process, a crashed database."""
    master = next(p for p in psutil.Process().children() if "gunicorn" in " ".join(p.cmdline()))
    what = number % (3 if kind == "postgresql" else 2)
    if what == 0:
        master.send_signal(signal.SIGHUP)
    elif what == 1:
        os.kill(master.children()[0].pid, signal.SIGKILL)
    else:  # PostgreSQL restarts all of itself when one of its processes is killed
        backends = [p for p in psutil.process_iter(["cmdline"]) if _is_backend_of_ours(p)]
        backends[0].kill()
    return ("reload", "killed web process", "crashed database")[what]


def _is_backend_of_ours(process) -> bool:
    words = " ".join(process.info["cmdline"] or [])
    above = [p.pid for p in process.parents()]
    return words.startswith("postgres: postgres") and POSTMASTER.get("pid") in above


POSTMASTER = {}


def main():
    parser = argparse.ArgumentParser("python -m bench.revocation", description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (one is started)")
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--shake-every", type=int, default=100, help="rounds between two mishaps")
    parser.add_argument("--plant", action="store_true", help="serve a cache of one second: it must be found")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(database(asked.database, folder))
        if asked.database == "postgresql":
            data = Path(url.partition("host=")[2]) / "data" / "postmaster.pid"
            POSTMASTER["pid"] = int(data.read_text().splitlines()[0])
        env = servers.clean_env() | {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
        tokens = settle(env, asked.rounds)
        app = "bench.revocation:planted()" if asked.plant else "streamsvc.app:create_app()"
        host = stack.enter_context(servers.gunicorn(app, env))
        print(report.machine(), flush=True)
        stale, took, mishaps = 0, [], []
        for number, token in enumerate(tokens, 1):
            if number % asked.shake_every == 0:
                mishaps.append(shake(number // asked.shake_every, asked.database))
            more, spent = one_round(host, token)
            stale, took = stale + more, [*took, spent]
    p99_ms = statistics.quantiles(took, n=100)[98] * 1e3
    print(f"{asked.database}: {asked.rounds} revocations under {CLIENTS} clients, {len(mishaps)} mishaps")
    print(f"stale accepts: {stale}; revocation took {statistics.median(took) * 1e3:.1f} ms, p99 {p99_ms:.1f} ms")
    sys.exit((stale == 0) if asked.plant else (stale > 0))


if __name__ == "__main__":
    main()
