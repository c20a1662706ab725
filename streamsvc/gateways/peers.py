"""What every call to another service passes through, so that a service that hangs does not hold this one.

- **Deadline**: a call has one for all of it, from the name's lookup to the last byte. The calls of one request share
  `STREAMSVC_CALL_BUDGET_S` between them.
- **Share**: web threads that wait for one service, and for all together, are limited (`rules/thread_shares.py`).
- **Circuit**: after several failures in a row, an endpoint is not called for a while, then tried with one call. Its
  state is this process's.

A call that is not made fails at once. Each call is counted by its outcome; failures are logged once per second.
"""

import logging
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from blinker import Signal
from flask import g, has_request_context

from streamsvc.gateways import event_loop
from streamsvc.rules.circuit_breaker import CircuitBreaker
from streamsvc.rules.thread_shares import share_threads
from streamsvc.settings import current_settings
from streamsvc.tracing import open_span

MAX_CIRCUITS = 1_000
BUSY_RETRY_AFTER_S = 1.0
OK, FAILED, TIMED_OUT, CIRCUIT_OPEN, TOO_MANY = "ok", "failed", "timed_out", "circuit_open", "too_many"
log = logging.getLogger("streamsvc.calls")
call_finished = Signal()
"""Sent after every call, made or not, with the peer's name and `outcome`."""
Result = TypeVar("Result")


class CallRejected(Exception):
    """The service rejected the call; the message says why, for the log."""


class CallFailed(Exception):
    """The service did not respond, or not as expected."""


class CallTimedOut(CallFailed):
    """The service did not respond completely before the deadline; it may have acted all the same."""


class CallNotMade(CallFailed):
    """Nothing was sent: the circuit is open, too many calls are in progress, or the request's time is used up."""

    def __init__(self, why: str, retry_after_s: float) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Peer:
    """A service that is called. `name` is its label in metrics and the log.

    `worker_limit`: how many calls to one endpoint the worker makes at a time, so that some threads of a lane stay free.
    `is_traced`: whether the `traceparent` of the request that makes a call is passed on.
    """

    name: str
    deadline_s: float
    max_failures: int = 5
    open_s: float = 10.0
    worker_limit: int | None = None
    is_traced: bool = False


def make_call(
    peer: Peer,
    endpoint: str,
    work: Callable[[], Awaitable[Result]],
    is_failure: Callable[[Result], bool] = lambda _: False,
) -> Result:
    """Run a coroutine function that calls the peer, and return its result, which may be a failure nevertheless.

    `endpoint` names what fails by itself, such as a host. Raises CallFailed, at the latest at the deadline.
    """
    try:
        with open_span(f"call {peer.name}"), _held_share(peer, endpoint):
            return _call_within_budget(peer, endpoint, work, is_failure)
    except CallNotMade as error:
        _report_outcome(peer, endpoint, CIRCUIT_OPEN if error.args[0] == CIRCUIT_OPEN else TOO_MANY, error.args[0])
        raise


def _call_within_budget(
    peer: Peer, endpoint: str, work: Callable[[], Awaitable[Result]], is_failure: Callable[[Result], bool]
) -> Result:
    deadline_s, circuit = _deadline_s(peer), _find_circuit(peer, endpoint)
    started = time.monotonic()
    if not circuit.allows_call(started):
        raise CallNotMade(CIRCUIT_OPEN, max(1.0, circuit.retry_at - started))
    outcome, why = FAILED, ""
    try:
        result = event_loop.run_until_deadline(work, deadline_s)
        outcome, why = (FAILED, "error response") if is_failure(result) else (OK, "")
        return result
    except TimeoutError:
        outcome, why = TIMED_OUT, f"no complete response within {deadline_s:.3g} s"
        raise CallTimedOut(f"{endpoint}: {why}") from None
    except CallRejected:
        outcome = OK
        raise
    except OSError as error:
        why = f"{type(error).__name__}: {error}"[:300]
        raise CallFailed(f"{endpoint}: {why}") from None
    finally:
        now = time.monotonic()
        if outcome == OK:
            circuit.record_success()
        elif outcome == FAILED or deadline_s >= peer.deadline_s / 2:  # else the time was used up by other calls
            circuit.record_failure(started, now)
        if has_request_context():
            g.call_budget_s = _budget_s() - (now - started)
        _report_outcome(peer, endpoint, outcome, why)


def _deadline_s(peer: Peer) -> float:
    if not has_request_context():
        return peer.deadline_s
    if (budget_s := _budget_s()) <= 0:
        raise CallNotMade("the request has waited too long for other services", BUSY_RETRY_AFTER_S)
    return min(peer.deadline_s, budget_s)


def _budget_s() -> float:
    return g.get("call_budget_s", current_settings().call_budget_s)


def lift_call_budget() -> None:
    """Let the current request wait for other services as long as their own deadlines allow."""
    g.call_budget_s = math.inf


_lock = threading.Lock()
_in_progress: Counter[str] = Counter()
_circuits: OrderedDict[tuple[str, str], CircuitBreaker] = OrderedDict()
_logged_at: dict[str, float] = {}


@contextmanager
def _held_share(peer: Peer, endpoint: str) -> Iterator[None]:
    """Count the call as in progress during the block. Raises CallNotMade if there are too many."""
    limits = _limits(peer, endpoint)
    with _lock:
        if any(_in_progress[name] >= limit for name, limit in limits.items()):
            raise CallNotMade("too many calls in progress", BUSY_RETRY_AFTER_S)
        _in_progress.update(limits.keys())
    try:
        yield
    finally:
        with _lock:
            _in_progress.subtract(limits.keys())


def _limits(peer: Peer, endpoint: str) -> dict[str, int]:
    """Return how many calls may be in progress, by the names under which this one is counted."""
    if has_request_context():
        shares = share_threads(current_settings().threads, 1)
        return {"web": shares.calls, f"web {peer.name}": shares.calls_per_peer}
    return {f"worker {peer.name} {endpoint}": peer.worker_limit} if peer.worker_limit else {}


def _find_circuit(peer: Peer, endpoint: str) -> CircuitBreaker:
    with _lock:
        key = peer.name, endpoint
        circuit = _circuits.pop(key, None) or CircuitBreaker(peer.max_failures, peer.open_s, peer.deadline_s)
        _circuits[key] = circuit
        if len(_circuits) > MAX_CIRCUITS:
            _circuits.popitem(last=False)
        return circuit


def close_circuits() -> None:
    """Forget all failures."""
    with _lock:
        _circuits.clear()


def _report_outcome(peer: Peer, endpoint: str, outcome: str, why: str) -> None:
    call_finished.send(peer.name, outcome=outcome)
    if outcome != OK:
        log_failure(peer.name, f"{outcome}: {endpoint}: {why}")


def log_failure(peer_name: str, why: str) -> None:
    """Log that a call failed, at most once per second for each peer."""
    now = time.monotonic()
    with _lock:
        if now - _logged_at.get(peer_name, float("-inf")) < 1:
            return
        _logged_at[peer_name] = now
    log.warning("call to %s: %s", peer_name, why)
