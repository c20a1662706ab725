"""A title's rank: its popularity in the high bits and its key in the low ones, so that it orders and identifies.

An episode, a collection, a person or a channel has such a rank too, with its kind in two bits above; the ranks of a
kind are a range. A programme's rank, in an index of its own, orders by its start instead.
"""

from datetime import datetime
from typing import Literal

EntryKind = Literal["person", "collection", "episode", "channel"]
ENTRY_KINDS: tuple[EntryKind, ...] = ("person", "collection", "episode", "channel")
FIRST_RANK = 2**63 - 1
"""Above every rank."""
_SHIFT = 32
_KIND_SHIFT = 60
_MAX_ENTRY_POPULARITY: int = 2 ** (_KIND_SHIFT - _SHIFT) - 1
_CHANNEL_BITS = 26
_MAX_START_S = 2**36 - 1


def encode_rank(popularity: int, pk: int) -> int:
    """Return a 63-bit rank: unique, greater for a more popular title, and for a later one of equal popularity."""
    return popularity << _SHIFT | pk


def decode_popularity(rank: int) -> int:
    """Return the popularity in a rank."""
    return rank >> _SHIFT


def encode_entry_rank(kind: EntryKind, popularity: int, pk: int) -> int:
    """Return the rank of an entry; `popularity`: that of its best-known title, or `channel_popularity`."""
    return ENTRY_KINDS.index(kind) << _KIND_SHIFT | encode_rank(min(popularity, _MAX_ENTRY_POPULARITY), pk)


def entry_ranks(kind: EntryKind) -> tuple[int, int]:
    """Return the range of a kind's ranks: the lowest, and the first one above."""
    lowest = ENTRY_KINDS.index(kind) << _KIND_SHIFT
    return lowest, lowest + (1 << _KIND_SHIFT)


def channel_popularity(position: int) -> int:
    """Return the popularity by which channels are in the order of their lists; `position` as in models/channels."""
    return max(_MAX_ENTRY_POPULARITY - position, 0)


def programme_rank(channel_pk: int, starts_at: datetime) -> int:
    """Return the rank of a programme: unique, greater for an earlier start; to whole seconds, as guides give them."""
    return _MAX_START_S - int(starts_at.timestamp()) << _CHANNEL_BITS | channel_pk


def decode_pk(rank: int) -> int:
    """Return the key in a rank."""
    return rank & (1 << _SHIFT) - 1
