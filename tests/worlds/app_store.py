"""A local App Store: its customers, what happens to their subscriptions, its notifications, and its Server API.

Each rule that it keeps has its source beside it, at https://developer.apple.com/documentation/ (read 2026-11):
[status] appstoreserverapi/get-all-subscription-statuses, [history] appstoreserverapi/get-transaction-history,
[token] appstoreserverapi/generating-json-web-tokens-for-api-requests, [errors] appstoreserverapi/error-codes,
[types] appstoreservernotifications/notificationtype, [tx] appstoreserverapi/jwstransactiondecodedpayload,
[renewal] appstoreserverapi/jwsrenewalinfodecodedpayload, [revoke] appstoreservernotifications/revocationtype,
[revision] appstoreserverapi/revision.
"""

import itertools
import json
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import jwt

from tests.worlds.app_store_keys import api_key, test_chain
from tests.worlds.local_server import LocalHandler, local_server

BUNDLE_ID, APP_ID, ISSUER_ID, KEY_ID = (
    "com.example.video",
    1234567890,
    "57246542-96fe-1a63-e053-0824d011072a",
    "2X9R4HXF34",
)
ACTIVE, EXPIRED, BILLING_RETRY, GRACE, REVOKED = 1, 2, 3, 4, 5
MONTH = timedelta(days=30)
PRICES = {"basic.monthly": 4990, "premium.monthly": 9990, "standard.monthly": 7990, "premium.yearly": 99990}
"""In thousandths of the currency. [tx] price"""
PAGE = 20
"""[history] up to 20 transactions per response"""


def milliseconds(moment):
    return None if moment is None else int(moment.timestamp() * 1000)


class AppStore:
    """The store: `subscriptions` by original transaction id. `failure`: (status, body) of every response, if set.

    `era`: the store no longer accepts a revision of the history that it has given in another one. `served`: the ids of
    the transactions of each history that was returned.
    """

    def __init__(self, clock, chain=None, environment="Production"):
        self.clock, self.chain, self.environment = clock, chain or test_chain(), environment
        self.subscriptions, self.notifications, self.requests, self.failure = {}, [], [], None
        self.numbers, self.changes, self.era = itertools.count(2_000_000_000), itertools.count(1), "a"
        self.before_reply, self.served = None, []

    def clear(self):
        """Forget all customers, and what was asked and notified."""
        for each in (self.subscriptions, self.notifications, self.requests, self.served):
            each.clear()

    def buy(self, product, account=None, **more):
        return Subscription(self, product, account, **more)

    def notify(self, kind, subtype=None, subscription=None, transaction=None):
        """Make a notification, which the test delivers or loses."""
        body = {"notificationType": kind, "notificationUUID": str(uuid.uuid4()), "version": "2.0"}
        body |= {"subtype": subtype} if subtype else {}
        body["signedDate"] = milliseconds(self.clock())
        body["data"] = {"bundleId": BUNDLE_ID, "bundleVersion": "1", "environment": self.environment}
        if self.environment == "Production":  # [types] appAppleId: only in production
            body["data"]["appAppleId"] = APP_ID
        if subscription is not None:
            body["data"] |= {
                "signedTransactionInfo": subscription.sign_transaction(transaction),
                "signedRenewalInfo": self.chain.sign(subscription.renewal_info()),
                "status": subscription.status,
            }
        self.notifications.append(body)
        return body

    def respond(self, method, path, query, authorization):
        """(status, document) of a request."""
        self.requests.append((method, path))
        if self.failure:
            return self.failure
        if not self._is_authorized(authorization):
            return 401, b"Unauthenticated\n"
        kind, _, transaction_id = path.rpartition("/")
        if not transaction_id.isdigit():
            return error(400, 4000006, "Invalid transaction id.")
        subscription = self._find(transaction_id)
        if subscription is None:
            return error(404, 4040010, "Transaction id not found.")
        if method == "GET" and kind == "/inApps/v1/subscriptions":
            return 200, self._statuses(subscription)
        if method == "GET" and kind == "/inApps/v2/history":
            return self._history(subscription, query)
        return 404, b""

    def _is_authorized(self, authorization):
        """[token] ES256, the key's id, the issuer, the audience, the app's bundle id, an end within an hour."""
        try:
            token = authorization.removeprefix("Bearer ")
            claims = jwt.decode(
                token, api_key()[1], algorithms=["ES256"], audience="appstoreconnect-v1", issuer=ISSUER_ID
            )
            is_short = claims["exp"] - time.time() <= 3600
            return is_short and claims["bid"] == BUNDLE_ID and jwt.get_unverified_header(token)["kid"] == KEY_ID
        except (jwt.PyJWTError, KeyError):
            return False

    def _find(self, transaction_id):
        """[status] any transaction id that belongs to the customer"""
        for subscription in self.subscriptions.values():
            if transaction_id in [each["transactionId"] for each in subscription.transactions]:
                return subscription
        return self.subscriptions.get(transaction_id)

    def _statuses(self, subscription):
        items = [
            {
                "originalTransactionId": each.id,
                "status": each.status,
                "signedTransactionInfo": each.sign_transaction(),
                "signedRenewalInfo": self.chain.sign(each.renewal_info()),
            }
            for each in self.subscriptions.values()
            if each.customer == subscription.customer
        ]
        group = {"subscriptionGroupIdentifier": "20000001", "lastTransactions": items}
        return {"environment": self.environment, "bundleId": BUNDLE_ID, "appAppleId": APP_ID, "data": [group]}

    def _history(self, subscription, query):
        """[history] sorted by the last change; [revision] in ascending order, a later request can go on from there"""
        era, _, since = query.get("revision", [f"{self.era}.0"])[0].partition(".")
        if era != self.era or query.get("sort") != ["ASCENDING"]:
            return error(400, 4000005, "Invalid request revision.")
        changed = sorted(
            (transaction["changed"], each, transaction)
            for each in self.subscriptions.values()
            if each.customer == subscription.customer
            for transaction in each.transactions
            if transaction["changed"] > int(since)
        )
        page = changed[:PAGE]
        self.served.append([transaction["transactionId"] for _, _, transaction in page])
        return 200, {
            "revision": f"{era}.{page[-1][0] if page else since}",
            "hasMore": len(page) < len(changed),
            "bundleId": BUNDLE_ID,
            "environment": self.environment,
            "signedTransactions": [each.sign_transaction(transaction) for _, each, transaction in page],
        }


