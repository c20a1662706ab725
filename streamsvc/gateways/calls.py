"""JSON, or text, over HTTP from a service that the operator named: no redirect is followed, no endless answer read."""

import http.client
import json
import urllib.error
import urllib.request

MAX_RESPONSE_BYTES = 512 * 1024


class CallRejected(Exception):
    """The service answered no; the message says why, for the log."""


class CallFailed(Exception):
    """The service did not answer, or not as one does."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def fetch_json(url: str, timeout_s: float, body: bytes | None = None, headers: dict | None = None) -> dict:
    """The object that a GET, or with a body a POST, answers. Raises Away; Refused where a POST hears 4xx."""
    request = urllib.request.Request(url, body, {"Accept": "application/json", **(headers or {})})
    found = _fetch(request, timeout_s, json.loads)
    if not isinstance(found, dict):
        raise CallFailed(f"{url}: not an object")
    return found


def fetch_text(url: str, timeout_s: float, headers: dict) -> str:
    """What a GET answers, in ASCII. Raises Away."""
    return _fetch(urllib.request.Request(url, headers=headers), timeout_s, lambda raw: raw.decode("ascii"))


def _fetch(request: urllib.request.Request, timeout_s: float, parse):
    url = request.full_url
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            return parse(answer.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            if error.code < 500 and request.data is not None:
                raise CallRejected(str(error.code)) from None
        raise CallFailed(f"{url}: {error.code}") from None
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise CallFailed(f"{url}: {type(error).__name__}") from None
