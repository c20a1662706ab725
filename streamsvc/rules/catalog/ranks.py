"""A title's rank: its popularity and, below it, its row's number; one integer that orders and identifies."""

_SHIFT = 32


def encode_rank(popularity: int, pk: int) -> int:
    """63 bits: unique for each title, greater for a more popular one, later arrivals first among equals."""
    return popularity << _SHIFT | pk


def decode_popularity(rank: int) -> int:
    return rank >> _SHIFT