def error(status, code, message):
    """[errors] {errorCode, errorMessage}"""
    return status, {"errorCode": code, "errorMessage": message}


class Subscription:
    """One subscription of one Apple ID, with a method for each thing that happens to it; each makes a notification."""

    def __init__(self, store, product, account, period=MONTH, trial=None, offer=None, shared=False, customer=None):
        self.store, self.product, self.next_product, self.account = store, product, product, account
        self.id, self.customer = str(next(store.numbers)), customer or uuid.uuid4().hex
        self.transactions, self.period, self.shared = [], period, shared
        self.renews, self.grace_until, self.in_retry, self.revoked, self.intent = True, None, False, False, None
        self.price_consent = None
        store.subscriptions[self.id] = self
        self._charge(product, trial or period, is_trial=bool(trial), offer=offer, transaction_id=self.id)
        if offer:
            store.notify("OFFER_REDEEMED", "INITIAL_BUY", self)
        else:
            store.notify("SUBSCRIBED", "INITIAL_BUY", self)

    @property
    def last(self):
        return self.transactions[-1]

    @property
    def expires(self):
        return self.last["expires"]

    @property
    def status(self):
        """[status] 1 active, 2 expired, 3 billing retry, 4 billing grace period, 5 revoked"""
        if self.revoked:
            return REVOKED
        now = self.store.clock()
        if self.in_retry:
            return GRACE if self.grace_until and now < self.grace_until else BILLING_RETRY
        return EXPIRED if self.intent or (now >= self.expires and not self.renews) else ACTIVE

    def _charge(self, product, period, is_trial=False, offer=None, transaction_id=None, starts=None):
        now = self.store.clock()
        starts = starts or now
        self.transactions.append(
            {
                "transactionId": transaction_id or str(next(self.store.numbers)),
                "productId": product,
                "starts": starts,
                "expires": starts + period,
                "price": 0 if is_trial else PRICES[product],
                "is_trial": is_trial,
                "offer": offer,
                "reason": "PURCHASE" if not self.transactions else "RENEWAL",
                "changed": next(self.store.changes),
            }
        )
        self.product = product

    def _change(self, transaction, **values):
        transaction |= values | {"changed": next(self.store.changes)}

    def transaction_info(self, transaction=None):
        """[tx]"""
        each = transaction or self.last
        first = self.transactions[0]
        info = {
            "transactionId": each["transactionId"],
            "originalTransactionId": self.id,
            "webOrderLineItemId": each["transactionId"] + "1",
            "bundleId": BUNDLE_ID,
            "productId": each["productId"],
            "subscriptionGroupIdentifier": "20000001",
            "purchaseDate": milliseconds(each["starts"]),
            "originalPurchaseDate": milliseconds(first["starts"]),
            "expiresDate": milliseconds(each["expires"]),
            "quantity": 1,
            "type": "Auto-Renewable Subscription",
            "inAppOwnershipType": "FAMILY_SHARED" if self.shared else "PURCHASED",
            "signedDate": milliseconds(self.store.clock()),
            "environment": self.store.environment,
            "transactionReason": each["reason"],
            "storefront": "USA",
            "storefrontId": "143441",
            "price": each["price"],
            "currency": "USD",
        }
        info |= {"appAccountToken": self.account} if self.account and not self.shared else {}
        info |= {"offerType": 1, "offerDiscountType": "FREE_TRIAL"} if each["is_trial"] else {}
        info |= {"offerType": 3, "offerIdentifier": each["offer"]} if each["offer"] else {}
        info |= {"isUpgraded": True} if each.get("upgraded") else {}
        if each.get("revoked_at"):
            info |= {"revocationDate": milliseconds(each["revoked_at"]), "revocationReason": 0}
            info |= {"revocationType": each["revocation_type"]}
            info |= {"revocationPercentage": each["percentage"]} if each["percentage"] else {}
        return info

    def sign_transaction(self, transaction=None):
        return self.store.chain.sign(self.transaction_info(transaction))

    def renewal_info(self):
        """[renewal]"""
        info = {
            "originalTransactionId": self.id,
            "autoRenewProductId": self.next_product,
            "productId": self.product,
            "autoRenewStatus": int(self.renews),
            "isInBillingRetryPeriod": self.status == BILLING_RETRY,
            "signedDate": milliseconds(self.store.clock()),
            "environment": self.store.environment,
            "recentSubscriptionStartDate": milliseconds(self.transactions[0]["starts"]),
            "renewalDate": milliseconds(self.expires),
        }
        if self.in_retry and self.grace_until:
            info["gracePeriodExpiresDate"] = milliseconds(self.grace_until)
        info |= {"priceIncreaseStatus": self.price_consent} if self.price_consent is not None else {}
        info |= {"expirationIntent": self.intent} if self.intent else {}
        return info

    def renew(self, notify=True):
        """[types] DID_RENEW; BILLING_RECOVERY after a billing retry, from whose end the period then counts"""
        recovered, late = self.in_retry, self.store.clock() > self.expires and not self._is_in_grace()
        self.in_retry, grace, self.grace_until = False, self.grace_until, None
        starts = self.store.clock() if late else self.expires
        self._charge(self.next_product, self.period, starts=starts)
        return self.store.notify("DID_RENEW", "BILLING_RECOVERY" if recovered else None, self) if notify else grace

    def _is_in_grace(self):
        return self.in_retry and self.grace_until is not None and self.store.clock() < self.grace_until

    def fail_to_renew(self, grace=None):
        """[types] DID_FAIL_TO_RENEW; GRACE_PERIOD if the app has a billing grace period"""
        self.in_retry, self.grace_until = True, self.expires + grace if grace else None
        return self.store.notify("DID_FAIL_TO_RENEW", "GRACE_PERIOD" if grace else None, self)

    def end_grace(self):
        return self.store.notify("GRACE_PERIOD_EXPIRED", None, self)

    def give_up(self):
        """[types] EXPIRED/BILLING_RETRY: 60 days after the failure"""
        self.in_retry, self.renews, self.intent = False, False, 2
        return self.store.notify("EXPIRED", "BILLING_RETRY", self)

    def cancel(self):
        self.renews = False
        return self.store.notify("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED", self)

    def uncancel(self):
        self.renews = True
        return self.store.notify("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED", self)

    def expire(self, intent=1):
        """[types] EXPIRED/VOLUNTARY, PRICE_INCREASE (3) or PRODUCT_NOT_FOR_SALE (4)"""
        self.renews, self.intent = False, intent
        subtype = {1: "VOLUNTARY", 3: "PRICE_INCREASE", 4: "PRODUCT_NOT_FOR_SALE"}[intent]
        return self.store.notify("EXPIRED", subtype, self)

    def resubscribe(self, product=None):
        """[types] SUBSCRIBED/RESUBSCRIBE, under the same original transaction id"""
        self.intent, self.revoked, self.renews, self.in_retry = None, False, True, False
        self.next_product = product or self.product
        self._charge(self.next_product, self.period)
        self.transactions[-1]["reason"] = "PURCHASE"
        return self.store.notify("SUBSCRIBED", "RESUBSCRIBE", self)

    def upgrade(self, product):
        """[types] DID_CHANGE_RENEWAL_PREF/UPGRADE: at once, and the rest of the former period is refunded"""
        self._change(self.last, upgraded=True)
        self.next_product = product
        self._charge(product, self.period)
        self.transactions[-1]["reason"] = "PURCHASE"
        return self.store.notify("DID_CHANGE_RENEWAL_PREF", "UPGRADE", self)

    def downgrade(self, product):
        """[types] DID_CHANGE_RENEWAL_PREF/DOWNGRADE: with the next renewal, as a crossgrade of another duration"""
        self.next_product = product
        return self.store.notify("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE", self)

    def redeem_offer(self, offer, product=None):
        """[types] OFFER_REDEEMED, for a subscription that is active"""
        self._charge(product or self.product, self.period, offer=offer, starts=self.expires)
        return self.store.notify("OFFER_REDEEMED", None, self)

    def raise_price(self, consent=0):
        """[types] PRICE_INCREASE/PENDING or ACCEPTED"""
        self.price_consent = consent
        return self.store.notify("PRICE_INCREASE", "ACCEPTED" if consent else "PENDING", self)

    def extend(self, days):
        """[types] RENEWAL_EXTENDED"""
        self._change(self.last, expires=self.expires + timedelta(days=days))
        return self.store.notify("RENEWAL_EXTENDED", None, self)

    def refund(self, index=-1, percentage=None):
        """[types] REFUND; [revoke] a refund of the latest transaction ends the subscription, a prorated one too"""
        each = self.transactions[index]
        kind = "REFUND_PRORATED" if percentage else "REFUND_FULL"
        self._change(each, revoked_at=self.store.clock(), percentage=percentage, revocation_type=kind)
        if each is self.last:
            self.revoked, self.renews = True, False
        return self.store.notify("REFUND", None, self, each)

    def decline_refund(self):
        return self.store.notify("REFUND_DECLINED", None, self)

    def reverse_refund(self, index=-1):
        each = self.transactions[index]
        self._change(each, revoked_at=None)
        self.revoked = False
        return self.store.notify("REFUND_REVERSED", None, self, each)

    def revoke_sharing(self):
        """[types] REVOKE: a family member no longer shares it"""
        now = self.store.clock()
        self._change(self.last, revoked_at=now, revocation_type="FAMILY_REVOKE", percentage=None)
        self.revoked, self.renews = True, False
        return self.store.notify("REVOKE", None, self)


