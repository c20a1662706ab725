"""Phase `clocks`: the wall clock of all processes jumps ahead and back, while the database's stays right."""

import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bench.torture.clients import request
from bench.torture.core import Check, Context, Deadline, Phase
from bench.torture.invariants import check_invariants
from bench.torture.load import Load
from bench.torture.world import World, torture_world
from streamsvc.models import IdempotencyKey, Job
from streamsvc.models.subscriptions import Subscription

DAY_S = 24 * 3600
JUMPS = {"40 days ahead": 40 * DAY_S, "10 years ahead": 3652 * DAY_S, "an hour back": -3600}
JUMP_S, SUBSCRIBERS, RECOVERY_S = 12.0, 12, 20.0
MAX_LEASE_S = 60.0
READY = "/readyz"


def run(context: Context) -> list[Check]:
    clock_file = context.folder / "clock"
    clock_file.write_text("0")
    with torture_world(context, TORTURE_CLOCK=str(clock_file)) as world:
        load = Load(world, context, clients=0, renewals=False)
        load.import_subscribers(SUBSCRIBERS)
        wait_for_charges(world, SUBSCRIBERS)
        token, _, _ = world.sign_up("viewer")
        world.subscribe(token)
        paid, checks = world.stripe.charged_amounts(), []
        for name, seconds in JUMPS.items():
            context.show(name)
            clock_file.write_text(str(seconds))
            time.sleep(JUMP_S)
            status, ready = request(world.service.port, "GET", READY)
            charged = len(world.stripe.charged_amounts()) - len(paid)
            clock_file.write_text("0")
            paid = world.stripe.charged_amounts()
            checks.append(Check(f"nobody is charged while the clock is {name}", charged == 0, f"{charged} charges"))
            if seconds > 0:
                is_reported = ready.get("checks", {}).get("clock") is False
                figure = f"{status}, {ready.get('status')}, {ready.get('checks')}"
                checks.append(Check(f"/readyz reports it: {name}", is_reported, figure))
            checks.append(check_return(world, name, token))
        checks.append(check_rows(world))
        return [*checks, *check_invariants(world, load.journal, context)]


def wait_for_charges(world: World, count: int) -> None:
    deadline = Deadline(60)
    while len(world.stripe.charged_amounts()) < count:
        assert not deadline.has_passed(), "the subscribers were not renewed"
        time.sleep(0.2)


def check_return(world: World, name: str, token: str) -> Check:
    """After the clock has returned, the same session plays again, somebody else signs in, and renewals go on."""
    deadline, problem = Deadline(RECOVERY_S), ""
    while not deadline.has_passed():
        body = {"item_id": world.film_ids[0]}
        played = request(world.service.port, "POST", "/v1/playback", body, token)[0]
        email = f"{name.replace(' ', '.')}@torture.example"
        account = {"email": email, "password": "seven red herons", "country": "US"}
        signed_up = request(world.service.port, "POST", "/v1/accounts", account)[0]
        ready = request(world.service.port, "GET", READY)[0]
        problem = f"playback {played}, sign-up {signed_up}, /readyz {ready}"
        if played == 201 and signed_up in (201, 409) and ready == 200:
            figure = f"within {RECOVERY_S - deadline.left_s:.1f} s"
            return Check(f"nobody is locked out after: {name}", True, figure)
        time.sleep(0.5)
    return Check(f"nobody is locked out after: {name}", False, problem)


def check_rows(world: World) -> Check:
    """No lease, job or paid period outlives the jump."""
    now = datetime.now(UTC)
    late = now + timedelta(days=2)
    queries = {
        "leases": sa.select(Job.id).where(Job.leased_until > now + timedelta(seconds=MAX_LEASE_S)),
        "leases of keys": sa.select(IdempotencyKey.id).where(
            IdempotencyKey.leased_until > now + timedelta(seconds=MAX_LEASE_S)
        ),
        "recurring jobs": sa.select(Job.id).where(Job.kind.in_(RECURRING), Job.done_at.is_(None), Job.run_at > late),
        "paid periods": sa.select(Subscription.id).where(Subscription.period_end > (now + timedelta(days=32)).date()),
    }
    with world.engine.connect() as connection:
        counts = {name: len(connection.execute(query).all()) for name, query in queries.items()}
    figure = ", ".join(f"{count} {name} in the far future" for name, count in counts.items())
    return Check("nothing outlives the jump", not any(counts.values()), figure)


RECURRING = ("billing.audit", "housekeeping")
PHASE = Phase(
    "clocks",
    "the wall clock jumps 40 days and 10 years ahead, and an hour back, and returns",
    run,
    {"trusting_clock": "nobody is charged while the clock is 40 days ahead"},
    weight=0.1,
)
