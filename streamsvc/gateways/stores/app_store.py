"""The App Store: signed transactions and notifications, and the App Store Server API, with Apple's own library.

The library's HTTP client limits only the wait for each read, and its OCSP client too
(https://github.com/apple/app-store-server-library-python/issues/148), so both are replaced by `send_request`, which has
a deadline for the whole exchange.
"""

import json
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
from appstoreserverlibrary import signed_data_verifier
from appstoreserverlibrary.api_client import (
    APIError,
    APIException,
    AppStoreServerAPIClient,
    GetTransactionHistoryVersion,
)
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from appstoreserverlibrary.models.LastTransactionsItem import LastTransactionsItem
from appstoreserverlibrary.models.ResponseBodyV2DecodedPayload import ResponseBodyV2DecodedPayload
from appstoreserverlibrary.models.TransactionHistoryRequest import Order, TransactionHistoryRequest
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException, VerificationStatus
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, Peer
from streamsvc.gateways.stores.app_store_states import app_store_payment, app_store_state, has_ended
from streamsvc.gateways.stores.interface import PurchaseRejected, StoreNotification, StoreUnavailable
from streamsvc.rules.stores.state import PRODUCTION, SANDBOX, StorePayment, StoreState
from streamsvc.settings import Settings

PEER = Peer("app_store", deadline_s=5)
OCSP_PEER = Peer("app_store_ocsp", deadline_s=3)
APPLE_ROOT = Path(__file__).parent.parent.parent / "data" / "apple_root_ca_g3.pem"
ENVIRONMENTS = {PRODUCTION: Environment.PRODUCTION, SANDBOX: Environment.SANDBOX}
SANDBOX_KEY_PREFIX = "sandbox:"
"""Before the ids of the sandbox, which the production environment may have too."""
UNKNOWN_ID_ERRORS = (4000006, 4040001, 4040005, 4040010)
"""https://developer.apple.com/documentation/appstoreserverapi/error_codes: invalid transaction id, account not found,
original transaction id not found, transaction id not found."""
MAX_HISTORY_PAGES = 20
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
Decoded = TypeVar("Decoded")


