"""A software authenticator: creates ES256 passkeys and signs challenges (WebAuthn level 2)."""

import base64
import hashlib
import json
import secrets

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """A device with one passkey. `verifies`: it verifies its user. `counts`: it has a sign count.

    `origin`: of the page. `rp_id`: the page's host by default.
    """

    PRESENT, VERIFIED, ATTESTED = 1, 4, 64

    def __init__(self, origin="http://127.0.0.1:8000", verifies=True, counts=True, rp_id=None):
        self.origin, self.rp_id = origin, rp_id or origin.split("/")[2].split(":")[0]
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.count, self.counts = 0, counts
        self.handle = None
        self.flags = self.PRESENT | (self.VERIFIED if verifies else 0)

    def _data(self, flags=0) -> bytes:
        self.count += self.counts
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([self.flags | flags]) + self.count.to_bytes(4)

    def _client_data(self, kind, options) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _credential(self, **response) -> dict:
        encoded = {name: b64(raw) for name, raw in response.items()}
        return {"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": encoded}

    def make(self, options) -> dict:
        """navigator.credentials.create(options).toJSON()"""
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})
        data = self._data(self.ATTESTED) + bytes(16) + len(self.id).to_bytes(2) + self.id + public
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options)
        return self._credential(clientDataJSON=client_data, attestationObject=attestation)

    def sign(self, options) -> dict:
        """navigator.credentials.get(options).toJSON()"""
        data, client_data = self._data(), self._client_data("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": client_data, "authenticatorData": data, "signature": signature}
        return self._credential(**response, **({"userHandle": self.handle.encode()} if self.handle else {}))
