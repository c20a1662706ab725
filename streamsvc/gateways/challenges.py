"""Verifies CAPTCHA challenges with the siteverify call shared by Turnstile, hCaptcha and reCAPTCHA."""

from urllib.parse import urlencode

from streamsvc.gateways.calls import fetch_json
from streamsvc.gateways.peers import CallFailed, CallRejected, Peer

PEER = Peer("challenge", deadline_s=3)
FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def is_challenge_solved(url: str, secret: str, token: str, address: str | None) -> bool:
    """Whether the token stands for a solved challenge; the service accepts each token once. Raises CallFailed."""
    form = {"secret": secret, "response": token} | ({"remoteip": address} if address else {})
    try:
        return fetch_json(PEER, url, urlencode(form).encode(), FORM_HEADERS).get("success") is True
    except CallRejected as error:
        raise CallFailed(f"{url}: {error}") from None
