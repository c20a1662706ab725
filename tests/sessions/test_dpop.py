"""Sessions bound to a key of the device (DPoP, RFC 9449).

The client is independent of the code: it signs with `cryptography` alone. Vectors are those of the RFC.
"""

import base64
import dataclasses
import hashlib
import itertools
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from streamsvc.rules.sign_in.dpop import normalize_url
from streamsvc.security import dpop
from tests.worlds.sessions_steps import SECRET, code_of, new_person

URL = "http://127.0.0.1:8000"
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJq"
    "dGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijox"
    "NTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
"""RFC 9449, figure 1: a proof for a token request."""


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """A key pair of a client, and the proofs that it makes."""

    serial = itertools.count(1)

    def __init__(self, alg="ES256", bits=2048):
        self.alg = alg
        if alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            point = self.private.public_key().public_numbers()
            self.jwk = {"kty": "EC", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)}
        elif alg == "RS256":
            self.private = rsa.generate_private_key(65537, bits)
            public = self.private.public_key().public_numbers()
            self.jwk = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()
            self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}

    def sign(self, data):
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(data)

    def proof(self, method, path, token=None, header=(), **claims):
        """A proof; members that are None are left out."""
        head = {"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk} | dict(header)
        body = {"jti": f"jti-{next(self.serial)}", "htm": method, "htu": URL + path, "iat": int(time.time())}
        if token:
            body["ath"] = b64(hashlib.sha256(token.encode()).digest())
        parts = [{k: v for k, v in part.items() if v is not None} for part in (head, body | claims)]
        signed = ".".join(b64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{b64(self.sign(signed.encode()))}"


@pytest.fixture
def client(app):
    former = app.extensions["settings"]
    app.extensions["settings"] = dataclasses.replace(former, dpop=True)
    yield app.test_client()
    app.extensions["settings"] = former


def sign_in(client, key, proof=None):
    body = {"email": "ann@example.com", "password": SECRET}
    return client.post("/v1/sessions", json=body, headers={"DPoP": proof or key.proof("POST", "/v1/sessions")})


def call(client, token, proof=None, scheme="DPoP", path="/v1/account", **more):
    headers = {"Authorization": f"{scheme} {token}"} | ({"DPoP": proof} if proof else {})
    return client.get(path, headers=headers, **more)


@pytest.fixture
def bound(client):
    """(key, token) of a bound session of Ann."""
    new_person(client)
    key = Key()
    response = sign_in(client, key)
    assert (response.status_code, response.json["token_type"]) == (201, "DPoP")
    return key, response.json["token"]


def test_the_vectors_of_the_rfc(app):
    with app.app_context():
        claims, thumbprint = dpop._verify_signature(RFC_PROOF)
    assert (claims["jti"], claims["iat"]) == ("-BwC3ESc6acc2lTc", 1562262616)
    assert thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert dpop.hash_for_proof(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
def test_each_algorithm_signs_in_and_calls(client, alg):
    new_person(client)
    key = Key(alg)
    token = sign_in(client, key).json["token"]
    assert call(client, token, key.proof("GET", "/v1/account", token)).status_code == 200
    assert call(client, token, Key(alg).proof("GET", "/v1/account", token)).status_code == 401, "another key"


def test_a_bound_token_is_worth_nothing_without_its_key(client, bound):
    key, token = bound
    for response in (call(client, token, scheme="Bearer"), call(client, token)):
        assert code_of(response) == (401, "not_signed_in")
        assert response.headers["WWW-Authenticate"].startswith("DPoP error=")
    client.set_cookie("__Host-sst", token, domain="localhost", secure=True)
    assert client.get("/v1/account", base_url="https://localhost").status_code == 401, "nor as a cookie"
    assert call(client, token, key.proof("GET", "/v1/account", token)).status_code == 200


def test_unbound_sessions_stay_bearers(client):
    ann, key = new_person(client), Key()
    assert "token_type" not in ann.sign_in().json
    assert ann.get("/v1/account").status_code == 200
    refused = call(client, ann.token, key.proof("GET", "/v1/account", ann.token))
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("DPoP")


REFUSED = {
    "typ": {"header": {"typ": "jwt"}},
    "no typ": {"header": {"typ": None}},
    "alg none": {"header": {"alg": "none"}},
    "symmetric alg": {"header": {"alg": "HS256"}},
    "alg of another key": {"header": {"alg": "RS256"}},
    "no jwk": {"header": {"jwk": None}},
    "crit": {"header": {"crit": ["b64"], "b64": False}},
    "htm": {"htm": "POST"},
    "htu": {"htu": URL + "/v1/profiles"},
    "htu of another host": {"htu": "http://localhost/v1/account"},
    "no htu": {"htu": None},
    "no jti": {"jti": None},
    "long jti": {"jti": "j" * 257},
    "jti no text": {"jti": 7},
    "no iat": {"iat": None},
    "iat no number": {"iat": "now"},
    "iat true": {"iat": True},
    "iat out of range": {"iat": 10**400},
    "iat out of range, before the epoch": {"iat": -(10**400)},
    "jti that UTF-8 cannot encode": {"jti": "\ud800"},
    "ath that UTF-8 cannot encode": {"ath": "\ud800"},
    "htu that UTF-8 cannot encode": {"htu": URL + "/\ud800"},
    "no ath": {"ath": None},
    "ath": {"ath": b64(hashlib.sha256(b"another token").digest())},
    "ath not ASCII": {"ath": "ü"},
    "nonce no text": {"nonce": ["x"]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_section_4_3_refuses(client, bound, name):
    key, token = bound
    response = call(client, token, key.proof("GET", "/v1/account", token, **REFUSED[name]))
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith(('DPoP error="invalid_dpop_proof"', 'DPoP error="use_dpop'))


HOSTILE = (None, True, -1, 2**63, 10**400, 1e308, "", "\ud800", "\x00", "é" * 300, "https://[", [], [[]], {}, {"a": 1})


def test_no_member_of_a_proof_is_an_internal_error(client, bound):
    key, token = bound
    for value in HOSTILE:
        proofs = [{name: value} for name in ("jti", "htm", "htu", "iat", "ath", "nonce")]
        proofs += [{"header": {name: value}} for name in ("typ", "alg", "jwk", "crit")]
        proofs += [{"header": {"jwk": key.jwk | {name: value}}} for name in ("kty", "crv", "x", "y", "kid", "alg")]
        for members in proofs:
            response = call(client, token, key.proof("GET", "/v1/account", token, **members))
            assert response.status_code in (200, 401), members
    for name, value in itertools.product(("n", "e"), (*HOSTILE, "AQ", "AA", "A" * 400, b64(b"\xff" * 512))):
        jwk = {"kty": "RSA", "n": b64(b"\xff" * 256), "e": "AQAB"} | {name: value}
        response = call(client, token, key.proof("GET", "/v1/account", token, {"alg": "RS256", "jwk": jwk}))
        assert response.status_code == 401, jwk


def test_a_sign_in_by_cookie_cannot_be_bound(client):
    ann, key = new_person(client), Key()
    body = {"email": ann.email, "password": SECRET, "cookie": True}
    refused = client.post("/v1/sessions", json=body, headers={"DPoP": key.proof("POST", "/v1/sessions")})
    assert (code_of(refused), list(refused.json["errors"])) == ((422, "invalid"), ["cookie"])
    assert "Set-Cookie" not in refused.headers
    assert len(ann.get("/v1/sessions").json["items"]) == 1, "no session was created"


def test_a_refused_call_says_what_to_send(client, bound):
    key, token = bound
    assert "The DPoP header is missing." in call(client, token).json["detail"]
    stale = call(client, token, key.proof("GET", "/v1/account", token, iat=0))
    assert stale.headers["DPoP-Nonce"] and "DPoP-Nonce" in stale.json["detail"]


def test_private_keys_short_keys_forged_signatures_and_no_proofs_are_refused(client, bound):
    key, token = bound
    good = key.proof("GET", "/v1/account", token)
    private = key.jwk | {"d": number(key.private.private_numbers().private_value, 32)}
    forged = good.rpartition(".")[0] + "." + b64(Key().sign(b"something else"))
    weak = Key("RS256", bits=1024)
    proofs = [key.proof("GET", "/v1/account", token, {"jwk": private}), forged, weak.proof("GET", "/v1/account", token)]
    proofs += ["", "x", "a.b.c", "....", good + ", " + good, "é", b64(b"[]") + "..", "a" * 9000]
    for proof in proofs:
        assert call(client, token, proof).status_code == 401, proof
        if proof:
            assert code_of(sign_in(client, key, proof)) == (400, "invalid_dpop_proof"), proof
    assert call(client, token, good).status_code == 200


def test_a_proof_works_once(client, bound):
    key, token = bound
    proof = key.proof("GET", "/v1/account", token)
    assert [call(client, token, proof).status_code for _ in range(2)] == [200, 401]
    assert call(client, token, key.proof("GET", "/v1/account?x=1#y", token)).status_code == 200, "query does not count"
    proof = key.proof("POST", "/v1/sessions")
    assert [sign_in(client, key, proof).status_code for _ in range(2)] == [201, 400]


def test_a_client_with_a_wrong_clock_uses_the_nonce(client, bound):
    key, token = bound
    for off in (-61, 61, -(10**9)):
        wrong = int(time.time()) + off
        first = call(client, token, key.proof("GET", "/v1/account", token, iat=wrong))
        assert first.status_code == 401 and 'error="use_dpop_nonce"' in first.headers["WWW-Authenticate"]
        nonce = first.headers["DPoP-Nonce"]
        assert call(client, token, key.proof("GET", "/v1/account", token, iat=wrong, nonce=nonce)).status_code == 200
        refused = sign_in(client, key, key.proof("POST", "/v1/sessions", iat=wrong))
        assert code_of(refused) == (400, "use_dpop_nonce") and refused.json["error"] == "use_dpop_nonce"
        nonce = refused.headers["DPoP-Nonce"]
        assert sign_in(client, key, key.proof("POST", "/v1/sessions", iat=wrong, nonce=nonce)).status_code == 201
    assert call(client, token, key.proof("GET", "/v1/account", token, nonce="made-up")).status_code == 401


def test_a_service_without_dpop_refuses_the_proof_instead_of_ignoring_it(app, client, bound):
    key, _ = bound
    app.extensions["settings"] = dataclasses.replace(app.extensions["settings"], dpop=False)
    assert code_of(sign_in(client, key)) == (400, "invalid_dpop_proof")


def test_urls_are_compared_in_one_form():
    same = {
        normalize_url(url) for url in ("HTTPS://A.example:443/x?q#f", "https://a.example/x", "https://A.EXAMPLE/x#")
    }
    assert same == {"https://a.example/x"}
    assert [normalize_url(url) for url in ("", "/x", "ftp://a/x", "https://[", "https://a:x/")] == [None] * 5
