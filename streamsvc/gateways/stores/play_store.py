"""Google Play: the Google Play Developer API with a service account, and the tokens of Pub/Sub's pushes.

Sources, read 2026-11: https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2,
/purchases.subscriptions/acknowledge, /purchases.voidedpurchases/list, /orders, /orders/batchget; https://developers.google.com/identity/protocols/oauth2/service-account;
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
"""

import base64
import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from streamsvc import clock
from streamsvc.gateways.calls import Response, fetch_json, send_request
from streamsvc.gateways.oidc import CACHE_PERIOD, fetch_cached_document
from streamsvc.gateways.peers import CallFailed, CallRejected, Peer
from streamsvc.gateways.stores.interface import PurchaseForgotten, PurchaseRejected, StoreNotification, StoreUnavailable
from streamsvc.gateways.stores.play_store_states import list_order_ids, play_store_payment, play_store_state
from streamsvc.rules.stores.state import StorePayment, StoreState
from streamsvc.settings import Settings

PEER, KEYS_PEER = Peer("play_store", deadline_s=5), Peer("play_store_keys", deadline_s=5)
KEYS_MIN_AGE = timedelta(minutes=1)
"""How old Google's keys must be to be fetched again for a token that they do not fit: anybody can send such tokens."""
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
TOKEN_LIFETIME, TOKEN_MARGIN = timedelta(hours=1), timedelta(minutes=5)
PUSH_PATH = "/v1/webhooks/play-store"
GONE = 410
"""Of a subscription that ended 60 days ago."""
UNKNOWN_TOKEN = (400, 404, GONE)
"""A token that is malformed, of another app, or expired more than 60 days ago."""
MAX_ORDERS, MAX_VOIDED_PAGES = 20, 20
MAX_TOKEN_LENGTH = 1_000
MAX_CHAIN = 5
"""How many purchase tokens back a subscription is followed whose changes we were not notified of."""
_access_tokens: dict[tuple[str, str], tuple[str, datetime]] = {}


