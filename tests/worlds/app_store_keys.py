"""Certificates like Apple's, below a root of our own, and what they sign.

The chain has what Apple's library asks for (app-store-server-library 3.1.2, signed_data_verifier.py): three
certificates, the extensions 1.2.840.113635.100.6.11.1 in the leaf and 1.2.840.113635.100.6.2.1 in the intermediate, and
ES256 over the header and the payload.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

LEAF_OID, INTERMEDIATE_OID = "1.2.840.113635.100.6.11.1", "1.2.840.113635.100.6.2.1"
BEGIN, END = datetime(2015, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def encode_part(document) -> str:
    return b64url(json.dumps(document, separators=(",", ":")).encode())


class Chain:
    """A root, an intermediate and a leaf. `ends`: when the leaf expires; `ocsp`: the responder's URL in both."""

    def __init__(self, name="Test Root", ends=END, ocsp=None, leaf_oid=LEAF_OID):
        self.ocsp = ocsp
        self.root_key, self.intermediate_key, self.leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in "123")
        self.root = self._issue(name, self.root_key, name, self.root_key, is_ca=True)
        self.intermediate = self._issue("Test WWDR", self.intermediate_key, name, self.root_key, True, INTERMEDIATE_OID)
        self.leaf = self._issue("Test Leaf", self.leaf_key, "Test WWDR", self.intermediate_key, False, leaf_oid, ends)
        self.x5c = [
            base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
            for certificate in (self.leaf, self.intermediate, self.root)
        ]

    def _issue(self, name, key, issuer_name, issuer_key, is_ca, oid=None, ends=END):
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        usage |= {"decipher_only": False, "digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
        issuer_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGIN)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer_identifier, critical=False)
        )
        if oid:
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00")
            builder = builder.add_extension(extension, critical=False)
        if oid and self.ocsp:
            location = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(self.ocsp)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([location]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def write_root(self, folder):
        """The root in a file, in PEM."""
        path = folder / "root.pem"
        path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def sign(self, payload, **header) -> str:
        """A JWS as Apple makes them; `header` replaces members of its header."""
        signed = f"{encode_part({'alg': 'ES256', 'x5c': self.x5c} | header)}.{encode_part(payload)}"
        return f"{signed}.{b64url(sign_es256(self.leaf_key, signed.encode()))}"


def sign_es256(key, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


@cache
def test_chain() -> Chain:
    """The chain that the service trusts in tests."""
    return Chain()


@cache
def expired_chain() -> Chain:
    """A chain below the same root whose leaf expired before every test."""
    chain, trusted = Chain(), test_chain()
    chain.root_key, chain.root = trusted.root_key, trusted.root
    chain.intermediate_key, chain.intermediate = trusted.intermediate_key, trusted.intermediate
    ends = datetime(2020, 1, 1, tzinfo=UTC)
    chain.leaf = chain._issue("Old Leaf", chain.leaf_key, "Test WWDR", trusted.intermediate_key, False, LEAF_OID, ends)
    chain.x5c = [base64.b64encode(chain.leaf.public_bytes(serialization.Encoding.DER)).decode(), *trusted.x5c[1:]]
    return chain


@cache
def api_key() -> tuple[str, ec.EllipticCurvePublicKey]:
    """The In-App Purchase key: PEM as in the .p8 file, and the public half that Apple has."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), key.public_key()


SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
