"""Malformed HTTP over TCP, for bench.malformed: the known cases, and random changes of them."""

import random
import re
from collections import Counter

from tests.worlds.wire import REQUESTS, exchange, find_wrong_responses

STATUS = re.compile(rb"HTTP/1[.][01] (\d{3}) ")
EXPECTED_5XX = (501,)
PIECES = (b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"-1", b"\xff", b"chunked", b"\r\n\r\n")


def change_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Insert, overwrite, drop or repeat a few bytes at random places."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(min(len(raw), 300) + 1)
        length = rng.choice((0, 0, 1, 2, 10))
        raw = raw[:at] + rng.choice((*PIECES, b"", raw[:at][-20:])) + raw[at + length :]
    return raw


def fuzz_wire(port: int, count: int, rng: random.Random) -> tuple[Counter, dict[str, bytes]]:
    """Send the known requests, and `count` changed ones; returns (responses by status, {what was sent: response})."""
    errors: dict[str, bytes] = dict(find_wrong_responses(port))
    statuses: Counter = Counter()
    valid = [raw for raw, _ in REQUESTS.values() if len(raw) < 5_000]
    for _ in range(count):
        raw = change_bytes(rng.choice(valid), rng)
        try:
            response = exchange(port, raw)
        except OSError as error:
            response = repr(error).encode()
        found = [int(status) for status in STATUS.findall(response)]
        statuses.update(found)
        if (not found and response) or any(status >= 500 and status not in EXPECTED_5XX for status in found):
            errors[repr(raw[:300])] = response[:300]
    return statuses, errors