class PlayStore:
    """Google Play, for the app in the settings."""

    source = "play_store"

    def __init__(self, settings: Settings):
        self.settings = settings
        self.account = json.loads(settings.play_store_account)
        self.root = f"{settings.play_store_url}/androidpublisher/v3/applications/{settings.play_store_package}"

    def identify_purchase(self, proof: str) -> str:
        """Return the purchase token, which is the key: Google says what it is worth when its state is fetched."""
        if not proof.isascii() or not proof.isprintable() or len(proof) > MAX_TOKEN_LENGTH:
            raise PurchaseRejected("malformed")
        return proof

    def fetch_state(
        self,
        key: str,
        known_payments: Collection[str],
        with_history: bool = False,
        history_revision: str | None = None,
    ) -> StoreState | None:
        """Fetch a purchase and those that it has replaced, their orders that are not known, and the latest one.

        The latest order may have been refunded meanwhile, of which the purchase itself says nothing.
        """
        response = self._request_purchase(key)
        if response.status not in (200, GONE):
            return None
        try:
            if response.status == GONE:
                raise PurchaseForgotten(self._fetch_payments(sorted(known_payments)[-MAX_ORDERS:]))
            purchase = _parse(response)
            linked = dict(self._list_linked(purchase))
            own_ids = list_order_ids(purchase)
            former_ids = [each for former in reversed(linked.values()) if former for each in list_order_ids(former)]
            skipped = set() if with_history else {*known_payments}.difference(own_ids[-1:])
            order_ids = [each for each in (*former_ids, *own_ids) if each not in skipped]
            payments = self._fetch_payments(order_ids[-MAX_ORDERS:])
            return play_store_state(key, purchase, tuple(linked), payments)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise StoreUnavailable(f"Google Play: a malformed response: {type(error).__name__}") from None

    def acknowledge(self, key: str, product_id: str) -> None:
        """Acknowledge a purchase; one that was acknowledged before stays so."""
        path = f"/purchases/subscriptions/{quote(product_id, safe='')}/tokens/{quote(key, safe='')}:acknowledge"
        response = self._send("POST", path, b"{}")
        if response.status >= 300 and response.status not in UNKNOWN_TOKEN:
            raise StoreUnavailable(f"Google Play: {response.status}")

    def list_voided_tokens(self, since: datetime) -> set[str]:
        """Return the tokens of the purchases that were refunded or charged back since a moment."""
        query = {"type": "1", "startTime": str(int(since.timestamp() * 1000)), "maxResults": "1000"}
        tokens: set[str] = set()
        for _ in range(MAX_VOIDED_PAGES):
            response = self._send("GET", f"/purchases/voidedpurchases?{urlencode(query)}")
            page = _parse(response) if response.status == 200 else {}
            tokens |= {str(each["purchaseToken"]) for each in page.get("voidedPurchases") or ()}
            next_page = (page.get("tokenPagination") or {}).get("nextPageToken")
            if not next_page:
                break
            query["token"] = next_page
        return tokens

    def _fetch_payments(self, order_ids: Sequence[str]) -> list[StorePayment]:
        """Fetch what orders cost, without those that Google does not know, and those that are not paid yet."""
        return [payment for order in self._fetch_orders(order_ids) if (payment := play_store_payment(order))]

    def _fetch_orders(self, order_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Fetch orders: in one request, since each counts towards the quota, unless one is unknown to Google."""
        if len(order_ids) > 1:
            response = self._send("GET", f"/orders:batchGet?{urlencode({'orderIds': order_ids}, doseq=True)}")
            if response.status == 200:
                return list(_parse(response)["orders"])
        responses = [self._send("GET", f"/orders/{quote(each, safe='')}") for each in order_ids]
        return [_parse(response) for response in responses if response.status == 200]

    def _list_linked(self, purchase: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the purchases that this one has replaced by their tokens, the latest first; one is {} if unknown."""
        for _ in range(MAX_CHAIN):
            token = purchase.get("linkedPurchaseToken")
            if not token:
                return
            response = self._request_purchase(token)
            purchase = _parse(response) if response.status == 200 else {}
            yield token, purchase

    def _request_purchase(self, token: str) -> Response:
        return self._send("GET", f"/purchases/subscriptionsv2/tokens/{quote(token, safe='')}")

    def _send(self, method: str, path: str, body: bytes | None = None) -> Response:
        """Send a request; the response is a success, or says that the token is unknown. Raises StoreUnavailable."""
        headers = {"Authorization": f"Bearer {self._access_token()}", "Content-Type": "application/json"}
        try:
            response = send_request(PEER, method, self.root + path, body, headers, keep_alive=True)
        except CallFailed as error:
            raise StoreUnavailable(f"Google Play: {error}") from None
        if response.status == 401:
            _access_tokens.pop(self._token_key, None)
        if response.status < 300 or response.status in UNKNOWN_TOKEN:
            return response
        raise StoreUnavailable(f"Google Play: {response.status}")

    @property
    def _token_key(self) -> tuple[str, str]:
        return self.account["client_email"], self.account["token_uri"]

    def _access_token(self) -> str:
        """Return an access token of the service account, which lasts for an hour."""
        now = clock.wall_time()
        token, expires_at = _access_tokens.get(self._token_key, ("", now))
        if now + TOKEN_MARGIN < expires_at:
            return token
        claims = {"iss": self.account["client_email"], "scope": SCOPE, "aud": self.account["token_uri"]}
        claims |= {"iat": int(now.timestamp()), "exp": int((now + TOKEN_LIFETIME).timestamp())}
        header = {"alg": "RS256"} | ({"kid": kid} if (kid := self.account.get("private_key_id")) else {})
        assertion = jwt.encode(header, claims, RSAKey.import_key(self.account["private_key"]))
        form = urlencode({"grant_type": GRANT_TYPE, "assertion": assertion}).encode()
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            response = fetch_json(PEER, self.account["token_uri"], form, content_type)
            lifetime = timedelta(seconds=int(response.get("expires_in", 3600)))
            _access_tokens[self._token_key] = str(response["access_token"]), now + lifetime
        except (CallFailed, CallRejected) as error:
            raise StoreUnavailable(f"Google's token endpoint: {error}") from None
        except (ValueError, TypeError, KeyError):
            raise StoreUnavailable("Google's token endpoint: a malformed response") from None
        return _access_tokens[self._token_key][0]

    def parse_notification(self, authorization: str | None, body: dict[str, Any]) -> StoreNotification | None:
        """Verify a push of Pub/Sub; None if it is about another app. Raises PurchaseRejected, StoreUnavailable."""
        self._verify_push(authorization or "")
        try:
            message = body["message"]
            message_id = message.get("messageId") or message["message_id"]
            content = json.loads(base64.b64decode(message["data"], validate=True))
            if content.get("packageName") != self.settings.play_store_package:
                return None
            kind, key = _notified(content)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise PurchaseRejected("malformed") from None
        return StoreNotification(str(message_id), kind, key)

    def _verify_push(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        reason = "no bearer token"
        for max_age in (CACHE_PERIOD, KEYS_MIN_AGE) if scheme.lower() == "bearer" and token else ():
            try:
                document = fetch_cached_document(KEYS_PEER, self.settings.play_store_keys_url, max_age)
                keys = KeySet.import_key_set(document)
                self._check_claims(jwt.decode(token, keys, algorithms=["RS256"]).claims)
                return
            except (CallFailed, CallRejected):
                raise StoreUnavailable("Google's keys cannot be fetched") from None
            except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = type(error).__name__
        raise PurchaseRejected(f"token of Pub/Sub: {reason}")

    def _check_claims(self, claims: dict[str, Any]) -> None:
        """Raise ValueError unless the token is of our push subscription, and has not expired."""
        settings = self.settings
        audience = settings.play_store_push_audience or settings.public_url + PUSH_PATH
        now = clock.wall_time().timestamp()
        is_ours = claims["iss"] in ISSUERS and claims["aud"] == audience
        is_pusher = claims["email"] == settings.play_store_push_account and claims["email_verified"] is True
        if not (is_ours and is_pusher and claims["exp"] > now and claims["iat"] <= now + TOKEN_MARGIN.total_seconds()):
            raise ValueError("claims")


def _notified(content: dict[str, Any]) -> tuple[str, str | None]:
    """Return the kind of a real-time developer notification, and the purchase token that it is about."""
    if notification := content.get("subscriptionNotification"):
        return f"subscription/{int(notification['notificationType'])}", str(notification["purchaseToken"])
    if notification := content.get("voidedPurchaseNotification"):
        is_subscription = notification.get("productType") == 1
        return "voided", str(notification["purchaseToken"]) if is_subscription else None
    return "test" if "testNotification" in content else "other", None


def _parse(response: Response) -> dict[str, Any]:
    """Parse a JSON object. Raises StoreUnavailable."""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise StoreUnavailable("Google Play: a malformed response")
    return document
