"""HTTP calls to services chosen by the operator: JSON or text, no redirects, bounded response size."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

MAX_RESPONSE_BYTES = 512 * 1024


class CallRejected(Exception):
    """The service rejected the call; the message says why, for the log."""


class CallFailed(Exception):
    """The service did not respond, or not as expected."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirects)
"""Opens URLs without following redirects."""


def fetch_json(url: str, timeout_s: float, body: bytes | None = None, headers: dict | None = None) -> dict:
    """Fetch the JSON object that a GET, or with a body a POST, returns.

    Raises CallFailed; CallRejected for a POST that gets 4xx.
    """
    request = urllib.request.Request(url, body, {"Accept": "application/json", **(headers or {})})
    document = _fetch(request, timeout_s, json.loads)
    if not isinstance(document, dict):
        raise CallFailed(f"{url}: not an object")
    return document


def fetch_text(url: str, timeout_s: float, headers: dict) -> str:
    """Fetch the ASCII text that a GET returns. Raises CallFailed."""
    return _fetch(urllib.request.Request(url, headers=headers), timeout_s, lambda raw: raw.decode("ascii"))


def _fetch(request: urllib.request.Request, timeout_s: float, parse: Callable[[bytes], Any]) -> Any:
    url = request.full_url
    try:
        with OPENER.open(request, timeout=timeout_s) as response:
            return parse(response.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            if error.code < 500 and request.data is not None:
                raise CallRejected(str(error.code)) from None
        raise CallFailed(f"{url}: {error.code}") from None
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise CallFailed(f"{url}: {type(error).__name__}") from None
