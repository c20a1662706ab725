"""How many threads of a web process each kind of waiting may occupy, so that no slow thing takes all of them.

| of 8 threads | at most |
|---|---|
| hash passwords of unrecognized devices, or wait for it | 4 |
| hash passwords of known devices, or wait for it | 3 |
| wait for one other service | 2 |
| wait for other services, all together | 3 |

From four threads on, a storm of sign-ins from unrecognized devices and services that hang leave a thread free between
them. A wait for hashing ends after a second, a wait for another service at its deadline. `/livez` has a thread of its
own, and the database's pool has a connection for every thread.
"""

from typing import NamedTuple


class ThreadShares(NamedTuple):
    """The limits of one web process."""

    unknown_device_hashes: int
    known_device_hashes: int
    calls: int
    calls_per_peer: int


def share_threads(threads: int, hashing_slots: int) -> ThreadShares:
    """Divide the threads. `hashing_slots`: how many passwords are hashed at the same time; more wait for them."""
    calls = max(1, threads * 3 // 8)
    unknown_device_hashes = min(hashing_slots + max(1, threads * 3 // 8), threads - calls - 1)
    known_device_hashes = min(hashing_slots + max(1, threads // 4), threads - 1)
    return ThreadShares(
        max(1, unknown_device_hashes), max(1, known_device_hashes), calls, max(1, min(calls, threads // 4))
    )
