"""A title's rank: its popularity in the high bits and its key in the low ones, so that it orders and identifies."""

_SHIFT = 32


def encode_rank(popularity: int, pk: int) -> int:
    """Return a 63-bit rank: unique, greater for a more popular title, and for a later one of equal popularity."""
    return popularity << _SHIFT | pk


def decode_popularity(rank: int) -> int:
    """Return the popularity in a rank."""
    return rank >> _SHIFT
