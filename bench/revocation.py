"""python -m bench.revocation: check that a revoked credential is never accepted again.

Eight clients send requests with one token as fast as they get responses, over two web processes. The token is revoked,
in each round by another of eight methods; every request that *starts* after the response to the revocation must be
rejected. Between the rounds there are reloads, killed web processes and (on PostgreSQL) database crashes. With --plant,
the served app caches tokens for one second: the run must then find stale accepts, which proves that it can find them.
"""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa

from bench import accounts, report, servers
from bench.http_client import Connection
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import ApiKey
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import operators, password_hashing, viewers
from streamsvc.storage.database import fetch_one

CLIENTS, REQUESTS_AFTER, ROUND_TIMEOUT_S, RECONNECT_EVERY = 8, 3, 120, 20
PASSWORD = "a long secret 7"
CURRENT_SESSION = "/v1/sessions/current"


def create_app_with_token_cache():
    """The app with the bug that this check must find: authenticated tokens are cached for a second."""
    viewers.find_viewer = cache_for_a_second(viewers.find_viewer)
    operators.find_operator_by_key = cache_for_a_second(operators.find_operator_by_key)
    return create_app()


def cache_for_a_second(find_principal):
    cache = {}

    def find_cached(token, *args, **kwargs):
        principal, expires_at = cache.get(token, (None, 0))
        if time.monotonic() < expires_at:
            return principal
        principal = find_principal(token, *args, **kwargs)
        cache[token] = (principal, time.monotonic() + 1)
        return principal

    return find_cached


@dataclass(frozen=True)
class Round:
    """One round: the path that is read with the token, and the request that revokes the token."""

    method: str
    """How the token is revoked, for the report."""
    token: str
    path: str
    revocation: tuple
    """method, path, body, token"""


def create_rounds(count: int) -> list[Round]:
    """Create the rounds, each with an account of its own, inserted as rows; the revocation methods take turns."""
    admin_key, password_hash = create_api_key("revoker", ["admin"]), password_hashing.hash_password(PASSWORD)
    account_rows = accounts.account_rows((f"viewer{n}" for n in range(count)), password_hash)
    devices = [(accounts.device_row(row), accounts.device_row(row)) for row in account_rows]
    sessions = [(accounts.session_row(first), accounts.session_row(second)) for first, second in devices]
    device_rows, session_rows = (
        [device for pair in devices for device in pair],
        [row for pair in sessions for _, row in pair],
    )
    accounts.insert_rows(account_rows, device_rows, session_rows)
    rounds = []
    for number, (account, (device, _), ((token, session), (owner_token, _))) in enumerate(
        zip(account_rows, devices, sessions, strict=True)
    ):
        account_path = f"/v1/admin/accounts/{account['id']}"
        new_password = {"current_password": PASSWORD, "password": "another secret 8"}
        revocations = {
            "signed out": ("DELETE", CURRENT_SESSION, None, token),
            "ended by the owner": ("DELETE", f"/v1/sessions/{session['id']}", None, owner_token),
            "device removed": ("DELETE", f"/v1/devices/{device['id']}", None, owner_token),
            "all others ended": ("DELETE", "/v1/sessions", None, owner_token),
            "ended by an operator": ("DELETE", f"{account_path}/sessions", None, admin_key),
            "account disabled": ("PATCH", account_path, {"status": "disabled"}, admin_key),
            "password changed": ("PUT", "/v1/account/password", new_password, owner_token),
            "API key revoked": None,
        }
        method = list(revocations)[number % len(revocations)]
        rounds.append(
            Round(method, token, CURRENT_SESSION, revocations[method])
            if revocations[method]
            else create_api_key_round(method, account_path, admin_key)
        )
    return rounds


def create_api_key_round(method: str, path: str, admin_key: str) -> Round:
    token = create_api_key("to be revoked", ["support"])
    key_id = fetch_one(sa.select(ApiKey.id).where(ApiKey.token_hash == hash_token(token))).id
    return Round(method, token, path, ("DELETE", f"/v1/admin/api-keys/{key_id}", None, admin_key))


async def run_round(connections: list[Connection], revoker: Connection, round_: Round) -> tuple[int, float]:
    """Run one round; returns (stale accepts, seconds that the revocation took)."""
    responses, done = [[] for _ in connections], False

    async def send_requests(connection, started_and_status):
        while not done:
            response = await connection.send("GET", round_.path, token=round_.token, timeout_s=5)
            started_and_status.append((response.started, response.status))
            if connection.sent % RECONNECT_EVERY == 0:
                connection.close()  # the next connection may reach the other web process

    clients = [asyncio.create_task(send_requests(*pair)) for pair in zip(connections, responses, strict=True)]
    try:
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            await _wait_until(lambda: all(any(status == 200 for _, status in client) for client in responses))
            started = time.perf_counter()
            await _revoke(revoker, round_)
            revoked = time.perf_counter()
            await _wait_until(lambda: all(_count_judged(client, revoked) >= REQUESTS_AFTER for client in responses))
    finally:
        done = True
        await asyncio.gather(*clients)
    stale = sum(status == 200 for client in responses for started_at, status in client if started_at > revoked)
    return stale, revoked - started


