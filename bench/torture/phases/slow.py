"""Phase `slow`: clients that send slowly, or nothing, next to two that read."""

import statistics

from bench.slow_clients import ATTACKS, SlowClients, measure
from bench.torture.core import Check, Context, Phase
from bench.torture.world import torture_world
from tests.worlds.wire import find_wrong_responses

ALONE = "no other client"
MAX_RATIO, SLACK_MS = 2.0, 50.0
"""The p99 of healthy requests may double; the slack is for a busy machine, where a p99 of few requests jumps."""


def run(context: Context) -> list[Check]:
    env = {"GUNICORN_CMD_ARGS": "--worker-class gthread"} if context.plant == "gthread" else {}
    with torture_world(context, **env) as world:
        port, checks = world.service.port, []
        measure(port, 1)
        attacks = {name: ATTACKS[name] for name in list(ATTACKS)[: 2 if context.plant else None]}
        alone_ms = 0.0
        for name, attack in attacks.items():
            context.show(name)
            with SlowClients(port, *attack):
                times = measure(port, context.seconds / len(attacks))
            p99_ms = times[int(len(times) * 0.99) - 1]
            alone_ms = alone_ms or p99_ms
            figure = f"p50 {statistics.median(times):.1f} ms, p99 {p99_ms:.1f} ms, {len(times)} requests"
            checks.append(Check(name, p99_ms <= MAX_RATIO * alone_ms + SLACK_MS, figure))
        if not context.plant:
            wrong = find_wrong_responses(port)
            figure = f"{len(wrong)} wrong" + "".join(f"; {name}" for name in wrong)
            checks.append(Check("malformed requests get their status", not wrong, figure))
        return checks


PHASE = Phase(
    "slow",
    "slow, silent and malformed clients",
    run,
    {"gthread": "16 heads, a byte a second"},
    weight=1.5,
    databases=("sqlite",),  # no such client reaches the database
)
