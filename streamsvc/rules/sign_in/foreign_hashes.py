"""Password hashes imported from other systems. The first sign-in replaces one with an argon2id hash.

Supported: argon2 (PHC), bcrypt, scrypt and PBKDF2 in the formats of passlib, Django and Werkzeug. Hashes that are too
expensive are rejected at import, since each sign-in attempt against one would be a denial of service.

MD5 and SHA-1 digests, which are too cheap, are not stored. Their argon2id hash is stored instead, with a prefix that
records how to compute the digest.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import NamedTuple

import bcrypt
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

MAX_MEMORY_BYTES = 128 * 1024 * 1024
MAX_ARGON2_BYTES = 5 * MAX_MEMORY_BYTES
"""Memory written by all passes together. Each of these limits amounts to about one core second."""
MAX_PARALLELISM = 8
MAX_BCRYPT_COST = 14
MAX_PBKDF2_ROUNDS = 2_000_000
"""Of SHA-256; a round of SHA-512 counts twice."""
BCRYPT_MAX_BYTES = 72
DIGEST_SIZE_RANGE = range(16, 65)


class ForeignHash(NamedTuple):
    """Another system's hash that can be verified at a bounded cost."""

    scheme: str
    verify_password: Callable[[str], bool]


class LegacyDigest(NamedTuple):
    """How a legacy system computed a digest: `algorithm` (md5 or sha1) of `before` + password + `after`."""

    algorithm: str
    before: bytes
    after: bytes

    def hash_password(self, password: str) -> str:
        """Return the digest of a password in hexadecimal."""
        salted = self.before + password.encode() + self.after
        return hashlib.new(self.algorithm, salted, usedforsecurity=False).hexdigest()

    @property
    def prefix(self) -> str:
        """The prefix of the stored hash, which `split_legacy_prefix` parses."""
        salts = (base64.b64encode(salt).decode() for salt in (self.before, self.after))
        return ":".join((LEGACY_PREFIX, self.algorithm, *salts, ""))


LEGACY_PREFIX = "digest"
DIGEST_SIZES = {"md5": 16, "sha1": 20}
ALGORITHMS = {"md5": "md5", "smd5": "md5", "sha": "sha1", "sha1": "sha1", "ssha": "sha1"}
SALTED = ("smd5", "ssha")
MAX_SALT_BYTES = 64


def parse_legacy_digest(text: str) -> tuple[LegacyDigest, str] | None:
    """Parse an MD5 or SHA-1 digest: how it was computed, and the digest in hexadecimal; None if `text` is not one.

    Supported are `{md5}` and `{sha1}` before hexadecimal, LDAP's `{MD5}`, `{SHA}`, `{SMD5}` and `{SSHA}` before base64
    (with the salt after the password), and Django's `md5$salt$…` and `sha1$salt$…` (with the salt before it). Raises
    ValueError if the value does not match its scheme.
    """
    if match := re.fullmatch(r"\{(md5|sha1?|smd5|ssha)\}([A-Za-z0-9+/=]+)", text, re.IGNORECASE):
        return _parse_ldap(match[1].lower(), match[2])
    if match := re.fullmatch(r"(md5|sha1)\$([^$]*)\$([0-9a-fA-F]+)", text):
        return _build_digest(match[1], match[2].encode(), b"", bytes.fromhex(match[3]))
    return None


def _parse_ldap(name: str, value: str) -> tuple[LegacyDigest, str]:
    size = DIGEST_SIZES[ALGORITHMS[name]]
    raw = bytes.fromhex(value) if re.fullmatch(rf"[0-9a-fA-F]{{{2 * size}}}", value) else _decode_base64(value)
    if (len(raw) > size) != (name in SALTED):
        raise ValueError(f"the value does not match the scheme {{{name}}}")
    return _build_digest(ALGORITHMS[name], b"", raw[size:], raw[:size])


def _build_digest(algorithm: str, before: bytes, after: bytes, digest: bytes) -> tuple[LegacyDigest, str]:
    if len(digest) != DIGEST_SIZES[algorithm] or len(before + after) > MAX_SALT_BYTES:
        raise ValueError(f"this {algorithm} digest or its salt has the wrong length")
    return LegacyDigest(algorithm, before, after), digest.hex()


def split_legacy_prefix(stored: str) -> tuple[LegacyDigest | None, str]:
    """Split a stored hash: how to compute the digest first, or None; and the hash itself."""
    if not stored.startswith(LEGACY_PREFIX):
        return None, stored
    _, algorithm, before, after, rest = stored.split(":", 4)
    return LegacyDigest(algorithm, base64.b64decode(before), base64.b64decode(after)), rest


def parse_foreign_hash(text: str) -> ForeignHash:
    """Parse a hash. Raises ValueError, with the reason, if its format is unknown or it is too expensive."""
    for pattern, parse in FORMATS:
        if match := re.fullmatch(pattern, text):
            return parse(*match.groups())
    raise ValueError("the format of this hash is not supported")


