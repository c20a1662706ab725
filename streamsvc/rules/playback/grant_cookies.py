"""The domain of the cookies that the service sets for media servers, and what browsers need to send them."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit


def is_in_domain(host: str, domain: str) -> bool:
    """Whether a host is a domain or below it."""
    return host == domain or host.endswith(f".{domain}")


def same_site_policy(domain: str, origins: Iterable[str]) -> Literal["Lax", "None"]:
    """Return the SameSite of the cookies: None only if pages outside the domain may call the service."""
    return "Lax" if all(is_in_domain(urlsplit(origin).hostname or "", domain) for origin in origins) else "None"