def _count_judged(client, revoked) -> int:
    """The client's requests since the revocation that were accepted or rejected, not lost."""
    return sum(started_at > revoked and status in (200, 401) for started_at, status in client)


async def _revoke(connection: Connection, round_: Round) -> None:
    """Repeat the revocation until it gets a response.

    If a killed process revoked the token but could not respond, the second attempt is rejected.
    """
    method, path, body, token = round_.revocation
    lost = False
    while True:
        status = (await connection.send(method, path, body, token, timeout_s=5)).status
        if 200 <= status < 300 or (lost and 400 <= status < 500):
            return
        assert status == 0 or status >= 500, f"{round_.method}: {status}"
        lost = True
        await asyncio.sleep(0.05)


async def _wait_until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def disrupt_service(number, postmaster) -> str:
    """Reload the server, kill a web process or crash the database, in turn; returns what was done."""
    master = next(p for p in psutil.Process().children() if "gunicorn" in " ".join(p.cmdline()))
    kind = number % (3 if postmaster else 2)
    if kind == 0:
        master.send_signal(signal.SIGHUP)
    elif kind == 1:
        os.kill(master.children()[0].pid, signal.SIGKILL)
    else:  # PostgreSQL restarts completely if one of its processes is killed
        next(p for p in postmaster.children() if " postgres " in " ".join(p.cmdline())).kill()
    return ("reload", "killed web process", "crashed database")[kind]


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench.revocation", description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (started for the run)")
    parser.add_argument("--server", choices=("gunicorn", "granian"), default="gunicorn")
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--shake-every", type=int, default=50, help="rounds between two disruptions; Granian: none")
    parser.add_argument("--plant", action="store_true", help="cache tokens for one second: the run must find it")
    return parser.parse_args()


async def run_rounds(
    host, rounds, disrupt_every, postmaster
) -> tuple[int, dict[str, list[float]], dict[str, list[float]]]:
    """Returns (stale accepts, seconds by method in undisturbed rounds, seconds by disruption in the others)."""
    connections, revoker = [Connection(host) for _ in range(CLIENTS)], Connection(host)
    total_stale, undisturbed, disrupted = 0, {}, {}
    with progress_bar(len(rounds), "Revocations") as bar:
        for number, round_ in enumerate(rounds, 1):
            disruption = number % disrupt_every == 0 and disrupt_service(number // disrupt_every, postmaster)
            stale, elapsed_s = await run_round(connections, revoker, round_)
            total_stale += stale
            times_s = disrupted.setdefault(disruption, []) if disruption else undisturbed.setdefault(round_.method, [])
            times_s.append(elapsed_s)
            bar.update(1)
    return total_stale, undisturbed, disrupted


def main():
    options = parse_arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        env = servers.environment_without_settings()
        env = stack.enter_context(accounts.migrated_database(options.database, folder, env))
        postmaster = None
        if options.database == "postgresql":
            socket_folder = Path(env["STREAMSVC_DATABASE_URL"].partition("host=")[2])
            postmaster = psutil.Process(int((socket_folder / "data" / "postmaster.pid").read_text().split()[0]))
        with accounts.local_app_context(env):
            rounds = create_rounds(options.rounds)
        app = "bench.revocation:create_app_with_token_cache()" if options.plant else "streamsvc.app:create_app()"
        host = stack.enter_context(servers.run_server(options.server, app, env)).host
        shake_every = options.shake_every if options.server == "gunicorn" else options.rounds + 1
        print(report.describe_machine(), flush=True)
        stale, undisturbed, disrupted = asyncio.run(run_rounds(host, rounds, shake_every, postmaster))
    print(f"\n{options.database}: {options.rounds} revocations under {CLIENTS} clients; stale accepts: {stale}")
    print(format_times_table(undisturbed | {f"during a {kind}": times_s for kind, times_s in disrupted.items()}))
    sys.exit((stale == 0) if options.plant else (stale > 0))


def format_times_table(times_by_method: dict[str, list[float]]) -> str:
    rows = [("method", "rounds", "median ms", "p99 ms")]
    for method, times_s in times_by_method.items():
        p99 = statistics.quantiles(times_s, n=100, method="inclusive")[98] if len(times_s) > 1 else times_s[0]
        rows.append((method, str(len(times_s)), f"{statistics.median(times_s) * 1e3:.1f}", f"{p99 * 1e3:.1f}"))
    return report.format_table(rows)


if __name__ == "__main__":
    main()
