"""Phase `stopped`: a web process is stopped, or all are killed, while a charge is under way, and the client retries."""

import threading
import time

import psutil

from bench.torture.clients import request
from bench.torture.core import Check, Context, Deadline, Phase
from bench.torture.phases.kills import kill_everything, measure_recovery
from bench.torture.world import World, torture_world
from streamsvc.storage.database import new_id

MAX_RETRY_S = 5.0
"""How long a retry under the same key may take to be decided, after a crash of every process."""
MAX_TAKEOVER_S = 8.0
"""The lease of four seconds, and some for the work and a busy machine."""
REQUEST_TIMEOUT_S = 60


def run(context: Context) -> list[Check]:
    with torture_world(context) as world:
        deadline, rounds, takeovers, retries, wrong = Deadline(context.seconds), 0, [], [], []
        while rounds == 0 or not deadline.has_passed():
            rounds += 1
            context.show(f"round {rounds}")
            elapsed_s, difference = stop_process_during_charge(world, rounds)
            takeovers.append(elapsed_s)
            wrong += difference
            if not context.plant:
                elapsed_s, difference = kill_all_during_charge(world, rounds)
                retries.append(elapsed_s)
                wrong += difference
        figure = f"{len(wrong)} differences in {rounds} rounds" + "".join(f"; {text}" for text in wrong[:2])
        slowest, after_crash = max(takeovers), max(retries, default=0.0)
        return [
            Check("one charge, one subscription, one response", not wrong, figure),
            Check("a retry takes over", slowest < MAX_TAKEOVER_S, f"within {slowest:.1f} s of a stopped process"),
            Check("a retry is decided in time", after_crash < MAX_RETRY_S, f"within {after_crash:.1f} s of a crash"),
        ]


def stop_process_during_charge(world: World, number: int) -> tuple[float, list[str]]:
    """Stop the web process that waits for the charge, retry, let it go on, and compare what both clients got."""
    token, _, _ = new_payer(world, f"stopped{number}")
    stopped: list[psutil.Process] = []

    def stop_waiting() -> None:
        stopped.extend(suspend(find_waiting_process(world)))
        if not stopped:  # the worker's charge, for a process that was killed in an earlier round
            world.stripe.before_reply = stop_waiting

    world.stripe.before_reply = stop_waiting
    key, first = new_id("key"), []
    order = ("POST", "/v1/subscriptions", {"price_id": world.price_id}, token, key)
    port = world.service.port
    thread = threading.Thread(target=lambda: first.append(request(port, *order, timeout_s=REQUEST_TIMEOUT_S)))
    thread.start()
    wait_for(lambda: stopped or not thread.is_alive())
    started = time.monotonic()
    second = retry(world, order)
    elapsed_s = time.monotonic() - started
    for process in stopped:
        process.resume()
    thread.join()
    differences = compare(world, token, first[0], second)
    return elapsed_s, differences if stopped else ["no process was stopped"]


def kill_all_during_charge(world: World, number: int) -> tuple[float, list[str]]:
    """Kill every process while one waits for the charge; returns how long the retry took once the service was ready."""
    token, _, _ = new_payer(world, f"killed{number}")
    charged, may_reply = threading.Event(), threading.Event()

    def hold_reply() -> None:
        charged.set()
        may_reply.wait(REQUEST_TIMEOUT_S)

    world.stripe.before_reply = hold_reply
    key = new_id("key")
    order = ("POST", "/v1/subscriptions", {"price_id": world.price_id}, token, key)
    thread = threading.Thread(target=request, args=(world.service.port, *order))
    thread.start()
    charged.wait(REQUEST_TIMEOUT_S)
    kill_everything(world)
    may_reply.set()
    thread.join()
    measure_recovery(world)
    started = time.monotonic()
    response = retry(world, order)
    return time.monotonic() - started, compare(world, token, response, response)


def new_payer(world: World, name: str) -> tuple[str, str, str]:
    """Somebody with a card."""
    person = world.sign_up(name)
    world.demand("POST", "/v1/payment-methods", {"token": "pm_card_visa"}, person[0])
    return person


def retry(world: World, order: tuple) -> tuple[int, dict]:
    """Repeat a request until it is decided."""
    deadline = Deadline(REQUEST_TIMEOUT_S)
    while True:
        status, document = request(world.service.port, *order, timeout_s=3)
        if (status and status < 500 and document.get("code") != "idempotency_key_in_use") or deadline.has_passed():
            return status, document
        time.sleep(0.1)


def compare(world: World, token: str, first: tuple[int, dict], second: tuple[int, dict]) -> list[str]:
    """What is not as it should be: the two responses, the subscriptions and the charges of one account."""
    differences = []
    if first != second or first[0] != 201:
        differences.append(f"responses {first[0]} {first[1].get('code')} and {second[0]} {second[1].get('code')}")
    subscriptions = world.service.get("/v1/subscriptions", token)[1]["items"]
    invoices = {invoice["id"] for invoice in world.service.get("/v1/invoices", token)[1]["items"]}
    charges = [i for i in world.stripe.intents.values() if i["metadata"].get("invoice_id") in invoices]
    paid = [intent for intent in charges if intent["status"] == "succeeded"]
    if (len(subscriptions), len(invoices), len(paid)) != (1, 1, 1):
        differences.append(f"{len(subscriptions)} subscriptions, {len(invoices)} invoices, {len(paid)} charges")
    return differences


def find_waiting_process(world: World) -> list[psutil.Process]:
    """The web processes with a connection to the payment provider that has not been answered."""
    port = int(world.service.env["STREAMSVC_STRIPE_URL"].rpartition(":")[2])
    web = world.processes()["web"]
    return [p for p in web if any(c.raddr and c.raddr.port == port for c in p.net_connections("tcp"))][:1]


def suspend(processes: list[psutil.Process]) -> list[psutil.Process]:
    for process in processes:
        process.suspend()
    return processes


def wait_for(condition) -> None:
    deadline = Deadline(REQUEST_TIMEOUT_S)
    while not condition() and not deadline.has_passed():
        time.sleep(0.02)


PHASE = Phase(
    "stopped",
    "a web process is stopped, or all are killed, while a charge is under way",
    run,
    {"long_lease": "a retry takes over"},
    weight=0.7,
    plant_s=1,
)
