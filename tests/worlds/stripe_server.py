"""A local server with the part of Stripe's HTTP API that the service uses: objects, states, idempotency keys, errors.

It refuses what Stripe refuses, by the rules of `stripe_rules.py`. Payment methods are named after Stripe's test tokens.
The state is in memory; `requests` lists every request.
"""

import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qsl

from tests.worlds import stripe_rules as rules
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.stripe_rules import Refused, error_response, refuse

__all__ = ["StripeState", "error_response", "stripe_server"]
SECRET_KEY = "sk_test_1"
CARDS = {
    # token: last four digits, decline code
    "pm_card_visa": ("4242", None),
    "pm_card_chargeDeclined": ("0002", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": ("9995", "insufficient_funds"),
    "pm_card_chargeCustomerFail": ("0341", "generic_decline"),
    "pm_card_authenticationRequired": ("3184", "authentication_required"),
}
NOT_FOUND = (404, "invalid_request_error")


class StripeState:
    """The objects, requests and responses of the server."""

    def __init__(self):
        self.lock, self.requests, self.responses = threading.Lock(), [], {}
        self.customers, self.intents, self.methods, self.refunds, self.counter = {}, {}, {}, {}, 0
        self.setups = {}
        self.disputed = set()
        """The ids of PaymentIntents whose charge is disputed."""
        self.minimums = dict(rules.MINIMUM_MINOR)
        """The smallest charge by currency."""
        self.versions = set()
        """The API versions that requests asked for."""
        self.lose_replies = 0
        """The number of next responses that are lost after the request was processed."""
        self.failure = None
        """(status, body) of every response instead, if set."""
        self.failing_path = ""
        """How the paths begin of the requests that fail then."""
        self.before_reply = None
        """Called once, after a charge is processed and before its response is sent."""
        self.in_progress = set()
        """The idempotency keys of requests that are still being processed."""

    def new_id(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter:06d}"

    def handle_request(self, method, path, params, key, api_key=SECRET_KEY):
        """Return (status, body); a repeated idempotency key gets the first response again."""
        if self.failure and path.startswith(self.failing_path):
            return self.failure
        with self.lock:
            self.requests.append((method, path, params, key))
            if api_key != SECRET_KEY:  # https://docs.stripe.com/api/errors: 401, no valid API key provided
                return error_response(401, "invalid_request_error")
            try:
                return self.respond_once(method, path, params, key)
            except Refused as refused:
                return refused.response

    def respond_once(self, method, path, params, key):
        """Return the response, and keep it for the idempotency key unless the parameters are refused.

        [idempotency] The first response is repeated, whatever it is, if the parameters are the same.
        """
        if key in self.in_progress:
            raise Refused(409, "idempotency_error", code="idempotency_key_in_use")
        if key and key in self.responses:
            request, response = self.responses[key]
            if request != (path, params):
                raise Refused(400, "idempotency_error")
            return response
        endpoint = rules.endpoint_of(method, path)
        if endpoint is None:
            raise Refused(404, "invalid_request_error")
        rules.check_parameters(endpoint, params)
        response = self.process(method, path.strip("/").split("/")[1:], params)
        if key:
            self.responses[key] = ((path, params), response)
        return response

    def process(self, method, path, params):
        """Process one request and return (status, body). Raises Refused."""
        match (method, *path):
            case ("POST", "customers"):
                return 200, self.create_customer(params)
            case ("POST", "customers", name):
                self.find_customer(name, param="id").update(params)
                return 200, self.customers[name]
            case ("DELETE", "customers", name):
                self.delete_customer(name)
                return 200, {"id": name, "object": "customer", "deleted": True}
            case ("POST", "setup_intents"):
                return 200, self.create_setup(params)
            case ("GET", "setup_intents", name):
                if name not in self.setups:
                    raise Refused(*NOT_FOUND, code="resource_missing", param="intent")
                return 200, self.setups[name]
            case ("GET", "payment_methods", name):
                return 200, self.find_method(name)
            case ("POST", "payment_methods", name, "attach"):
                return 200, self.attach(name, params)
            case ("POST", "payment_methods", name, "detach"):
                return 200, self.detach(name)
            case ("POST", "payment_intents"):
                return self.charge(params)
            case ("GET", "payment_intents"):
                return 200, self.list_objects(self.intents, params, "customer")
            case ("GET", "payment_intents", name):
                return 200, self.find_intent(name)
            case ("POST", "payment_intents", name, "cancel"):
                return 200, self.cancel(self.find_intent(name), params)
            case ("POST", "payment_intents", name, "confirm"):
                rules.check_confirmation(self.find_intent(name))
                return self.confirm(self.find_intent(name), params)
            case ("POST", "payment_intents", name, "capture"):
                rules.check_capture(self.find_intent(name))
            case ("POST", "refunds"):
                return 200, self.refund(params)
            case ("GET", "refunds"):
                return 200, self.list_objects(self.refunds, params, "payment_intent")
        raise Refused(404, "invalid_request_error")

    def create_customer(self, params):
        name = self.new_id("cus")
        self.customers[name] = {"id": name, "object": "customer", "email": params.get("email")}
        return self.customers[name]

    def delete_customer(self, name):
        self.find_customer(name, param="id")
        del self.customers[name]
        for method in self.methods.values():
            if method["customer"] == name:
                method["customer"], method["used"] = None, True

    def find_customer(self, name, param="customer"):
        if name not in self.customers:
            raise Refused(404 if param == "id" else 400, "invalid_request_error", code="resource_missing", param=param)
        return self.customers[name]

    def find_method(self, name):
        """Return a method; a test token is a new card each time."""
        if name in CARDS:
            return self.create_method(name)
        if name not in self.methods:
            raise Refused(*NOT_FOUND, code="resource_missing", param="payment_method")
        return self.methods[name]

    def create_setup(self, params):
        self.find_customer(params.get("customer"))
        rules.check_method_types(params)
        name = self.new_id("seti")
        self.setups[name] = {
            "id": name,
            "object": "setup_intent",
            "client_secret": f"{name}_secret_1",
            "customer": params["customer"],
            "usage": params["usage"],
            "status": "requires_payment_method",
            "payment_method": None,
            "last_setup_error": None,
            "metadata": {"account_id": params["metadata[account_id]"]} if "metadata[account_id]" in params else {},
        }
        return self.setups[name]

    def confirm_setup(self, name, token="pm_card_visa", status="succeeded"):
        """Confirm a setup with the card of a test token, as Stripe.js does in the browser."""
        setup, decline = self.setups[name], CARDS[token][1]
        if decline and decline != "authentication_required":
            setup["last_setup_error"] = {"code": "card_declined", "decline_code": decline, "type": "card_error"}
            return setup
        setup["status"] = status
        if status == "succeeded":
            setup["payment_method"] = self.attach(token, {"customer": setup["customer"]})
        return setup

    def create_method(self, token):
        name = self.new_id("pm")
        card = {"brand": "visa", "last4": CARDS[token][0], "exp_month": 1, "exp_year": 2030}
        body = {"id": name, "object": "payment_method", "type": "card", "customer": None, "token": token}
        self.methods[name] = body | {"card": card | {"fingerprint": "f" + name}, "used": False}
        return self.methods[name]

    def attach(self, name, params):
        method = self.find_method(name)
        self.find_customer(params.get("customer"))
        self.require_unused(method)
        if method["customer"] not in (None, params["customer"]):  # attached to another customer
            refuse(None, "payment_method")
        method["customer"] = params["customer"]
        return method

    def require_unused(self, method):
        """[spec] POST …/detach: a detached or once used method "can no longer be used for a payment or re-attached"."""
        if method["customer"] is None and method["used"]:
            refuse(None, "payment_method")

    def detach(self, name):
        method = self.find_method(name)
        if method["customer"] is None:  # [spec] it must be attached
            refuse(None, "payment_method")
        method["customer"], method["used"] = None, True
        return method

    def charge(self, params):
        rules.check_amount(params, self.minimums)
        rules.check_intent_options(params)
        customer = params.get("customer")
        if customer:
            self.find_customer(customer)
        name = self.new_id("pi")
        intent = {
            "id": name,
            "object": "payment_intent",
            "amount": int(params["amount"]),
            "currency": params["currency"],
            "customer": customer,
            "description": params.get("description"),
            "status": "requires_payment_method",
            "client_secret": f"{name}_secret_1",
            "payment_method": params.get("payment_method"),
            "last_payment_error": None,
            "cancellation_reason": None,
            "metadata": {key[9:-1]: value for key, value in params.items() if key.startswith("metadata[")},
            "created": int(time.time()),
        }
        if params.get("confirm") != "true":
            self.intents[intent["id"]] = intent
            return 200, intent
        return self.confirm(intent, params)

    def confirm(self, intent, params):
        """Charge the method; on session, the bank may ask for the customer's authentication."""
        method = self.find_method(params.get("payment_method", ""))
        self.require_unused(method)
        if method["customer"] != intent["customer"]:  # [spec] "attached to other Customers cannot be used"
            refuse("resource_missing", "payment_method")
        self.intents[intent["id"]] = intent
        intent["payment_method"] = method["id"]
        method["used"], decline = True, CARDS[method["token"]][1]
        if decline == "authentication_required" and "off_session" not in params:
            intent["status"] = "requires_action"
            return 200, intent
        if decline is None:
            intent["status"] = "succeeded"
            return 200, intent
        intent["status"] = "requires_payment_method"
        error = {"code": "card_declined", "decline_code": decline, "type": "card_error"}
        intent["last_payment_error"] = error
        return error_response(402, "card_error", code="card_declined", decline_code=decline, payment_intent=intent)

    def find_intent(self, name):
        if name not in self.intents:
            raise Refused(*NOT_FOUND, code="resource_missing", param="intent")
        return self.intents[name]

    def cancel(self, intent, params):
        rules.check_cancellation(intent, params)
        intent["status"], intent["cancellation_reason"] = "canceled", params.get("cancellation_reason")
        return intent

    def authenticate(self, intent, approve=True):
        """The payer finishes a PaymentIntent in the browser; returns whether Stripe let them."""
        if intent["status"] != "requires_action":
            return False
        intent["status"] = "succeeded" if approve else "requires_payment_method"
        if not approve:
            intent["last_payment_error"] = {"code": "payment_intent_authentication_failure", "type": "card_error"}
        return True

    def refund(self, params):
        """Refund a payment; without metadata as in the Dashboard."""
        intent = self.find_intent(params["payment_intent"])
        amounts = [
            r["amount"]
            for r in self.refunds.values()
            if r["status"] not in ("failed", "canceled") and r["payment_intent"] == intent["id"]
        ]
        left = intent["amount"] - sum(amounts)
        amount = int(params.get("amount", left))
        rules.check_refund(intent, amount, sum(amounts), intent["id"] in self.disputed)
        refund = {"id": self.new_id("re"), "object": "refund", "status": "succeeded", "amount": amount}
        refund |= {"payment_intent": intent["id"], "currency": intent["currency"], "created": int(time.time())}
        refund["metadata"] = {key[9:-1]: value for key, value in params.items() if key.startswith("metadata[")}
        self.refunds[refund["id"]] = refund
        return refund

    def list_objects(self, objects, params, owner):
        """Return a page of the objects of an owner, or created since [spec: `created.gte`], newest first."""
        since = int(params.get("created[gte]", 0))
        matching = [item for item in reversed(objects.values()) if item[owner] == params.get(owner, item[owner])]
        matching = [item for item in matching if item["created"] >= since]
        after = params.get("starting_after")
        if after:
            matching = matching[[item["id"] for item in matching].index(after) + 1 :]
        page = matching[: int(params.get("limit", 10))]
        return {"object": "list", "url": "/v1", "data": page, "has_more": len(page) < len(matching)}

    def charged_amounts(self):
        """Return the amounts of the successful charges."""
        return [intent["amount"] for intent in self.intents.values() if intent["status"] == "succeeded"]


@contextmanager
def stripe_server():
    """Run the server on a free port; yields (address, state)."""
    state = StripeState()

    class Stripe(LocalHandler):
        def handle_call(self):
            path, _, query = self.path.partition("?")
            params = dict(parse_qsl(self.read_body().decode() or query, keep_blank_values=True))
            state.versions.add(self.headers.get("Stripe-Version"))
            api_key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            key = self.headers.get("Idempotency-Key")
            status, body = state.handle_request(self.command, path, params, key, api_key)
            is_charge = self.command == "POST" and path == "/v1/payment_intents"
            if state.before_reply and is_charge:
                callback, state.before_reply = state.before_reply, None
                callback()
            if state.lose_replies and (is_charge or (self.command, path) == ("POST", "/v1/refunds")):
                state.lose_replies -= 1
                self.connection.close()
                return
            self.respond(status, body, **{"Content-Type": "application/json"})

        do_GET = do_POST = do_DELETE = handle_call

    with local_server(Stripe) as server:
        yield server.url, state
