"""A small OpenID Connect provider over HTTP on loopback: discovery, consent, PKCE and RS256 ID tokens."""

import base64
import hashlib
import json
import secrets
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.worlds.local_server import LocalHandler, local_server

CLIENT = ("streamsvc", "a client's secret")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class OidcProvider:
    """`user` are the claims of the signed-in user; `twist` overrides claims, or `alg`, to produce invalid ID tokens."""

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        self.kid = "first"
        self.codes, self.twist = {}, {}
        self.user = {"sub": "248289761001", "email": "ann@example.org", "email_verified": True}
        self.exchanges = 0

    def reset(self):
        self.__init__()

    def consent(self, authorization_url: str) -> dict:
        """The redirect after the user's consent: {code, state, iss}."""
        query = {name: value for name, [value] in parse_qs(urlsplit(authorization_url).query).items()}
        assert authorization_url.startswith(f"{self.issuer}/authorize?"), authorization_url
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return {"code": code, "state": query["state"], "iss": self.issuer}

    def metadata(self) -> dict:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_response_iss_parameter_supported": True,
        }

    def keys(self) -> dict:
        numbers = self.key.public_key().public_numbers()
        n, e = (b64(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e}]}

    def token(self, form: dict, authorization: str) -> tuple[int, dict]:
        """The token response (RFC 6749, 4.1.3 and RFC 7636, 4.6)."""
        self.exchanges += 1
        query = self.codes.pop(form.get("code"), None)
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if pair != "streamsvc:a%20client%27s%20secret" or query is None or query["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        if form["redirect_uri"] != query["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT[0], "iat": now, "exp": now + 300, "nonce": query["nonce"]}
        return 200, {"token_type": "Bearer", "id_token": self.signed(claims | self.user | self.twist)}

    def signed(self, claims: dict) -> str:
        header = {"alg": claims.pop("alg", "RS256"), "kid": self.kid}
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        if header["alg"] == "none":
            return f"{text}."
        return f"{text}.{b64(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def running():
    """Runs the provider at its issuer's URL."""
    provider = OidcProvider()

    class Pages(LocalHandler):
        def do_GET(self):
            pages = {"/.well-known/openid-configuration": provider.metadata, "/keys": provider.keys}
            self.respond(200, pages[self.path]()) if self.path in pages else self.respond(404, {})

        def do_POST(self):
            form = {name: value for name, [value] in parse_qs(self.read_body().decode()).items()}
            self.respond(*provider.token(form, self.headers.get("Authorization", "")))

    with local_server(Pages) as server:
        OidcProvider.issuer = server.url
        yield provider
