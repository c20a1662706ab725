"""Whether a visitor solved a challenge: the siteverify call that Turnstile, hCaptcha and reCAPTCHA share."""

from urllib.parse import urlencode

from streamsvc.gateways.calls import CallFailed, CallRejected, fetch_json

TIMEOUT_S = 3
FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def is_challenge_solved(url: str, secret: str, token: str, address: str | None) -> bool:
    """Whether the service says that this token stands for a solved challenge; it takes each once. Raises Away."""
    asked = {"secret": secret, "response": token} | ({"remoteip": address} if address else {})
    try:
        return fetch_json(url, TIMEOUT_S, urlencode(asked).encode(), FORM_HEADERS).get("success") is True
    except CallRejected as error:
        raise CallFailed(f"{url}: {error}") from None
