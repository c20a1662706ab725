"""Whether a visitor solved a challenge: the siteverify call that Turnstile, hCaptcha and reCAPTCHA share."""

from urllib.parse import urlencode

from streamsvc.gateways.calls import Away, Refused, read_json

TIMEOUT_S = 3
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def is_solved(url: str, secret: str, token: str, address: str | None) -> bool:
    """Whether the service says that this token stands for a solved challenge; it takes each once. Raises Away."""
    asked = {"secret": secret, "response": token} | ({"remoteip": address} if address else {})
    try:
        return read_json(url, TIMEOUT_S, urlencode(asked).encode(), FORM).get("success") is True
    except Refused as error:
        raise Away(f"{url}: {error}") from None
