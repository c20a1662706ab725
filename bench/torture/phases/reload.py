"""Phase `reload`: SIGHUP again and again, and migrations by four nodes at once, one of them killed, under load."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from bench import accounts
from bench.torture.core import Check, Context, Deadline, Phase, percentile
from bench.torture.probes import Probes, Response, describe
from bench.torture.world import World, torture_world
from streamsvc.app import MIGRATIONS

READ, READY = "/v1/plans?country=US", "/readyz"
NODES, SESSIONS, TIMEOUT_S, RELOAD_EVERY_S = 4, 20_000, 300, 3.0
MAX_P99_S, MAX_WAIT_S, READERS = 0.5, 4.0, 6
EXPAND = '''"""adds what a next release needs: a column, its values in batches, and an index"""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade():
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column("sessions", sa.Column("torture", sa.String()))
    {fault}
    if is_postgresql:
        with op.get_context().autocommit_block():
            op.create_index("ix_torture", "sessions", ["torture"], postgresql_concurrently=True, if_not_exists=True)
    else:
        op.create_index("ix_torture", "sessions", ["torture"])


def downgrade():
    op.drop_index("ix_torture", "sessions")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("torture")
'''
LONG_LOCK = """op.execute("LOCK TABLE profiles, plans" if is_postgresql else "UPDATE sessions SET torture = '1'")
    __import__("time").sleep(9)"""


def run(context: Context) -> list[Check]:
    with torture_world(context) as world:
        token, _, profile_id = world.sign_up("writer")
        write = ("PATCH", f"/v1/profiles/{profile_id}", {"name": "Ann"}, token)
        requests = [*[("GET", READ)] * READERS, write, ("GET", READY)]
        with Probes(world.service.port, *requests, pause_s=0).running() as probes:
            checks = []
            if context.plant != "long_lock":
                reloads = reload_repeatedly(world, context)
                time.sleep(1)
                checks.append(
                    check_responses("no request fails during reloads", probes.responses, f"{reloads} reloads, ")
                )
            if context.plant != "hard_reload":
                add_sessions(world)
                before = len(probes.responses)
                migrated = migrate_on_all_nodes(world, context)
                time.sleep(1)
                during = probes.responses[before:]
                checks.append(check_responses("no request fails during migrations", during, ""))
                times = [r.elapsed_s for r in during]
                p99_s, slowest_s = percentile(times, 0.99), max(times)
                checks.append(Check("p99 during migrations", p99_s < MAX_P99_S, f"{p99_s * 1e3:.0f} ms"))
                checks.append(Check("slowest during migrations", slowest_s < MAX_WAIT_S, f"{slowest_s:.1f} s"))
                checks.append(Check("one of four nodes migrates, after another was killed", *migrated))
        return checks


def check_responses(name: str, responses: list[Response], prefix: str) -> Check:
    failed = [r for r in responses if not 200 <= r.status < 300]
    figure = prefix + describe(responses) + "".join(f"; {r.status} from {r.path}" for r in failed[:3])
    return Check(name, bool(responses) and not failed, figure)


def reload_repeatedly(world: World, context: Context) -> int:
    """Reload until half of the time is over, each time once the processes before are replaced; returns how often."""
    deadline, reloads = Deadline(context.seconds / 2), 0
    while not deadline.has_passed() or reloads == 0:
        log_length = len(world.service.log.read_text(errors="replace"))
        world.service.process.send_signal(signal.SIGHUP)
        reloads += 1
        context.show(f"{reloads} reloads")
        finished = Deadline(TIMEOUT_S)
        while not finished.has_passed():
            if "reloaded web" in world.service.log.read_text(errors="replace")[log_length:]:
                break
            time.sleep(0.1)
        time.sleep(RELOAD_EVERY_S)
    return reloads


def add_sessions(world: World) -> None:
    """Fill the table that is migrated."""
    with world.app_context():
        [account] = accounts.account_rows(["many"], None)
        device = accounts.device_row(account)
        accounts.insert_rows([account], [device], [accounts.session_row(device)[1] for _ in range(SESSIONS)])


def migrate_on_all_nodes(world: World, context: Context) -> tuple[bool, str]:
    """Upgrade on four nodes at once, after one was killed while it did; returns (whether all went well, a figure)."""
    context.show("migrating")
    folder = write_migration(context)
    command = [sys.executable, "-m", "streamsvc.cli", "db", "upgrade", "-d", str(folder)]
    first = subprocess.Popen(command, env=world.service.env, stderr=subprocess.DEVNULL)
    time.sleep(context.rng.uniform(1, 4))
    first.kill()
    first.wait()
    nodes = [subprocess.Popen(command, env=world.service.env, stderr=subprocess.PIPE, text=True) for _ in range(NODES)]
    outputs = [node.communicate(timeout=TIMEOUT_S)[1] for node in nodes]
    with world.engine.connect() as connection:
        revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        columns = [column["name"] for column in sa.inspect(connection).get_columns("sessions")]
    failed = [output.strip().splitlines()[-1] for node, output in zip(nodes, outputs, strict=True) if node.returncode]
    figure = f"revision {revision}, {SESSIONS:,} rows" + "".join(f"; {line[:150]}" for line in failed)
    return not failed and revision == "9001" and "torture" in columns, figure


def write_migration(context: Context) -> Path:
    """A copy of the product's migrations with one more."""
    folder = context.folder / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    head = max(path.name[:4] for path in (folder / "versions").glob("[0-9]*.py"))
    fault = LONG_LOCK if context.plant == "long_lock" else ""
    (folder / "versions" / "9001_torture.py").write_text(EXPAND.format(head=head, fault=fault))
    return folder


PHASE = Phase(
    "reload",
    "SIGHUP, and migrations by four nodes at once, under load",
    run,
    {"hard_reload": "no request fails during reloads", "long_lock": "slowest during migrations"},
    weight=1,
    plant_s=20,
)
