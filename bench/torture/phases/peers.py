"""Phase `peers`: the payment provider, webhook receivers and the mail server hang, drip, reset, or send without end."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bench.torture.bad_peers import MODES, BadPeer, bad_peer
from bench.torture.clients import request
from bench.torture.core import Check, Context, Deadline, Phase, percentile
from bench.torture.invariants import check_invariants
from bench.torture.load import Load
from bench.torture.probes import Probes, Response, describe
from bench.torture.world import World, torture_world
from streamsvc.models import SandboxEmail
from streamsvc.storage.database import new_id
from tests.worlds.stripe_server import stripe_server

BUYERS, RENEWALS = 40, 24
MAX_CALL_S = 13.0
"""The calls of one request may wait for ten seconds in total; the rest is for a busy machine."""
MAX_PROBE_S, MAX_MAIL_S, MAX_RENEWALS_S = 2.0, 5.0, 20.0
READ, LIVE, READY = "/v1/plans?country=US", "/livez", "/readyz"


def run(context: Context) -> list[Check]:
    modes = ("drip",) if context.plant else MODES
    checks: list[Check] = []
    if not context.plant:
        checks += check_receivers_and_mail(context)
    with ExitStack() as stack:
        address, state = stack.enter_context(stripe_server())
        provider = stack.enter_context(bad_peer(address.removeprefix("http://")))
        url = f"http://{provider.address}"
        world = stack.enter_context(torture_world(context, STREAMSVC_STRIPE_URL=url))
        world.stripe = state
        load = Load(world, context, clients=0, renewals=False)
        for mode in modes:
            checks += check_provider(world, provider, mode, context)
        if not context.plant:
            checks += check_invariants(world, load.journal, context)
    return checks


def check_provider(world: World, provider: BadPeer, mode: str, context: Context) -> list[Check]:
    """Forty buyers at once while the payment provider misbehaves."""
    context.show(f"the payment provider: {mode}")
    with ThreadPoolExecutor(4) as few, ThreadPoolExecutor(BUYERS) as pool:
        buyers = list(few.map(lambda n: buyer(world, f"{mode}{n}"), range(BUYERS)))
        provider.mode = mode
        with Probes(world.service.port, ("GET", READ), ("GET", LIVE), ("GET", READY)).running() as probes:
            orders = list(pool.map(lambda token: buy(world, token), buyers))
        provider.mode = "good"
        again = [buy(world, token, new_key=False) for token in buyers[:1]]
    is_decided = all(r.status in (201, 402, 503) and r.elapsed_s < MAX_CALL_S for r in orders)
    p99_s = percentile([r.elapsed_s for r in probes.responses], 0.99)
    are_served = all(r.status == 200 for r in probes.responses) and p99_s < MAX_PROBE_S
    return [
        Check(f"payments are decided in time: {mode}", is_decided, describe(orders)),
        Check(f"other requests, /livez and /readyz: {mode}", are_served, describe(probes.responses)),
        Check(f"the same purchase afterwards: {mode}", again[0].status < 500, describe(again)),
    ]


def buyer(world: World, name: str) -> str:
    """Somebody with a card; returns their token."""
    token, _, _ = world.sign_up(name)
    world.demand("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, token)
    return token


def buy(world: World, token: str, new_key: bool = True) -> Response:
    """Send one order; without a new key until it is decided."""
    key, started, deadline = new_id("key") if new_key else f"key of {token[-8:]}", time.monotonic(), Deadline(40)
    while True:
        body = {"price_id": world.price_id}
        status, document = request(world.service.port, "POST", "/v1/subscriptions", body, token, key, timeout_s=60)
        is_decided = status and status < 500 and document.get("code") != "idempotency_key_in_use"
        if new_key or is_decided or deadline.has_passed():
            return Response("/v1/subscriptions", started, time.monotonic(), status)
        time.sleep(1)


def check_receivers_and_mail(context: Context) -> list[Check]:
    """Two webhook receivers hang and drip: mail leaves and renewals go on as if they did not."""
    folder = context.folder / "receivers"
    folder.mkdir()
    with bad_peer() as hanging, bad_peer() as dripping, torture_world(replace(context, folder=folder)) as world:
        for peer, mode in ((hanging, "hang"), (dripping, "drip")):
            world.demand("POST", "/v1/admin/webhook-endpoints", {"url": f"http://{peer.address}/hook"}, world.key)
            peer.mode = mode
        load = Load(world, context, clients=0, renewals=False)
        load.import_subscribers(RENEWALS)
        renewals = measure(lambda: len(world.stripe.charged_amounts()) >= RENEWALS, MAX_RENEWALS_S)
        deadline, slowest_s, mails = Deadline(context.seconds / 3), 0.0, 0
        while mails < 3 or not deadline.has_passed():
            mails += 1
            email = f"mail{mails}@torture.example"
            world.sign_up(f"mail{mails}")
            slowest_s = max(slowest_s, measure(lambda to=email: has_mail(world, to), 3 * MAX_MAIL_S))
        called = hanging.connections and dripping.connections
        return [
            Check("mail while webhook receivers hang", slowest_s < MAX_MAIL_S, f"{mails}, within {slowest_s:.1f} s"),
            Check("renewals while they hang", renewals < MAX_RENEWALS_S, f"{RENEWALS} within {renewals:.1f} s"),
            Check("the receivers were called", bool(called), f"{hanging.connections} and {dripping.connections} times"),
        ]


def has_mail(world: World, to: str) -> bool:
    with world.engine.connect() as connection:
        sent = sa.select(SandboxEmail.id).where(SandboxEmail.to == to)
        return connection.scalar(sent.where(SandboxEmail.sent_at > datetime.now(UTC) - timedelta(days=1))) is not None


def measure(condition, timeout_s: float) -> float:
    """Seconds until the condition is true, at most the timeout."""
    started, deadline = time.monotonic(), Deadline(timeout_s)
    while not condition() and not deadline.has_passed():
        time.sleep(0.05)
    return time.monotonic() - started


PHASE = Phase(
    "peers",
    "the payment provider and webhook receivers hang, drip, reset, or send without end",
    run,
    {"patient_calls": "payments are decided in time: drip"},
    weight=0.5,
    databases=("sqlite",),
)
