"""Breached passwords by the million: a Bloom filter in one file, asked offline, made from any list.

It holds the first 128 bits of each password's SHA-1, the form in which the great lists are given away; some 2.4 bytes
a password. One in ten thousand good passwords is taken for a breached one; no breached one is missed.
"""

import gzip
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from flask import current_app

FALSE_POSITIVE_RATE = 1e-4
SHA1_LINE = re.compile(rb"([0-9A-Fa-f]{40})(?::\d+)?")


def is_in_filter(*spellings: str) -> bool:
    """Whether one of these stands in the operator's filter; False where there is none."""
    path = current_app.extensions["settings"].breached_passwords
    return bool(path) and any(_digest(spelling.encode()) in _load_filter(path) for spelling in spellings)


def count_passwords(source: Path) -> int:
    """How many passwords a list has."""
    return sum(1 for _ in _read_lines(source))


def build_filter(
    source: Path, target: Path, expected: int, on_progress: Callable[[int], None] = lambda more: None
) -> None:
    """Make `target` from a list, plain or .gz: a password or its SHA-1 (`hash`, `hash:count`) a line.

    `expected` is the list's count(); `on_progress` is told of each 10,000 lines.
    """
    from rbloom import Bloom

    filled = Bloom(max(1, expected), FALSE_POSITIVE_RATE, hash_func=_bloom_key)
    for done, line in enumerate(_read_lines(source), 1):
        given = SHA1_LINE.fullmatch(line)
        filled.add(bytes.fromhex(given[1].decode()) if given else _digest(line))
        if done % 10_000 == 0:
            on_progress(10_000)
    part = target.with_suffix(".part")
    filled.save(str(part))
    part.replace(target)


def _read_lines(source: Path) -> Iterator[bytes]:
    with (gzip.open if source.suffix == ".gz" else open)(source, "rb") as lines:
        yield from (line.rstrip(b"\r\n") for line in lines)


def _digest(password: bytes) -> bytes:
    return hashlib.sha1(password, usedforsecurity=False).digest()


def _bloom_key(digest: bytes) -> int:
    return int.from_bytes(digest[:16], "big", signed=True)


@cache
def _load_filter(path: str):
    from rbloom import Bloom

    return Bloom.load(path, _bloom_key)