@contextmanager
def app_store_server(store):
    """Serve the App Store Server API of this store; yields its address."""

    class Handler(LocalHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            status, document = store.respond("GET", url.path, query, self.headers.get("Authorization", ""))
            is_json = not isinstance(document, bytes)
            if store.before_reply:
                act, store.before_reply = store.before_reply, None
                act()
            body = json.dumps(document).encode() if is_json else document
            self.respond(status, body, **{"Content-Type": "application/json" if is_json else "text/plain"})

    with local_server(Handler) as server:
        yield server.url


def use_app_store(app, monkeypatch, address, folder, **more):
    """Make the app one that is sold in this store."""
    values = {
        "app_store_bundle_id": BUNDLE_ID,
        "app_store_app_id": APP_ID,
        "app_store_issuer_id": ISSUER_ID,
        "app_store_key_id": KEY_ID,
        "app_store_key": api_key()[0],
        "app_store_root": test_chain().write_root(folder),
        "app_store_online_checks": False,
        "app_store_url": address,
    }
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**values | more))


def deliver(world, notification, chain=None):
    """Deliver a notification as Apple does: one POST with the signed payload."""
    signed = notification if isinstance(notification, str) else (chain or test_chain()).sign(notification)
    return world.operator.client.post("/v1/webhooks/app-store", json={"signedPayload": signed})
