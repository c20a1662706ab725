"""Which failed requests are sent again, and after which wait."""

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
BUSY = {429, 500, 502, 503, 504}
REPEATABLE_METHODS = {"GET", "PUT", "DELETE"}


@dataclass(frozen=True)
class RetryPolicy:
    """`max_retries` after the first attempt; a response that asks for a longer wait than `max_wait_s` is final."""

    max_retries: int = 3
    max_wait_s: float = 60.0

    def wait_s(
        self, attempt: int, request: httpx.Request, outcome: httpx.Response | httpx.TransportError
    ) -> float | None:
        """Return how long to wait before the attempt after this one (from 0), or None if it was the last."""
        if attempt >= self.max_retries or not _may_repeat(request, outcome):
            return None
        wait_s = random.uniform(0.5, 1) * min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S)
        if isinstance(outcome, httpx.Response):
            wait_s = max(wait_s, retry_after_s(outcome) or 0)
        return wait_s if wait_s <= self.max_wait_s else None


def _may_repeat(request: httpx.Request, outcome: httpx.Response | httpx.TransportError) -> bool:
    """Whether the request acts once even if it is sent again, and might succeed."""
    if isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return True  # it was never sent
    is_repeatable = request.method in REPEATABLE_METHODS or "Idempotency-Key" in request.headers
    if isinstance(outcome, httpx.TransportError):
        return is_repeatable
    if outcome.status_code == 409:
        return b'"idempotency_key_in_use"' in outcome.content
    return outcome.status_code == 429 or (is_repeatable and outcome.status_code in BUSY)


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the wait that Retry-After asks for, in seconds or until a date."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
