"""A DRM licence server that refuses what Axinom's refuses. The challenges stand for those of real DRM modules.

`tokens`: the messages received with a valid signature, key and time; `issued`: (message id, key id) of every licence;
`certificates`: how often the service certificate was sent.
"""

import json
from base64 import b64decode
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from tests.worlds.local_server import LocalHandler, local_server

CERTIFICATE_REQUEST = b"\x08\x04"
"""Widevine's request for the service certificate. Source: Google, "Widevine DRM Proxy Integration", Using Service
Certificates."""
CERTIFICATE = b"\x08\x05the service certificate"
PLAYREADY_ACTION = '"http://schemas.microsoft.com/DRM/2007/03/protocols/AcquireLicense"'


def challenge(*key_ids):
    """A request for licences to these keys."""
    return b"\x08\x01" + b"".join(UUID(key_id).bytes for key_id in key_ids)


class Refused(Exception):
    """With the status of docs.axinom.com, DRM quick start, "Troubleshooting"."""

    def __init__(self, status, why):
        self.status = status
        super().__init__(why)


class LicenseHandler(LocalHandler):
    def do_POST(self):
        system, body = self.path.rpartition("/")[2], self.read_body()
        try:
            self.respond(200, self.issue(system, body), **{"Content-Type": "application/octet-stream"})
        except Refused as refused:
            # "PlayReady spec mandates 500 is returned in case of all errors": same page
            status = 500 if system == "playready" else refused.status
            self.respond(status, b"<soap:Fault/>", **{"X-AxDRM-ErrorMessage": str(refused)})

    def issue(self, system, body):
        """Return the licence as JSON: the keys, and whether it may be stored."""
        entitlement, message_id = self.verified_message()
        self.server.tokens.append(self.headers["X-AxDRM-Message"])
        if system == "playready" and self.headers.get("SOAPAction") != PLAYREADY_ACTION:
            raise Refused(400, "no AcquireLicense")  # learn.microsoft.com, PlayReady, License Acquisition
        if system == "widevine" and body == CERTIFICATE_REQUEST:
            self.server.certificates += 1
            return CERTIFICATE
        if not body.startswith(b"\x08\x01") or len(body) % 16 != 2:
            # Axinom's FAQ, "The request data does not represent a valid Widevine request": a proxy changed the body
            raise Refused(400, "The request data does not represent a valid request")
        requested = {str(UUID(bytes=body[at : at + 16])) for at in range(2, len(body), 16)}
        entitled = {key["id"] for key in entitlement["content_keys_source"]["inline"]}
        if entitled - self.server.keys:
            raise Refused(403, "a key is not in the key store")  # "Entitlement Message", content_keys_source
        if not (keys := requested & entitled):
            raise Refused(403, "none of the keys is entitled")
        # "If set to true, DRM Messages with the same ID can only be used to receive a license once per entitled key":
        # docs.axinom.com, "License Service Configuration", prevent_drm_message_reuse
        control = entitlement.get("license_server", {}).get("access_control", {})
        is_used = message_id is None or any((message_id, key) in self.server.issued for key in keys)
        if control.get("prevent_drm_message_reuse") and is_used:
            raise Refused(403, "the message has been used")
        self.server.issued += [(message_id, key) for key in keys]
        return json.dumps({"keys": sorted(keys), "stored": entitlement["license"]["allow_persistence"]}).encode()

    def verified_message(self):
        """Return the entitlement message and its id. Source: docs.axinom.com, "License Service Message"."""
        token = self.headers.get("X-AxDRM-Message")
        if token is None:
            raise Refused(403, "no message: it is delivered in X-AxDRM-Message")
        try:
            message = jwt.decode(token, OctKey.import_key(b64decode(self.server.com_key)), algorithms=["HS256"]).claims
        except (JoseError, ValueError):
            raise Refused(403, "the signature is not that of the communication key") from None
        if message["version"] != 1 or message["com_key_id"] != self.server.com_key_id:
            raise Refused(403, "unknown communication key")
        if datetime.fromisoformat(message["expiration_date"]) <= self.server.clock():
            raise Refused(403, "the message has expired")
        entitlement = message["message"]
        if (entitlement["type"], entitlement["version"]) != ("entitlement_message", 2):
            raise Refused(400, "not an entitlement message")
        return entitlement, message.get("id")


@contextmanager
def license_server(com_key_id, com_key, keys, clock):
    """A licence server at `server.url` with these keys in its store."""
    with local_server(LicenseHandler) as server:
        server.com_key_id, server.com_key, server.keys, server.clock = com_key_id, com_key, set(keys), clock
        server.tokens, server.issued, server.certificates = [], [], 0
        yield server
