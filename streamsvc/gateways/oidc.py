"""OpenID Connect providers over HTTP: discovery, keys, and the exchange of a code for the user's claims.

A provider's documents are cached for an hour; an unknown key causes a refresh. Redirects are not followed.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from streamsvc import clock
from streamsvc.gateways.calls import fetch_json
from streamsvc.gateways.peers import CallFailed, CallRejected, Peer
from streamsvc.rules.sign_in.oidc import ALGORITHMS, code_challenge, find_invalid_claim

PEER = Peer("oidc", deadline_s=5)
CACHE_PERIOD = timedelta(hours=1)
_document_cache: dict[str, tuple[datetime, dict]] = {}


@dataclass(frozen=True)
class OidcProvider:
    """A provider from STREAMSVC_OIDC_PROVIDERS."""

    name: str
    issuer: str
    client_id: str
    client_secret: str = ""
    scope: str = "openid email"
    response_mode: str = ""
    """`form_post`: the provider has the browser post its response to us, not redirect to the front end's page."""

    def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return the URL at which the browser starts the sign-in. Raises CallFailed."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        if self.response_mode:
            parameters["response_mode"] = self.response_mode
        endpoint = self._metadata()["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    def fetch_claims(self, code: str, issuer: str | None, redirect_uri: str, verifier: str, nonce: str) -> dict:
        """Exchange the code and return the verified claims of the ID token. Raises CallRejected, CallFailed."""
        metadata = self._metadata()
        sends_issuer = metadata.get("authorization_response_iss_parameter_supported") is True
        if issuer != self.issuer and (issuer is not None or sends_issuer):  # RFC 9207: which provider sent the browser
            raise CallRejected("iss of the response")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        response = self._exchange_code(metadata, form | {"code_verifier": verifier})
        claims = self._verify_id_token(metadata, response.get("id_token"))
        if invalid_claim := find_invalid_claim(claims, self.issuer, self.client_id, nonce, clock.wall_time()):
            raise CallRejected(f"{invalid_claim} of the ID token")
        return claims

    def _metadata(self) -> dict:
        metadata = fetch_cached_document(PEER, f"{self.issuer}/.well-known/openid-configuration")
        if metadata.get("issuer") != self.issuer or not all(
            isinstance(metadata.get(name), str) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        ):
            raise CallFailed(f"{self.issuer}: its metadata has another issuer, or lacks an endpoint")
        return metadata

    def _exchange_code(self, metadata: dict, form: dict) -> dict:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self.client_secret and "client_secret_basic" in methods:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": self.client_id}
            form |= {"client_secret": self.client_secret} if self.client_secret else {}
        try:
            return fetch_json(PEER, metadata["token_endpoint"], urlencode(form).encode(), headers)
        except CallRejected as error:
            raise CallRejected(f"the code: {error}") from None

    def _verify_id_token(self, metadata: dict, token: Any) -> dict:
        """Return the claims of an ID token signed by one of the provider's keys. Raises CallRejected, CallFailed."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        for max_age in (CACHE_PERIOD, timedelta(0)):
            keys = fetch_cached_document(PEER, metadata["jwks_uri"], max_age)
            try:
                return jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS)).claims
            except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = type(error).__name__
        raise CallRejected(f"signature of the ID token: {reason}")


def fetch_cached_document(peer: Peer, url: str, max_age: timedelta = CACHE_PERIOD) -> Any:
    """Fetch a document, from the cache if it was fetched less than `max_age` ago. Raises CallRejected, CallFailed."""
    entry = _document_cache.get(url)
    if entry is None or clock.wall_time() - entry[0] >= max_age:
        entry = _document_cache[url] = (clock.wall_time(), fetch_json(peer, url))
    return entry[1]
