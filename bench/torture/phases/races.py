"""Phase `races`: the same request from eight clients at once, too many streams at once, eight writers at once."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench.torture.clients import request
from bench.torture.core import Check, Context, Deadline, Phase, percentile
from bench.torture.probes import Probes, describe
from bench.torture.world import MAX_STREAMS, World, torture_world
from streamsvc.storage.database import new_id

CLIENTS, REFUND_MINOR, REFUNDS_PER_INVOICE = 8, 10, 40
MAX_WRITE_P99_S, MAX_RATIO = 0.25, 4.0
"""How long a write may take; on a busy machine, compared with a read."""
MIN_WRITERS_S = 8.0
"""So long that the percentile is of a thousand writes."""
LOST_REPLIES = 0.3
"""The share of charges and refunds whose response the payment provider loses."""


def run(context: Context) -> list[Check]:
    with torture_world(context) as world:
        parts = [PARTS[context.plant]] if context.plant else list(PARTS.values())
        checks = [check for part in parts for check in part(world, context)]
        return checks if context.plant else [*checks, world.log_check()]


def check_same_key(world: World, context: Context) -> list[Check]:
    """Send refunds, each eight times at once under one key, to a provider that loses responses."""
    deadline, keys, wrong, other_body, errors = Deadline(context.seconds / 3), 0, [], [], 0
    body = {"amount_minor": REFUND_MINOR}
    with ThreadPoolExecutor(CLIENTS) as pool:
        invoice_id = ""
        while not deadline.has_passed() or keys < 3:
            if keys % REFUNDS_PER_INVOICE == 0:
                invoice_id = world.subscribe(world.sign_up(f"payer{keys}")[0])
            keys += 1
            key, path = new_id("key"), f"/v1/admin/invoices/{invoice_id}/refunds"
            world.stripe.lose_replies = int(context.rng.random() < LOST_REPLIES)
            sending = [pool.submit(send_until_decided, world, path, body, key) for _ in range(CLIENTS)]
            responses = [future.result() for future in sending]
            bodies = {json.dumps([status, document], sort_keys=True) for status, document, _ in responses}
            errors += sum(errors_seen for *_, errors_seen in responses)
            if len(bodies) != 1 or responses[0][0] != 201:
                wrong.append(sorted(bodies)[-1][:150])
            status, _ = request(world.service.port, "POST", path, {"amount_minor": REFUND_MINOR + 1}, world.key, key)
            other_body += [status] if status != 422 else []
            context.show(f"{keys} refunds, {CLIENTS} times each")
    at_provider = len(world.stripe.refunds)
    return [
        Check("one response per key", not wrong, f"{keys} keys, {len(wrong)} with several" + "".join(wrong[:1])),
        Check("one refund per key", at_provider == keys, f"{at_provider} refunds at the provider for {keys} keys"),
        Check("another body gets 422", not other_body, f"{len(other_body)} of {keys} did not"),
        Check("no 5xx", errors == 0, f"{errors}"),
    ]


def send_until_decided(world: World, path: str, body: dict, key: str) -> tuple[int, dict, int]:
    """(status, document, how many 5xx came before) of the first response that is not 409 because another one runs."""
    errors, deadline = 0, Deadline(60)
    while True:
        status, document = request(world.service.port, "POST", path, body, world.key, key)
        errors += status >= 500
        if (status not in (0, 409) and status < 500) or deadline.has_passed():
            return status, document, errors
        time.sleep(0.05)


def check_slots(world: World, context: Context) -> list[Check]:
    """All streams of an account start at once, in rounds: never more than its plan allows."""
    token, _, _ = world.sign_up("viewer")
    world.subscribe(token)
    deadline, rounds, over, errors = Deadline(context.seconds / 3), 0, 0, 0
    barrier = threading.Barrier(len(world.film_ids))

    def start(film_id: str) -> int:
        barrier.wait()
        return request(world.service.port, "POST", "/v1/playback", {"item_id": film_id}, token)[0]

    with ThreadPoolExecutor(len(world.film_ids)) as pool:
        while not deadline.has_passed():
            rounds += 1
            statuses = list(pool.map(start, world.film_ids))
            over += statuses.count(201) > MAX_STREAMS
            errors += sum(status not in (201, 409) for status in statuses)
            live = request(world.service.port, "GET", "/v1/playback", None, token)[1].get("items", [])
            for stream in live:
                request(world.service.port, "DELETE", f"/v1/playback/{stream['stream_id']}", None, token)
    attempts = rounds * len(world.film_ids)
    figure = f"{over} of {rounds} rounds over the limit, {attempts} attempts, {errors} errors"
    return [Check("slots within the limit", over == 0 and errors == 0 and rounds > 1, figure)]


def check_writers(world: World, context: Context) -> list[Check]:
    """Eight clients that write and eight that read: nobody waits long, and no lock makes a request fail."""
    requests, written = [], set()
    for number in range(CLIENTS):
        token, _, profile_id = world.sign_up(f"writer{number}")
        written.add(f"/v1/profiles/{profile_id}")
        requests.append(("PATCH", f"/v1/profiles/{profile_id}", {"name": "Ann"}, token))
        requests.append(("GET", "/v1/profiles", None, token))
    with Probes(world.service.port, *requests, pause_s=0).running() as probes:
        time.sleep(max(MIN_WRITERS_S, context.seconds / 3))
    failed = [r for r in probes.responses if r.status != 200]
    writes = [r.elapsed_s for r in probes.responses if r.path in written]
    reads = [r.elapsed_s for r in probes.responses if r.path not in written]
    p99_s, reads_p99_s = percentile(writes, 0.99), percentile(reads, 0.99)
    return [
        Check("no request fails because of a lock", not failed, describe(probes.responses)),
        Check(
            "p99 of writes",
            p99_s < max(MAX_WRITE_P99_S, MAX_RATIO * reads_p99_s),
            f"{p99_s * 1e3:.0f} ms; of reads {reads_p99_s * 1e3:.0f} ms",
        ),
    ]


PARTS = {"ignored_key": check_same_key, "one_slot_more": check_slots, "deferred_begin": check_writers}
"""Planted fault -> the part of the phase that finds it."""
PHASE = Phase(
    "races",
    "the same request, streams and writes, from eight clients at once",
    run,
    {
        "ignored_key": "one refund per key",
        "one_slot_more": "slots within the limit",
        "deferred_begin": "no request fails because of a lock",
    },
    weight=1.5,
    plant_databases={"deferred_begin": "sqlite"},
)
