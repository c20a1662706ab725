"""How long each of several failed attempts in a row has to be waited for."""

import pytest

from streamsvc.rules.rate_limits import Backoff

BACKOFF = Backoff("test", free_attempts=2, waits_s=(10, 20), max_attempts=6, lockout_s=1000)


@pytest.mark.parametrize(
    ("count", "wait_s"), [(0, 0), (1, 0), (2, 10), (3, 20), (4, 20), (5, 20), (6, 1000), (7, 1000)]
)
def test_attempts_are_free_then_wait_longer_and_then_for_the_lockout(count, wait_s):
    assert BACKOFF.wait_s(count) == wait_s
    assert BACKOFF.is_exhausted_at(count) == (wait_s > 0)
