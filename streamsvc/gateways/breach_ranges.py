"""Whether a service that knows breached passwords knows one: asked by the first five letters of its SHA-1 alone.

What goes out fits hundreds of passwords, and the answer is padded, so that neither it nor its length tells which.
"""

import hashlib

from streamsvc.gateways.calls import fetch_text

TIMEOUT_S = 0.3
REQUEST_HEADERS = {"Add-Padding": "true", "User-Agent": "streamsvc"}


def is_password_listed(url: str, password: str) -> bool:
    """`url` ends where the five letters follow, as `https://api.pwnedpasswords.com/range/`. Raises Away."""
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    lines = fetch_text(url + digest[:5], TIMEOUT_S, REQUEST_HEADERS).splitlines()
    counts = {rest: count for rest, _, count in (line.strip().partition(":") for line in lines)}
    return counts.get(digest[5:], "0") != "0"  # what pads is counted 0