class AppStore:
    """The App Store of the app in the settings."""

    source = "app_store"

    def __init__(self, settings: Settings):
        self.settings = settings
        other = SANDBOX if settings.app_store_environment == PRODUCTION else PRODUCTION
        self.environments = (settings.app_store_environment, other)

    def identify_purchase(self, proof: str) -> str:
        """Return the key of a signed transaction (`Transaction.jwsRepresentation`)."""
        transaction, environment = self._verify(lambda verifier: verifier.verify_and_decode_signed_transaction(proof))
        if transaction.rawType != "Auto-Renewable Subscription" or not transaction.originalTransactionId:
            raise PurchaseRejected("not_a_subscription")
        return _key(environment, transaction.originalTransactionId)

    def parse_notification(self, signed_payload: str) -> StoreNotification:
        """Verify a notification. Raises PurchaseRejected, StoreUnavailable."""
        body, environment = self._verify(lambda verifier: verifier.verify_and_decode_notification(signed_payload))
        if not body.notificationUUID:
            raise PurchaseRejected("malformed")
        kind = "/".join(filter(None, (body.rawNotificationType, body.rawSubtype)))
        transaction = self._notified_transaction(body, environment)
        key = transaction and transaction.originalTransactionId and _key(environment, transaction.originalTransactionId)
        payment = app_store_payment(transaction) if transaction else None
        return StoreNotification(body.notificationUUID, kind, key or None, payment)

    def _notified_transaction(
        self, body: ResponseBodyV2DecodedPayload, environment: str
    ) -> JWSTransactionDecodedPayload | None:
        signed = body.data and body.data.signedTransactionInfo
        transaction = signed and self._transaction(signed, environment)
        is_subscription = transaction and transaction.rawType == "Auto-Renewable Subscription"
        return transaction if transaction and is_subscription else None

    def fetch_state(
        self,
        key: str,
        known_payments: Collection[str],
        with_history: bool = False,
        history_revision: str | None = None,
    ) -> StoreState | None:
        """Fetch a subscription's status, transaction and renewal information, and with history its payments.

        The history goes on after `history_revision`. It is fetched last: what it says of the latest transaction counts.
        That of a subscription which has ended is always fetched: nobody asks for it again.
        """
        environment, transaction_id = _split_key(key)
        settings = self.settings
        app = (settings.app_store_key, settings.app_store_key_id, settings.app_store_issuer_id)
        client = _client(*app, settings.app_store_bundle_id, environment, settings.app_store_url)
        response = _call(lambda: client.get_all_subscription_statuses(transaction_id))
        groups = (response and response.data) or ()
        items = [item for group in groups for item in group.lastTransactions or ()]
        item = next((item for item in items if item.originalTransactionId == transaction_id), None)
        if item is None:
            return None
        try:
            transaction, renewal = self._signed_infos(item, environment)
            if transaction.originalTransactionId != transaction_id:
                raise PurchaseRejected("another_transaction")
            payments: tuple[StorePayment, ...] = ()
            revision: str | None = None
            if with_history or has_ended(item.rawStatus or 0):
                payments, revision = self._fetch_history(client, environment, transaction_id, history_revision)
        except PurchaseRejected as error:
            raise StoreUnavailable(f"its response is not signed as it should be: {error}") from None
        return app_store_state(key, environment, item.rawStatus or 0, transaction, renewal, payments, revision)

    def acknowledge(self, key: str, product_id: str) -> None:
        """Do nothing: apps finish their transactions themselves."""

    def _signed_infos(
        self, item: LastTransactionsItem, environment: str
    ) -> tuple[JWSTransactionDecodedPayload, JWSRenewalInfoDecodedPayload | None]:
        transaction = self._transaction(item.signedTransactionInfo or "", environment)
        signed_renewal = item.signedRenewalInfo
        if not signed_renewal:
            return transaction, None
        renewal, _ = self._verify(
            lambda verifier: verifier.verify_and_decode_renewal_info(signed_renewal), (environment,)
        )
        return transaction, renewal

    def _transaction(self, signed: str, environment: str) -> JWSTransactionDecodedPayload:
        return self._verify(lambda verifier: verifier.verify_and_decode_signed_transaction(signed), (environment,))[0]

    def _fetch_history(
        self, client: AppStoreServerAPIClient, environment: str, original_id: str, since: str | None
    ) -> tuple[tuple[StorePayment, ...], str | None]:
        """Return a subscription's payments that are new or have changed since a revision, and the last revision."""
        try:
            signed, revision = _list_signed(client, original_id, since)
        except _RevisionRejected:
            signed, revision = _list_signed(client, original_id, None)
        transactions = [self._transaction(each, environment) for each in signed]
        payments = (app_store_payment(each) for each in transactions if each.originalTransactionId == original_id)
        return tuple(payment for payment in payments if payment), revision

    def _verify(
        self, decode: Callable[[SignedDataVerifier], Decoded], environments: tuple[str, ...] = ()
    ) -> tuple[Decoded, str]:
        """Return what Apple signed, and its environment. Raises PurchaseRejected, StoreUnavailable."""
        settings, first_error = self.settings, None
        root, online = settings.app_store_root, settings.app_store_online_checks
        for environment in environments or self.environments:
            verifier = _verifier(root, online, environment, settings.app_store_bundle_id, settings.app_store_app_id)
            try:
                return decode(verifier), environment
            except VerificationException as error:
                if error.status == VerificationStatus.RETRYABLE_VERIFICATION_FAILURE:
                    raise StoreUnavailable("Apple's OCSP responder does not respond") from None
                first_error = first_error or error
                if error.status not in (
                    VerificationStatus.INVALID_ENVIRONMENT,
                    VerificationStatus.INVALID_APP_IDENTIFIER,  # of the sandbox's notifications, in production
                ):
                    break
            except (ValueError, TypeError, KeyError, AttributeError, ExceptionGroup) as error:  # signed, and malformed
                raise PurchaseRejected("malformed") from error
        raise PurchaseRejected(first_error.status.name.lower() if first_error else "malformed")


class _RevisionRejected(StoreUnavailable):
    """Apple does not accept a revision of the history, or no longer."""


