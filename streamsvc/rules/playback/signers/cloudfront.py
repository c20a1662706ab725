"""Amazon CloudFront: signed cookies and signed URLs, with a custom policy for a folder, a canned one for a file.

Source: the CloudFront Developer Guide, "Set signed cookies using a custom policy" and "Create a signed URL using a
canned policy". CloudFront accepts RSA signatures with SHA-1, which nobody but the service chooses the text of.
"""

import base64
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1

from streamsvc.rules.playback.signers.base import (
    MediaAccess,
    MediaCookie,
    Signer,
    add_query,
    load_rsa_key,
    split_signed_path,
)


class CloudFront(Signer, tag="cloudfront", frozen=True, kw_only=True):
    """Cookies or URLs for a distribution with a trusted key group; `key_id` is the id of the public key."""

    key_id: str
    private_key: str
    use: Literal["cookies", "urls"] = "cookies"

    def __post_init__(self) -> None:
        super().__post_init__()
        load_rsa_key(self.private_key)

    def sign_url(self, url: str, access: MediaAccess) -> str:
        if self.use != "urls":
            return url
        return add_query(url, "&".join(f"{name}={value}" for name, value in self._sign(url, access).items()))

    def sign_cookies(self, url: str, access: MediaAccess) -> Sequence[MediaCookie]:
        if self.use != "cookies":
            return ()
        path = split_signed_path(url, access).folder
        return [
            MediaCookie(f"CloudFront-{name}", value, path, access.expires_at)
            for name, value in self._sign(url, access).items()
        ]

    def _sign(self, url: str, access: MediaAccess) -> dict[str, str]:
        """Return {Policy or Expires, Signature, Key-Pair-Id}."""
        signed = split_signed_path(url, access)
        condition: dict[str, Any] = {"DateLessThan": {"AWS:EpochTime": access.expires}}
        if signed.rest:
            resource = urlsplit(url)._replace(path=f"{signed.folder}*", query="").geturl()
            if access.network and ip_network(access.network).version == 4:  # policies take IPv4 only
                condition["IpAddress"] = {"AWS:SourceIp": access.network}
        else:
            resource = url
        policy = msgspec.json.encode({"Statement": [{"Resource": resource, "Condition": condition}]})
        signature = load_rsa_key(self.private_key).sign(policy, PKCS1v15(), SHA1())
        first = {"Policy": encode_for_cloudfront(policy)} if signed.rest else {"Expires": str(access.expires)}
        return first | {"Signature": encode_for_cloudfront(signature), "Key-Pair-Id": self.key_id}


def encode_for_cloudfront(raw: bytes) -> str:
    """Return base64 with CloudFront's replacements of the characters that URLs do not allow."""
    return base64.b64encode(raw).decode().translate(str.maketrans("+=/", "-_~"))
