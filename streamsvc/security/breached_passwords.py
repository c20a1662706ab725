"""Breached passwords: a Bloom filter in one file, built from any list and queried offline.

It contains the first 128 bits of each password's SHA-1, the form in which large lists are published, in about 2.4 bytes
per password. False-positive rate 1e-4; no false negatives.
"""

import gzip
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from streamsvc.settings import current_settings

FALSE_POSITIVE_RATE = 1e-4
SHA1_LINE = re.compile(rb"([0-9A-Fa-f]{40})(?::\d+)?")


def is_in_filter(*spellings: str) -> bool:
    """Whether one of these spellings is in the configured filter; False if none is configured."""
    path = current_settings().breached_passwords
    return bool(path) and any(_digest(spelling.encode()) in _load_filter(path) for spelling in spellings)


def count_passwords(source: Path) -> int:
    """Count the passwords in a list."""
    return sum(1 for _ in _read_lines(source))


def build_filter(
    source: Path, target: Path, expected: int, on_progress: Callable[[int], None] = lambda more: None
) -> None:
    """Write the filter `target` from a list, plain or .gz: per line a password or its SHA-1 (`hash` or `hash:count`).

    `expected` is the list's `count_passwords()`; `on_progress` is called with 10,000 after every 10,000 lines.
    """
    from rbloom import Bloom

    bloom = Bloom(max(1, expected), FALSE_POSITIVE_RATE, hash_func=_bloom_key)
    for done, line in enumerate(_read_lines(source), 1):
        sha1 = SHA1_LINE.fullmatch(line)
        bloom.add(bytes.fromhex(sha1[1].decode()) if sha1 else _digest(line))
        if done % 10_000 == 0:
            on_progress(10_000)
    partial = target.with_suffix(".part")
    bloom.save(str(partial))
    partial.replace(target)


def _read_lines(source: Path) -> Iterator[bytes]:
    with (gzip.open if source.suffix == ".gz" else open)(source, "rb") as lines:
        yield from (line.rstrip(b"\r\n") for line in lines)


def _digest(password: bytes) -> bytes:
    return hashlib.sha1(password, usedforsecurity=False).digest()


def _bloom_key(digest: bytes) -> int:
    return int.from_bytes(digest[:16], "big", signed=True)


@cache
def _load_filter(path: str) -> Any:
    from rbloom import Bloom

    return Bloom.load(path, _bloom_key)
