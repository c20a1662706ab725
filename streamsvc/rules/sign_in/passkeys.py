"""Passkeys: relying party, origin and sign count (WebAuthn level 2, 5.4.2 and 13.4.9)."""

from urllib.parse import urlsplit

MAX_PASSKEYS = 20
"""Per account."""
DEFAULT_PORTS = {"http": 80, "https": 443}


def relying_party_and_origin(public_url: str) -> tuple[str, str]:
    """(relying party id, origin) of the service's public URL, in the form that browsers use."""
    parts = urlsplit(public_url)
    host, scheme = parts.hostname or "", parts.scheme.lower()
    is_default = parts.port in (None, DEFAULT_PORTS.get(scheme))
    return host, f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{parts.port}"


def is_sign_count_valid(before: int, after: int) -> bool:
    """Whether the sign count increased. Authenticators without a counter always report 0."""
    return after > before or before == after == 0
