"""Apple's root certificate, and whether a certificate that signs was revoked: asked of a local OCSP responder."""

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from streamsvc.gateways.stores import app_store as gateway
from streamsvc.setting_checks import find_setting_errors
from streamsvc.settings import Settings
from tests.subscriptions.test_app_store import AppStoreLife
from tests.worlds.app_store import AppStore, app_store_server, deliver, use_app_store
from tests.worlds.app_store_keys import Chain, api_key
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.scenes import set_scene

APPLE_ROOT_FINGERPRINT = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
"""Apple Root CA - G3, SHA-256: https://www.apple.com/certificateauthority/ (read 2026-11)."""


class Responder(LocalHandler):
    """Answers for the certificates of `chain`; `revoked`: serial numbers; `delay_s`: before each response."""

    chain, revoked, delay_s, requests = None, (), 0, 0

    def do_POST(self):
        type(self).requests += 1
        time.sleep(self.delay_s)
        request = ocsp.load_der_ocsp_request(self.read_body())
        chain, now = self.chain, datetime.now(UTC)
        is_leaf = request.serial_number == chain.leaf.serial_number
        certificate, issuer = (chain.leaf, chain.intermediate) if is_leaf else (chain.intermediate, chain.root)
        is_revoked = request.serial_number in self.revoked
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate,
            issuer=issuer,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now,
            next_update=now + timedelta(hours=1),
            revocation_time=now if is_revoked else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        key = chain.intermediate_key if is_leaf else chain.root_key
        body = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        with suppress(OSError):  # nobody waits for it any more
            self.respond(200, body, **{"Content-Type": "application/ocsp-response"})


@pytest.fixture
def life(app, monkeypatch, tmp_path):
    life = set_scene(app, AppStoreLife)
    handler = type("Handler", (Responder,), {})
    with local_server(handler) as responder:
        handler.chain = chain = Chain(ocsp=responder.url)
        life.responder, life.store = handler, AppStore(life.clock, chain)
        with app_store_server(life.store) as address:
            root = chain.write_root(tmp_path)
            use_app_store(app, monkeypatch, address, tmp_path, app_store_root=root, app_store_online_checks=True)
            chain.write_root(tmp_path)
            yield life


def test_certificates_that_are_good_are_asked_for_once(life):
    life.subscribe()
    assert life.responder.requests == 2
    life.subscribe("premium.monthly")
    assert life.responder.requests == 2


@pytest.mark.parametrize("which", ["leaf", "intermediate"])
def test_a_revoked_certificate_signs_nothing(life, which):
    life.responder.revoked = (getattr(life.store.chain, which).serial_number,)
    subscription = life.store.buy("basic.monthly", life.account())
    assert life.claim(subscription).json["reason"] == "verification_failure"
    assert deliver(life.world, subscription.cancel(), life.store.chain).status_code == 400


def test_a_responder_that_hangs_is_waited_for_no_longer_than_the_deadline(life, monkeypatch):
    monkeypatch.setattr(gateway, "OCSP_PEER", replace(gateway.OCSP_PEER, deadline_s=0.2))
    life.responder.delay_s = 2
    subscription, began = life.store.buy("basic.monthly", life.account()), time.monotonic()
    assert life.claim(subscription).status_code == 503
    assert deliver(life.world, subscription.cancel(), life.store.chain).status_code == 503
    assert time.monotonic() - began < 1.5


def test_the_root_that_production_trusts_is_apples():
    certificate = x509.load_pem_x509_certificate(gateway.APPLE_ROOT.read_bytes())
    assert hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == APPLE_ROOT_FINGERPRINT
    certificate.verify_directly_issued_by(certificate)


COMPLETE = {
    "STREAMSVC_APP_STORE_BUNDLE_ID": "com.example.video",
    "STREAMSVC_APP_STORE_APP_ID": "1",
    "STREAMSVC_APP_STORE_ISSUER_ID": "i",
    "STREAMSVC_APP_STORE_KEY_ID": "k",
}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "STREAMSVC_APP_STORE_KEY: required"),
        ({"STREAMSVC_APP_STORE_KEY": "nonsense"}, "STREAMSVC_APP_STORE_KEY: must be the .p8 file's text"),
        ({"STREAMSVC_APP_STORE_APP_ID": ""}, "STREAMSVC_APP_STORE_APP_ID: required"),
        ({"STREAMSVC_APP_STORE_BUNDLE_ID": "video"}, "STREAMSVC_APP_STORE_BUNDLE_ID: must be the app's name"),
        ({"STREAMSVC_APP_STORE_ROOT": __file__}, "has no certificate"),
        ({"STREAMSVC_APP_STORE_COMMISSION": "300"}, "percentages"),
        ({"STREAMSVC_PLAY_STORE_PACKAGE": "com.example.video"}, "STREAMSVC_PLAY_STORE_ACCOUNT: required"),
        ({"STREAMSVC_PLAY_STORE_ACCOUNT": "{}"}, "must be the JSON key of a service account"),
        ({"STREAMSVC_STORE_RESTORE": "perhaps"}, "STREAMSVC_STORE_RESTORE"),
        ({"STREAMSVC_STORE_TEST_ACCOUNTS": "ann"}, "must be ids of accounts"),
    ],
)
@pytest.mark.one_database
def test_incomplete_and_malformed_settings_prevent_the_start(tmp_path, more, message):
    assert any(re.search(message, error) for error in errors_of(more))


def errors_of(more):
    """What keeps the service from starting with these settings, beside those of an App Store app without its key."""
    settings, errors = Settings.read(COMPLETE | more)
    return [*errors, *find_setting_errors(settings)]


@pytest.mark.one_database
def test_production_trusts_no_other_root(tmp_path):
    complete = {"STREAMSVC_APP_STORE_KEY": api_key()[0]}
    assert errors_of(complete) == []
    more = {"STREAMSVC_ENV": "production", "STREAMSVC_APP_STORE_ROOT": Chain().write_root(tmp_path)}
    expected = "STREAMSVC_APP_STORE_ROOT: must be unset in production, where Apple Root CA - G3 alone is trusted"
    assert expected in errors_of(complete | more)