def _argon2(text: str) -> ForeignHash:
    try:
        cost = extract_parameters(text)
    except InvalidHashError:
        raise ValueError("this argon2 hash is malformed") from None
    memory_bytes = cost.memory_cost * 1024
    _require_bounded_cost("argon2", memory_bytes <= MAX_MEMORY_BYTES, memory_bytes * cost.time_cost <= MAX_ARGON2_BYTES)
    _require_bounded_cost("argon2", cost.parallelism <= MAX_PARALLELISM, cost.hash_len in DIGEST_SIZE_RANGE)

    def verify(password: str) -> bool:
        try:
            return PasswordHasher().verify(text, password)
        except VerificationError:
            return False

    return ForeignHash("argon2", verify)


def _truncate_for_bcrypt(password: str) -> bytes:
    return password.encode()[:BCRYPT_MAX_BYTES]


def _bcrypt(text: str, prepare: Callable[[str], bytes] = _truncate_for_bcrypt) -> ForeignHash:
    _require_bounded_cost("bcrypt", 4 <= int(text.split("$")[2]) <= MAX_BCRYPT_COST)
    bcrypt_hash = text.replace("$2y$", "$2b$", 1).encode()
    return ForeignHash(
        "bcrypt", lambda password: b"\0" not in prepare(password) and bcrypt.checkpw(prepare(password), bcrypt_hash)
    )


def _bcrypt_sha256(text: str) -> ForeignHash:
    return _bcrypt(text, lambda password: hashlib.sha256(password.encode()).hexdigest().encode())


def _scrypt(cost: int, block: int, parallel: int, salt: bytes, digest: bytes) -> ForeignHash:
    _require_bounded_cost(
        "scrypt", cost > 1 and cost & (cost - 1) == 0, block >= 1 and cost < 2 ** min(16 * block, 64)
    )  # RFC 7914, 6
    _require_bounded_cost(
        "scrypt", parallel >= 1, 128 * cost * block * parallel <= MAX_MEMORY_BYTES, len(digest) in DIGEST_SIZE_RANGE
    )

    def verify(password: str) -> bool:
        memory = 128 * block * (cost + parallel + 2)  # as OpenSSL computes it
        computed = hashlib.scrypt(
            password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=len(digest)
        )
        return hmac.compare_digest(computed, digest)

    return ForeignHash("scrypt", verify)


def _pbkdf2(algorithm: str, rounds: int, salt: bytes, digest: bytes) -> ForeignHash:
    blocks = -(-len(digest) // hashlib.new(algorithm).digest_size) * (2 if algorithm == "sha512" else 1)
    _require_bounded_cost("pbkdf2", rounds >= 1, rounds * blocks <= MAX_PBKDF2_ROUNDS, len(digest) in DIGEST_SIZE_RANGE)

    def verify(password: str) -> bool:
        computed = hashlib.pbkdf2_hmac(algorithm, password.encode(), salt, rounds, dklen=len(digest))
        return hmac.compare_digest(computed, digest)

    return ForeignHash("pbkdf2", verify)


def _require_bounded_cost(scheme: str, *conditions: bool) -> None:
    if not all(conditions):
        raise ValueError(f"this {scheme} hash is too expensive or has invalid parameters")


def _decode_base64(text: str) -> bytes:
    """Decode base64, also passlib's variant with `.` for `+` and without padding."""
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)


B64 = r"([A-Za-z0-9+/.]+={0,2})"
NUMBER = r"(\d{1,10})"
BCRYPT = r"(\$2[aby]\$\d\d\$[./A-Za-z0-9]{53})"
FORMATS: tuple[tuple[str, Callable[..., ForeignHash]], ...] = (
    (r"(?:argon2)?(\$argon2(?:id|i|d)\$.{1,400})", _argon2),
    (rf"(?:bcrypt\$)?{BCRYPT}", _bcrypt),
    (rf"bcrypt_sha256\${BCRYPT}", _bcrypt_sha256),
    (
        rf"\$scrypt\$ln=(\d{{1,2}}),r={NUMBER},p={NUMBER}\${B64}\${B64}",
        lambda ln, r, p, salt, digest: _scrypt(
            2 ** int(ln), int(r), int(p), _decode_base64(salt), _decode_base64(digest)
        ),
    ),
    (
        rf"scrypt\$([^$]+)\${NUMBER}\${NUMBER}\${NUMBER}\${B64}",
        lambda salt, n, r, p, digest: _scrypt(int(n), int(r), int(p), salt.encode(), _decode_base64(digest)),
    ),
    (
        rf"scrypt:{NUMBER}:{NUMBER}:{NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)",
        lambda n, r, p, salt, digest: _scrypt(int(n), int(r), int(p), salt.encode(), bytes.fromhex(digest)),
    ),
    (
        rf"\$pbkdf2-(sha256|sha512)\${NUMBER}\${B64}\${B64}",
        lambda name, rounds, salt, digest: _pbkdf2(name, int(rounds), _decode_base64(salt), _decode_base64(digest)),
    ),
    (
        rf"pbkdf2_(sha256|sha1)\${NUMBER}\$([^$]+)\${B64}",
        lambda name, rounds, salt, digest: _pbkdf2(name, int(rounds), salt.encode(), _decode_base64(digest)),
    ),
    (
        rf"pbkdf2:(sha256|sha512|sha1):{NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)",
        lambda name, rounds, salt, digest: _pbkdf2(name, int(rounds), salt.encode(), bytes.fromhex(digest)),
    ),
)
"""(pattern, parser) of each supported format."""
