"""A local Google Play: its purchases, its Developer API with OAuth, and the pushes of Pub/Sub.

Each rule that it keeps has its source beside it (read 2026-11):
[v2] https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2
[ack] https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptions/acknowledge
[orders] https://developers.google.com/android-publisher/api-ref/rest/v3/orders
[batch] https://developers.google.com/android-publisher/api-ref/rest/v3/orders/batchget
[voided] https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.voidedpurchases/list
[life] https://developer.android.com/google/play/billing/lifecycle/subscriptions
[rtdn] https://developer.android.com/google/play/billing/rtdn-reference
[oauth] https://developers.google.com/identity/protocols/oauth2/service-account
[push] https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

import base64
import itertools
import json
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.worlds.app_store_keys import b64url
from tests.worlds.local_server import LocalHandler, local_server

PACKAGE, PUSHER, AUDIENCE = "com.example.video", "push@example.iam.gserviceaccount.com", "https://video.example/push"
EMAIL, SCOPE = "billing@example.iam.gserviceaccount.com", "https://www.googleapis.com/auth/androidpublisher"
VOIDED_PAGE = 2
MONTH, ACKNOWLEDGE_WITHIN = timedelta(days=30), timedelta(days=3)
PRICES = {"basic": (4, 990_000_000), "standard": (7, 990_000_000), "premium": (9, 990_000_000)}
RECOVERED, RENEWED, CANCELED, PURCHASED, ON_HOLD, IN_GRACE_PERIOD, RESTARTED = 1, 2, 3, 4, 5, 6, 7
DEFERRED, PAUSED, PAUSE_SCHEDULE_CHANGED, REVOKED, EXPIRED = 9, 10, 11, 12, 13
PRICE_CHANGE_UPDATED, PENDING_PURCHASE_CANCELED = 19, 20
"""[rtdn] notificationType"""


@cache
def key_of(name):
    """A private key by its owner's name: the service account's, Google's, or a stranger's."""
    return rsa.generate_private_key(65537, 2048)


def service_account(address):
    """The JSON key of the service account."""
    pem = key_of("service account").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {"type": "service_account", "client_email": EMAIL, "private_key_id": "k1", "private_key": pem.decode()}
    return json.dumps(key | {"token_uri": f"{address}/token"})


def rfc3339(moment):
    return moment.isoformat().replace("+00:00", "Z")


def money(price):
    return {"currencyCode": "USD", "units": str(price[0]), "nanos": price[1]}


class PlayStore:
    """The store: `purchases` by token, `orders` by id. `failure`: (status, body) of every response of the API."""

    def __init__(self, clock):
        self.clock, self.purchases, self.orders = clock, {}, {}
        self.notifications, self.requests, self.failure, self.access_tokens = [], [], None, set()
        self.numbers = itertools.count(1)

    def clear(self):
        """Forget all purchases, and what was asked and notified."""
        for each in (self.purchases, self.orders, self.notifications, self.requests):
            each.clear()

    def buy(self, product, account=None, **more):
        return Purchase(self, product, account, **more)

    def notify(self, kind=None, purchase=None, package=PACKAGE, **other):
        """Make a real-time developer notification, which the test delivers or loses."""
        content = {"version": "1.0", "packageName": package, "eventTimeMillis": str(int(time.time() * 1000))}
        if kind:
            content["subscriptionNotification"] = {
                "version": "1.0",
                "notificationType": kind,
                "purchaseToken": purchase.token,
            }
        message = {"messageId": uuid.uuid4().hex, "publishTime": rfc3339(self.clock())}
        message["data"] = base64.b64encode(json.dumps(content | other).encode()).decode()
        body = {"message": message, "subscription": "projects/video/subscriptions/play"}
        self.notifications.append(body)
        return body

    def push_token(self, key="google", alg="RS256", kid="g1", **claims):
        """[push] the token of a push; `claims` replaces some of them."""
        now = int(time.time())
        values = {"iss": "https://accounts.google.com", "aud": AUDIENCE, "email": PUSHER, "email_verified": True}
        values |= {"iat": now, "exp": now + 3600, "sub": "113774264463038321964"} | claims
        return jwt.encode(values, key_of(key) if alg == "RS256" else None, algorithm=alg, headers={"kid": kid})

    def keys(self):
        numbers = key_of("google").public_key().public_numbers()
        n, e = (b64url(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "g1", "n": n, "e": e}]}

    def token(self, form, address):
        """[oauth] the grant's type, RS256 by the account's key, its issuer, the audience, the scope, at most an hour"""
        try:
            assertion = form["assertion"][0]
            public = key_of("service account").public_key()
            claims = jwt.decode(assertion, public, algorithms=["RS256"], audience=f"{address}/token", issuer=EMAIL)
            is_valid = claims["scope"] == SCOPE and claims["exp"] - claims["iat"] <= 3600
        except (jwt.PyJWTError, KeyError):
            is_valid = False
        if not is_valid or form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return 400, {"error": "invalid_grant"}
        access_token = f"ya29.{uuid.uuid4().hex}"
        self.access_tokens.add(access_token)
        return 200, {"access_token": access_token, "expires_in": 3599, "token_type": "Bearer"}

    def respond(self, method, address, authorization):
        """(status, document) of a request to the API."""
        url = urlsplit(address)
        path = url.path
        self.requests.append((method, path))
        if self.failure:
            return self.failure
        if authorization.removeprefix("Bearer ") not in self.access_tokens:
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}
        root = f"/androidpublisher/v3/applications/{PACKAGE}/"
        if not path.startswith(root):
            return 404, {"error": {"code": 404, "message": "Package not found"}}
        if path == f"{root}purchases/voidedpurchases":
            return 200, self._voided(int(parse_qs(url.query).get("token", ["0"])[0]))
        if path == f"{root}orders:batchGet":
            return self._orders(parse_qs(url.query).get("orderIds", []))
        kind, _, name = path.removeprefix(root).rpartition("/")
        name = unquote(name)
        if method == "GET" and kind == "purchases/subscriptionsv2/tokens":
            return self._purchase(name)
        if method == "GET" and kind == "orders":
            return (200, self.orders[name]) if name in self.orders else (404, {"error": {"code": 404}})
        if method == "POST" and name.endswith(":acknowledge"):
            return self._acknowledge(kind.split("/")[2], name.removesuffix(":acknowledge"))
        return 404, {"error": {"code": 404}}

    def _voided(self, start):
        """[voided] a page; `nextPageToken` is the `token` of the next one"""
        voided = [each for each in self.orders.values() if each["state"] == "REFUNDED"]
        page = [{"purchaseToken": each["purchaseToken"]} for each in voided[start : start + VOIDED_PAGE]]
        next_page = {"nextPageToken": str(start + VOIDED_PAGE)} if start + VOIDED_PAGE < len(voided) else {}
        return {"voidedPurchases": page, "tokenPagination": next_page}

    def _orders(self, ids):
        """[batch] one order that is not found fails the request; so do the same one twice, and none"""
        if len(set(ids)) != len(ids) or not 1 <= len(ids) <= 1000:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
        if not all(each in self.orders for each in ids):
            return 404, {"error": {"code": 404}}
        return 200, {"orders": [self.orders[each] for each in ids]}

    def _purchase(self, token):
        purchase = self.purchases.get(token)
        if purchase is None:  # [v2] an invalid token
            return 400, {"error": {"code": 400, "message": "Invalid Value", "status": "INVALID_ARGUMENT"}}
        if purchase.expiry and self.clock() > purchase.expiry + timedelta(days=60):
            return 410, {"error": {"code": 410, "message": "The subscription purchase is no longer available"}}
        return 200, purchase.document()

    def _acknowledge(self, product, token):
        """[ack] the product and the token must belong together"""
        purchase = self.purchases.get(token)
        if purchase is None or purchase.product != product:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
        purchase.acknowledged = True
        return 204, b""


class Purchase:
    """One purchase token of one Google account, with a method for each thing that happens to it."""

    def __init__(
        self, store, product, account, period=MONTH, trial=None, pending=False, test=False, replaces=None, offer=None
    ):
        self.store, self.product, self.account, self.period = store, product, account, period
        self.token = f"{uuid.uuid4().hex}.AO-J1Oz{uuid.uuid4().hex}"
        self.state, self.started, self.expiry = "PENDING" if pending else "ACTIVE", None, None
        self.renews, self.acknowledged, self.test, self.linked = True, False, test, replaces and replaces.token
        self.canceled, self.resumes, self.price_change, self.replacement = None, None, None, None
        self.trial, self.offer, self.order, self.renewals = bool(trial), offer, None, -1
        self.other_items = []
        store.purchases[self.token] = self
        if replaces:  # [life] the former purchase is invalidated
            replaces.state, replaces.renews = "EXPIRED", False
            replaces.canceled = {"replacementCancellation": {}}
        if not pending:
            self._start(trial)

    def _start(self, trial=None):
        self.state, self.started = "ACTIVE", self.store.clock()
        self.expiry = self.started + (trial or self.period)
        number = next(self.store.numbers)
        self.order = f"GPA.{number:04}-0000-0000-00000"
        self._bill(self.order, (0, 0) if trial else PRICES[self.product])
        return self.store.notify(PURCHASED, self)

    def _bill(self, order, price):
        self.store.orders[order] = {
            "orderId": order,
            "purchaseToken": self.token,
            "state": "PROCESSED",
            "createTime": rfc3339(self.store.clock()),
            "lineItems": [{"productId": self.product, "total": money(price)}],
            "total": money(price),
        }

    @property
    def latest_order(self):
        return self.order if self.renewals < 0 else f"{self.order}..{self.renewals}"

    def document(self):
        """[v2] SubscriptionPurchaseV2"""
        if self.expiry and self.state in ("ACTIVE", "CANCELED", "IN_GRACE_PERIOD") and not self._is_running():
            self.state = "EXPIRED" if self.state == "CANCELED" or not self.renews else self.state
        plan = {"autoRenewEnabled": self.renews, "recurringPrice": money(PRICES[self.product])}
        plan |= {"priceChangeDetails": {"priceChangeState": self.price_change}} if self.price_change else {}
        item = {"productId": self.product, "autoRenewingPlan": plan}
        item["offerDetails"] = {"basePlanId": "monthly"} | ({"offerId": self.offer} if self.offer else {})
        item |= {"expiryTime": rfc3339(self.expiry)} if self.expiry else {}
        item |= {"latestSuccessfulOrderId": self.latest_order} if self.order else {}
        item |= {"offerPhase": {"freeTrial": {}}} if self.trial else {"offerPhase": {"basePrice": {}}}
        item |= {"deferredItemReplacement": {"productId": self.replacement}} if self.replacement else {}
        body = {
            "kind": "androidpublisher#subscriptionPurchaseV2",
            "regionCode": "US",
            "lineItems": [*self.other_items, item],
        }
        body["subscriptionState"] = f"SUBSCRIPTION_STATE_{self.state}"
        acknowledged = "ACKNOWLEDGED" if self.acknowledged else "PENDING"
        body["acknowledgementState"] = f"ACKNOWLEDGEMENT_STATE_{acknowledged}"
        body |= {"startTime": rfc3339(self.started)} if self.started else {}
        body |= {"linkedPurchaseToken": self.linked} if self.linked else {}
        body |= {"testPurchase": {}} if self.test else {}
        body |= {"canceledStateContext": self.canceled} if self.canceled else {}
        body |= {"pausedStateContext": {"autoResumeTime": rfc3339(self.resumes)}} if self.resumes else {}
        body |= {"externalAccountIdentifiers": {"obfuscatedExternalAccountId": self.account}} if self.account else {}
        return body

    def _is_running(self):
        return self.store.clock() < self.expiry

    def complete(self):
        """A pending purchase is paid. [life] its time starts then"""
        return self._start()

    def decline(self):
        self.state, self.renews = "PENDING_PURCHASE_CANCELED", False
        return self.store.notify(PENDING_PURCHASE_CANCELED, self)

    def renew(self):
        """[life] RENEWED; RECOVERED after a hold or a pause, from which the new period counts"""
        was_on_hold = self.state in ("ON_HOLD", "PAUSED")
        late = self.state != "IN_GRACE_PERIOD" and self.store.clock() > self.expiry
        start = self.store.clock() if was_on_hold or late else self.paid_until
        self.state, self.trial, self.resumes, self.renews = "ACTIVE", False, None, True
        self.product, self.replacement = self.replacement or self.product, None
        self.expiry, self.renewals = start + self.period, self.renewals + 1
        self._bill(self.latest_order, PRICES[self.product])
        return self.store.notify(RECOVERED if was_on_hold else RENEWED, self)

    @property
    def paid_until(self):
        return getattr(self, "grace_from", None) or self.expiry

    def fail_to_renew(self, grace):
        """[life] IN_GRACE_PERIOD: the expiry moves to the end of the grace period"""
        self.state, self.grace_from = "IN_GRACE_PERIOD", self.expiry
        self.expiry += grace
        return self.store.notify(IN_GRACE_PERIOD, self)

    def hold(self):
        """[life] ON_HOLD: the expiry is in the past"""
        self.state, self.grace_from = "ON_HOLD", None
        self.expiry = min(self.expiry, self.store.clock())
        return self.store.notify(ON_HOLD, self)

    def cancel(self, by="userInitiatedCancellation"):
        self.state, self.renews = "CANCELED", False
        self.canceled = {by: {"cancelTime": rfc3339(self.store.clock())}}
        return self.store.notify(CANCELED, self)

    def restart(self):
        self.state, self.renews, self.canceled = "ACTIVE", True, None
        return self.store.notify(RESTARTED, self)

    def expire(self):
        self.state, self.renews = "EXPIRED", False
        self.expiry = min(self.expiry, self.store.clock())
        return self.store.notify(EXPIRED, self)

    def revoke(self):
        """[life] REVOKED: refunded and ended at once"""
        self.state, self.renews, self.expiry = "EXPIRED", False, self.store.clock()
        self._refund(self.latest_order)
        return self.store.notify(REVOKED, self)

    def void(self, order=None):
        """[rtdn] voidedPurchaseNotification: charged back or refunded; the purchase's own state stays"""
        order = order or self.latest_order
        self._refund(order)
        voided = {"purchaseToken": self.token, "orderId": order, "productType": 1, "refundType": 1}
        return self.store.notify(voidedPurchaseNotification=voided)

    def _refund(self, order):
        """[orders] orderHistory.refundEvent"""
        refund = {"eventTime": rfc3339(self.store.clock()), "refundReason": "OTHER"}
        self.store.orders[order] |= {"state": "REFUNDED", "orderHistory": {"refundEvent": refund}}

    def refund_partly(self, price):
        """[orders] orderHistory.partialRefundEvents"""
        refund = {"createTime": rfc3339(self.store.clock()), "state": "PROCESSED"}
        refund |= {"processTime": refund["createTime"], "refundDetails": {"total": money(price)}}
        history = {"orderHistory": {"partialRefundEvents": [refund]}}
        self.store.orders[self.latest_order] |= {"state": "PARTIALLY_REFUNDED"} | history
        voided = {"purchaseToken": self.token, "orderId": self.latest_order, "productType": 1, "refundType": 2}
        return self.store.notify(voidedPurchaseNotification=voided)

    def defer(self, days):
        self.expiry += timedelta(days=days)
        return self.store.notify(DEFERRED, self)

    def schedule_pause(self):
        return self.store.notify(PAUSE_SCHEDULE_CHANGED, self)

    def pause(self, days):
        """[life] PAUSED at the end of the period"""
        self.state, self.resumes = "PAUSED", self.store.clock() + timedelta(days=days)
        return self.store.notify(PAUSED, self)

    def change_price(self, state):
        """[v2] priceChangeState: OUTSTANDING, CONFIRMED, APPLIED, CANCELED"""
        self.price_change = state
        return self.store.notify(PRICE_CHANGE_UPDATED, self)

    def replace(self, product, **more):
        """An upgrade: another purchase, whose linkedPurchaseToken is this one's. [v2]"""
        return Purchase(self.store, product, self.account, replaces=self, **more)

    def defer_replacement(self, product):
        self.replacement = product
        return self.store.notify(PRICE_CHANGE_UPDATED, self)

    def forget_unless_acknowledged(self):
        """[ack] a purchase that is not acknowledged within three days is refunded and revoked"""
        if not self.acknowledged and self.store.clock() >= self.started + ACKNOWLEDGE_WITHIN:
            self.revoke()


@contextmanager
def play_store_server(store):
    """Serve the API, the token endpoint and Google's keys; yields the address."""

    class Handler(LocalHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/keys":
                return self._reply(200, store.keys())
            return self._reply(*store.respond("GET", self.path, self.headers.get("Authorization", "")))

        def do_POST(self):
            body = self.read_body().decode()
            if self.path == "/token":
                return self._reply(*store.token(parse_qs(body), server.url))
            return self._reply(*store.respond("POST", self.path, self.headers.get("Authorization", "")))

        def _reply(self, status, document):
            self.respond(status, document, **{"Content-Type": "application/json"})

    with local_server(Handler) as server:
        yield server.url


def use_play_store(app, monkeypatch, address, **more):
    """Make the app one that is sold on Google Play."""
    values = {
        "play_store_package": PACKAGE,
        "play_store_account": service_account(address),
        "play_store_push_account": PUSHER,
        "play_store_push_audience": AUDIENCE,
        "play_store_url": address,
        "play_store_keys_url": f"{address}/keys",
    }
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**values | more))


def push(world, notification, token):
    """Deliver a notification as Pub/Sub pushes it."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return world.operator.client.post("/v1/webhooks/play-store", json=notification, headers=headers)
