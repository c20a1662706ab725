"""The keys of WSGI environments, whichever server makes them."""

from functools import lru_cache


@lru_cache(maxsize=1024)
def environ_key(name: str) -> str:
    """Return the key of a header in the WSGI environment."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
