"""Verifies DPoP proofs (RFC 9449), with joserfc of the extra `dpop`.

Times are the wall clock's, even in the sandbox, as for every signature that a client makes. A proof whose time is wrong
is asked for the server's nonce, so that a television without a clock can use DPoP too. Nonces are not stored: each is
the keyed hash of a period of five minutes.
"""

import base64
import hashlib
import hmac
import json
from typing import Any

from streamsvc import clock
from streamsvc.models import DpopProof
from streamsvc.rules.sign_in.dpop import (
    MAX_PROOF_LENGTH,
    PROOF_RETENTION,
    ProofInvalid,
    check_proof_claims,
    check_proof_header,
    check_proof_time,
    nonce_periods,
)
from streamsvc.settings import current_settings
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import execute_write, insert


def verify_proof(proof: str, method: str, path: str, token: str | None = None) -> str:
    """Verify a proof for a request below the public URL, and return its key's thumbprint (RFC 7638).

    The host that the client sent is not compared: it could be that of a page that relays a victim's proof. `token` is
    the request's token, None at sign-in. Raises ProofInvalid, NonceRequired.
    """
    claims, thumbprint = _verify_signature(proof)
    token_hash = None if token is None else hash_for_proof(token)
    check_proof_claims(claims, method, current_settings().public_url + path, token_hash)
    now = clock.wall_time()
    check_proof_time(claims, _nonces(), now)
    proof_hash = hashlib.sha256(f"{thumbprint} {claims['jti']}".encode()).hexdigest()
    row = {"proof_hash": proof_hash, "expires_at": now + PROOF_RETENTION}
    if execute_write(insert(DpopProof).values(row).on_conflict_do_nothing(index_elements=["proof_hash"])) != 1:
        raise ProofInvalid("jti was used before")
    return thumbprint


def current_nonce() -> str:
    """Return the nonce to send to a client."""
    return _nonces()[0]


def hash_for_proof(token: str) -> str:
    """Return a token's `ath`: its SHA-256 in base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def purge_used_proofs() -> int:
    """Delete the proofs that are too old to be accepted again, in chunks. Returns how many."""
    return delete_in_chunks(DpopProof.expires_at, DpopProof.expires_at < clock.wall_time())


def _nonces() -> tuple[str, ...]:
    key = current_settings().secret_key[0].encode()
    return tuple(
        hmac.digest(key, f"dpop nonce {period}".encode(), "sha256").hex()[:32]
        for period in nonce_periods(clock.wall_time())
    )


def _verify_signature(proof: str) -> tuple[dict[str, Any], str]:
    """Return the claims and the thumbprint of the key. Raises ProofInvalid."""
    from joserfc import jwk, jws
    from joserfc.errors import JoseError

    parts = proof.split(".")
    if len(proof) > MAX_PROOF_LENGTH or len(parts) != 3:
        raise ProofInvalid("send one proof in compact serialization")
    try:
        header = _parse_object(_decode_part(parts[0]))
        check_proof_header(header)
        algorithm: Any = jws.JWSRegistry.algorithms[header["alg"]]  # its `deserialize_compact` refuses headers of 512 B
        key: Any = jwk.import_key(header["jwk"])
        algorithm.check_key(key)
        if not algorithm.verify(f"{parts[0]}.{parts[1]}".encode("ascii"), _decode_part(parts[2]), key):
            raise ProofInvalid("the signature is not of this key")
        return _parse_object(_decode_part(parts[1])), key.thumbprint()
    except (JoseError, ArithmeticError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ProofInvalid("the signature or the form is invalid") from None


def _decode_part(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _parse_object(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
