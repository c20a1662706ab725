"""python -m bench.revocation: is anything that was revoked ever accepted again?

Eight clients ask with one token as fast as they are answered, over two web processes. It is revoked, in another of
eight ways each round; every request that was *started* after the revocation was answered must be refused. So many
rounds, with a reload, a killed web process and (on PostgreSQL) a crash of the database between them. With --plant, a
cache of one second is put into the served app by this script: the run must then find stale accepts, or it could not
find any.
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

from bench import people, report, servers
from bench.wire import Line
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.models import ApiKey
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import authentication, password_hashing
from streamsvc.storage.database import fetch_one

CLIENTS, ASKED_AFTER, LONGEST_ROUND_S, NEW_CONNECTION_EVERY = 8, 3, 120, 20
PASSWORD = "a long secret 7"
CURRENT = "/v1/sessions/current"


def planted():
    """The app with the fault that the check must find: tokens are remembered for a second."""
    for name in ("_viewer", "_operator"):
        setattr(authentication, name, remembering(getattr(authentication, name)))
    return create_app()


def remembering(look):
    known = {}

    def remembered(token, *rest):
        found, until = known.get(token, (None, 0))
        if time.monotonic() < until:
            return found
        found = look(token, *rest)
        known[token] = (found, time.monotonic() + 1)
        return found

    return remembered


@dataclass(frozen=True)
class Turn:
    """One round: what is asked with which token, and the request that revokes it."""

    way: str
    token: str
    asks: str
    revoke: tuple
    """method, path, body, token"""


def turns(count: int) -> list[Turn]:
    """So many rounds, a household each, in rows; the ways to revoke take turns."""
    admin, same_hash = create_api_key("revoker", ["admin"]), password_hashing.hash_password(PASSWORD)
    homes = people.accounts((f"viewer{n}" for n in range(count)), same_hash)
    devices = [(people.device_of(home), people.device_of(home)) for home in homes]
    sessions = [(people.session_of(one), people.session_of(other)) for one, other in devices]
    people.keep(homes, [d for pair in devices for d in pair], [row for pair in sessions for _, row in pair])
    made = []
    for number, (home, (device, _), ((token, row), (owner, _))) in enumerate(
        zip(homes, devices, sessions, strict=True)
    ):
        account = f"/v1/admin/accounts/{home['id']}"
        new_password = {"current_password": PASSWORD, "password": "another secret 8"}
        ways = {
            "signed out": ("DELETE", CURRENT, None, token),
            "ended by the owner": ("DELETE", f"/v1/sessions/{row['id']}", None, owner),
            "device removed": ("DELETE", f"/v1/devices/{device['id']}", None, owner),
            "all others ended": ("DELETE", "/v1/sessions", None, owner),
            "ended by an operator": ("DELETE", f"{account}/sessions", None, admin),
            "account disabled": ("PATCH", account, {"status": "disabled"}, admin),
            "password changed": ("PUT", "/v1/account/password", new_password, owner),
            "API key revoked": None,
        }
        way = list(ways)[number % len(ways)]
        made.append(Turn(way, token, CURRENT, ways[way]) if ways[way] else key_turn(way, account, admin))
    return made


def key_turn(way: str, account: str, admin: str) -> Turn:
    token = create_api_key("to be revoked", ["support"])
    return Turn(way, token, account, ("DELETE", f"/v1/admin/api-keys/{key_id(token)}", None, admin))


def key_id(token: str) -> str:
    return fetch_one(sa.select(ApiKey.id).where(ApiKey.token_hash == hash_token(token))).id


async def one_round(lines: list[Line], revoker: Line, turn: Turn) -> tuple[int, float]:
    """(stale accepts, seconds that the revocation took)."""
    heard, done = [[] for _ in lines], False

    async def hammer(line, told):
        while not done:
            answer = await line.ask("GET", turn.asks, token=turn.token, timeout_s=5)
            told.append((answer.began, answer.status))
            if line.asked % NEW_CONNECTION_EVERY == 0:
                line.close()  # the next may reach the other process

    hammering = [asyncio.create_task(hammer(*pair)) for pair in zip(lines, heard, strict=True)]
    try:
        async with asyncio.timeout(LONGEST_ROUND_S):
            await _until(lambda: all(any(status == 200 for _, status in told) for told in heard))
            began = time.perf_counter()
            await _revoked(revoker, turn)
            revoked = time.perf_counter()
            await _until(lambda: all(sum(a > revoked and s in (200, 401) for a, s in h) >= ASKED_AFTER for h in heard))
    finally:
        done = True
        await asyncio.gather(*hammering)
    return sum(status == 200 for told in heard for at, status in told if at > revoked), revoked - began


async def _revoked(line: Line, turn: Turn) -> None:
    """Ask until it is answered. What a dying process did before it could answer is refused the second time."""
    method, path, body, token = turn.revoke
    lost = False
    while True:
        status = (await line.ask(method, path, body, token, timeout_s=5)).status
        if 200 <= status < 300 or (lost and 400 <= status < 500):
            return
        assert status == 0 or status >= 500, f"{turn.way}: {status}"
        lost = True
        await asyncio.sleep(0.05)


async def _until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def shake(number, postmaster) -> str:
    """Something that happens to a service: a reload, a killed web process, a crashed database."""
    master = next(p for p in psutil.Process().children() if "gunicorn" in " ".join(p.cmdline()))
    what = number % (3 if postmaster else 2)
    if what == 0:
        master.send_signal(signal.SIGHUP)
    elif what == 1:
        os.kill(master.children()[0].pid, signal.SIGKILL)
    else:  # PostgreSQL restarts all of itself when one of its processes is killed
        next(p for p in postmaster.children() if " postgres " in " ".join(p.cmdline())).kill()
    return ("reload", "killed web process", "crashed database")[what]


def arguments():
    parser = argparse.ArgumentParser("python -m bench.revocation", description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgresql (one is started)")
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--shake-every", type=int, default=50, help="rounds between two mishaps")
    parser.add_argument("--plant", action="store_true", help="serve a cache of one second: it must be found")
    return parser.parse_args()


async def rounds(host, turns, shake_every, postmaster) -> tuple[int, dict[str, list[float]], dict[str, list[float]]]:
    """(stale accepts, seconds by way of the calm rounds, seconds by mishap of the others)."""
    lines, revoker, stale, calm, shaken = [Line(host) for _ in range(CLIENTS)], Line(host), 0, {}, {}
    with progress_bar(len(turns), "Revocations") as bar:
        for number, turn in enumerate(turns, 1):
            mishap = number % shake_every == 0 and shake(number // shake_every, postmaster)
            more, spent = await one_round(lines, revoker, turn)
            stale += more
            (shaken.setdefault(mishap, []) if mishap else calm.setdefault(turn.way, [])).append(spent)
            bar.update(1)
    return stale, calm, shaken


def main():
    asked = arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        env = stack.enter_context(people.empty_service(asked.database, folder, servers.clean_env()))
        postmaster = None
        if asked.database == "postgresql":
            socket_folder = Path(env["STREAMSVC_DATABASE_URL"].partition("host=")[2])
            postmaster = psutil.Process(int((socket_folder / "data" / "postmaster.pid").read_text().split()[0]))
        with people.at_the_desk(env):
            to_come = turns(asked.rounds)
        app = "bench.revocation:planted()" if asked.plant else "streamsvc.app:create_app()"
        host = stack.enter_context(servers.gunicorn(app, env))
        print(report.machine(), flush=True)
        stale, calm, shaken = asyncio.run(rounds(host, to_come, asked.shake_every, postmaster))
    print(f"\n{asked.database}: {asked.rounds} revocations under {CLIENTS} clients; stale accepts: {stale}")
    print(told(calm | {f"amid a {mishap}": times for mishap, times in shaken.items()}))
    sys.exit((stale == 0) if asked.plant else (stale > 0))


def told(spent: dict[str, list[float]]) -> str:
    rows = [("how", "rounds", "median ms", "p99 ms")]
    for how, times in spent.items():
        p99 = statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]
        rows.append((how, str(len(times)), f"{statistics.median(times) * 1e3:.1f}", f"{p99 * 1e3:.1f}"))
    return report.table(rows)


if __name__ == "__main__":
    main()
