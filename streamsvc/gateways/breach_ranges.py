"""Looks up breached passwords with a k-anonymity range API: only the first five letters of the SHA-1 are sent.

Those fit hundreds of passwords, and the response is padded, so that neither it nor its length reveals the password.
"""

import hashlib

from streamsvc.gateways.calls import fetch_text
from streamsvc.gateways.peers import Peer

PEER = Peer("breach_ranges", deadline_s=0.3)
REQUEST_HEADERS = {"Add-Padding": "true", "User-Agent": "streamsvc"}


def is_password_listed(url: str, password: str) -> bool:
    """Whether the API lists the password. Raises CallFailed.

    `url` ends where the five letters follow, as in `https://api.pwnedpasswords.com/range/`.
    """
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    lines = fetch_text(PEER, url + digest[:5], REQUEST_HEADERS).splitlines()
    counts = {rest: count for rest, _, count in (line.strip().partition(":") for line in lines)}
    return counts.get(digest[5:], "0") != "0"  # padding has count 0