class _Client(AppStoreServerAPIClient):
    """The library's client, with our HTTP."""

    def _execute_request(
        self, method: str, url: str, params: Any, headers: dict[str, str], json: Any, data: bytes | None
    ) -> Any:
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        return _send_request(PEER, method, url + query, data, headers)


def _send_request(peer: Peer, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Any:
    """Send one request; the response looks like that of `requests`. Raises CallFailed."""
    response = send_request(peer, method, url, body, headers, max_bytes=MAX_RESPONSE_BYTES, keep_alive=True)
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return SimpleNamespace(
        status_code=response.status,
        headers={"content-type": content_type},
        content=response.body,
        json=lambda: json.loads(response.body),
    )


def _post_ocsp(url: str, headers: dict[str, str], data: bytes, timeout: float) -> Any:
    """Send an OCSP request. Raises `requests.exceptions.RequestException`, which the library expects."""
    try:
        return _send_request(OCSP_PEER, "POST", url, data, headers)
    except CallFailed as error:
        raise requests.exceptions.RequestException(str(error)) from None


vars(signed_data_verifier).update(requests=SimpleNamespace(post=_post_ocsp, exceptions=requests.exceptions))


def _call(send: Callable[[], Decoded]) -> Decoded | None:
    """Return the API's response; None if it does not know the transaction. Raises StoreUnavailable."""
    try:
        return send()
    except APIException as error:
        if error.raw_api_error in UNKNOWN_ID_ERRORS:
            return None
        is_revision = error.api_error == APIError.INVALID_REQUEST_REVISION
        kind = _RevisionRejected if is_revision else StoreUnavailable
        raise kind(f"App Store: {error.http_status_code} {error.raw_api_error or ''}".strip()) from None
    except CallFailed as error:
        raise StoreUnavailable(f"App Store: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, ExceptionGroup) as error:
        raise StoreUnavailable(f"App Store: a malformed response: {type(error).__name__}") from None


def _list_signed(
    client: AppStoreServerAPIClient, original_id: str, revision: str | None
) -> tuple[list[str], str | None]:
    """Return a customer's signed transactions that are new or have changed since a revision, and the next revision.

    Apple sorts them by their last change, such as a refund, and asks to keep the last revision and to go on from there:
    https://developer.apple.com/documentation/appstoreserverapi/revision. Raises StoreUnavailable.
    """
    signed: list[str] = []
    query, version = TransactionHistoryRequest(sort=Order.ASCENDING), GetTransactionHistoryVersion.V2
    for _ in range(MAX_HISTORY_PAGES):
        page = _call(partial(client.get_transaction_history, original_id, revision, query, version))
        if page is None:
            break
        signed += page.signedTransactions or ()
        revision = page.revision or revision
        if not page.hasMore:
            break
    return signed, revision


def _key(environment: str, original_transaction_id: str) -> str:
    return original_transaction_id if environment == PRODUCTION else SANDBOX_KEY_PREFIX + original_transaction_id


def _split_key(key: str) -> tuple[str, str]:
    """Return the environment and the original transaction id of a key."""
    is_sandbox = key.startswith(SANDBOX_KEY_PREFIX)
    return (SANDBOX if is_sandbox else PRODUCTION), key.removeprefix(SANDBOX_KEY_PREFIX)


@lru_cache(maxsize=16)
def _client(key: str, key_id: str, issuer_id: str, bundle_id: str, environment: str, url: str) -> _Client:
    """Return the client of an environment, which has parsed the key."""
    client = _Client(key.encode(), key_id, issuer_id, bundle_id, ENVIRONMENTS[environment])
    client._base_url = url or client._base_url
    return client


@lru_cache(maxsize=16)
def _verifier(root: str, online_checks: bool, environment: str, bundle_id: str, app_id: int) -> SignedDataVerifier:
    """Return the verifier of an environment, which keeps for 15 minutes what it has checked online."""
    raw = (Path(root) if root else APPLE_ROOT).read_bytes()
    is_pem = b"-----BEGIN" in raw
    certificate = x509.load_pem_x509_certificate(raw) if is_pem else x509.load_der_x509_certificate(raw)
    der = certificate.public_bytes(Encoding.DER)
    return SignedDataVerifier([der], online_checks, ENVIRONMENTS[environment], bundle_id, app_id)
