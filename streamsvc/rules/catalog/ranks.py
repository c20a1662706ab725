"""A title's rank: its popularity in the high bits and its key in the low ones, so that it orders and identifies.

An episode, a collection or a person has such a rank too, with its kind in two bits above; the ranks of a kind are a
range.
"""

from typing import Literal

EntryKind = Literal["person", "collection", "episode"]
ENTRY_KINDS: tuple[EntryKind, ...] = ("person", "collection", "episode")
FIRST_RANK = 2**63 - 1
"""Above every rank."""
_SHIFT = 32
_KIND_SHIFT = 60
_MAX_ENTRY_POPULARITY = 2 ** (_KIND_SHIFT - _SHIFT) - 1


def encode_rank(popularity: int, pk: int) -> int:
    """Return a 63-bit rank: unique, greater for a more popular title, and for a later one of equal popularity."""
    return popularity << _SHIFT | pk


def decode_popularity(rank: int) -> int:
    """Return the popularity in a rank."""
    return rank >> _SHIFT


def encode_entry_rank(kind: EntryKind, popularity: int, pk: int) -> int:
    """Return the rank of an episode, a collection or a person; `popularity` is that of its best-known title."""
    return ENTRY_KINDS.index(kind) << _KIND_SHIFT | encode_rank(min(popularity, _MAX_ENTRY_POPULARITY), pk)


def entry_ranks(kind: EntryKind) -> tuple[int, int]:
    """Return the range of a kind's ranks: the lowest, and the first one above."""
    lowest = ENTRY_KINDS.index(kind) << _KIND_SHIFT
    return lowest, lowest + (1 << _KIND_SHIFT)


def decode_pk(rank: int) -> int:
    """Return the key in a rank."""
    return rank & (1 << _SHIFT) - 1
