"""An event loop in a thread of its own, which runs calls to other services for threads that wait for their results.

Only an event loop can end a call at its deadline wherever it is: while a name is looked up, during a handshake, between
two bytes of a response. The loop starts with the first call of a process.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

GRACE_S = 1.0
"""How long after the deadline to leave a loop that is late itself."""
MAX_LOOKUPS = 32
"""Name lookups at a time. One that hangs cannot be ended; only its caller goes on at the deadline."""
Result = TypeVar("Result")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""{process id: its loop}; a forked process has no thread that would run its parent's."""


def run_until_deadline(work: Callable[[], Awaitable[Result]], deadline_s: float) -> Result:
    """Run a coroutine function and return its result. Raises TimeoutError at the deadline, and cancels it."""
    future = asyncio.run_coroutine_threadsafe(_limit_time(work, deadline_s), _current_loop())
    try:
        return future.result(deadline_s + GRACE_S)
    finally:
        future.cancel()


async def _limit_time(work: Callable[[], Awaitable[Result]], deadline_s: float) -> Result:
    async with asyncio.timeout(deadline_s):
        return await work()


def _current_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(MAX_LOOKUPS, "lookup"))
            threading.Thread(target=loop.run_forever, name="calls to other services", daemon=True).start()
            _loops[os.getpid()] = loop
        return loop
