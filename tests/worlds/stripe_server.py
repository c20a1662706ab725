"""A local server with the part of Stripe's HTTP API that the service uses: objects, idempotency keys, errors.

Payment methods are named after Stripe's test tokens. The state is in memory; `requests` lists every request.
"""

import threading
from contextlib import contextmanager
from urllib.parse import parse_qsl

from tests.worlds.local_server import LocalHandler, local_server

DECLINES = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
}


class StripeState:
    """The objects, requests and responses of the server."""

    def __init__(self):
        self.lock, self.requests, self.responses = threading.Lock(), [], {}
        self.intents, self.methods, self.refunds, self.counter = {}, {}, {}, 0
        self.setups = {}
        self.lose_replies = 0
        """The number of next responses that are lost after the request was processed."""
        self.failure = None
        """(status, body) of every response instead, if set."""
        self.before_reply = None
        """Called once, after a charge is processed and before its response is sent."""

    def new_id(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter:06d}"

    def handle_request(self, method, path, params, key):
        """Return (status, body); a repeated idempotency key gets the first response again."""
        if self.failure:
            return self.failure
        with self.lock:
            self.requests.append((method, path, params, key))
            if key and (path, key) in self.responses:
                return self.responses[path, key]
            response = self.process(method, path.strip("/").split("/")[1:], params)
            if key:
                self.responses[path, key] = response
            return response

    def process(self, method, path, params):
        """Process one request and return (status, body)."""
        match (method, *path):
            case ("POST", "customers"):
                return 200, {"id": self.new_id("cus"), "object": "customer"}
            case ("POST", "setup_intents") if "payment_method_types[0]" in params:  # not since 2026-09-30.endive
                return 400, {
                    "error": {"type": "invalid_request_error", "code": "payment_method_types_no_longer_supported"}
                }
            case ("POST", "setup_intents"):
                return self.create_setup(params)
            case ("GET", "setup_intents", name) if name in self.setups:
                return 200, self.setups[name]
            case ("POST", "payment_methods", token, "attach"):
                return self.attach(token, params)
            case ("POST", "payment_methods", name, "detach"):
                return 200, {"id": name, "object": "payment_method", "type": "card"}
            case ("POST", "payment_intents") if may_redirect(params):
                return error_response(400, "invalid_request_error", param="return_url")
            case ("POST", "payment_intents"):
                return self.charge(params)
            case ("GET", "payment_intents", "search"):
                payment_id = params["query"].split("'")[3]
                intents = [i for i in self.intents.values() if i["metadata"]["payment_id"] == payment_id]
                return 200, {"object": "search_result", "data": intents, "has_more": False}
            case ("GET", "refunds"):
                refunds = [r for r in self.refunds.values() if r["payment_intent"] == params["payment_intent"]]
                return 200, {"object": "list", "data": refunds, "has_more": False}
            case ("GET", "payment_intents", name):
                return 200, self.intents[name]
            case ("POST", "refunds"):
                body = {
                    "id": self.new_id("re"),
                    "object": "refund",
                    "status": "succeeded",
                    "amount": int(params["amount"]),
                    "payment_intent": params["payment_intent"],
                    "metadata": {"refund_id": params["metadata[refund_id]"]},
                }
                self.refunds[body["id"]] = body
                return 200, body
        return error_response(404, "invalid_request_error", code="resource_missing")

    def create_setup(self, params):
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
        return 200, self.setups[name]

    def confirm_setup(self, name, token="pm_card_visa", status="succeeded"):
        """Confirm a setup with the card of a test token, as Stripe.js does in the browser."""
        setup = self.setups[name]
        decline = DECLINES.get(token)
        if decline:
            setup["last_setup_error"] = {"code": "card_declined", "decline_code": decline, "type": "card_error"}
            return setup
        setup["status"] = status
        if status == "succeeded":
            setup["payment_method"] = self.attach(token, {"customer": setup["customer"]})[1]
        return setup

    def attach(self, token, params):
        if not token.startswith("pm_card_"):
            return error_response(400, "invalid_request_error", code="resource_missing")
        name = self.new_id("pm")
        self.methods[name] = token
        card = {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2030, "fingerprint": "f" + name}
        body = {"id": name, "object": "payment_method", "type": "card", "card": card, "customer": params["customer"]}
        return 200, body

    def charge(self, params):
        token, name = self.methods[params["payment_method"]], self.new_id("pi")
        intent = {
            "id": name,
            "object": "payment_intent",
            "amount": int(params["amount"]),
            "currency": params["currency"],
            "status": "succeeded",
            "client_secret": f"{name}_secret_1",
            "last_payment_error": None,
            "metadata": {"payment_id": params["metadata[payment_id]"]},
        }
        self.intents[intent["id"]] = intent
        decline = DECLINES.get(token)
        if token == "pm_card_authenticationRequired":
            if "off_session" not in params:
                intent["status"] = "requires_action"
                return 200, intent
            decline = "authentication_required"
        if decline is None:
            return 200, intent
        intent["status"] = "requires_payment_method"
        error = {"code": "card_declined", "decline_code": decline, "type": "card_error"}
        intent["last_payment_error"] = error
        return error_response(402, "card_error", code="card_declined", decline_code=decline, payment_intent=intent)

    def charged_amounts(self):
        """Return the amounts of the successful charges."""
        return [intent["amount"] for intent in self.intents.values() if intent["status"] == "succeeded"]


def may_redirect(params):
    """Whether a payment confirmed on the page might redirect the customer, without saying where to return.

    Since API version 2023-08-16, methods come from the Dashboard unless they are named, and some of them redirect.
    Stripe then requires a `return_url`, for a payment with the customer present.
    """
    is_named = "allowed_payment_method_types[0]" in params or "return_url" in params
    is_confirmed_on_session = params.get("confirm") == "true" and "off_session" not in params
    never = params.get("automatic_payment_methods[allow_redirects]") == "never"
    return is_confirmed_on_session and not (is_named or never)


def error_response(status, kind, **details):
    """Return (status, body) of an error."""
    return status, {"error": {"type": kind, "message": kind, **details}}


@contextmanager
def stripe_server():
    """Run the server on a free port; yields (address, state)."""
    state = StripeState()

    class Stripe(LocalHandler):
        def handle_call(self):
            path, _, query = self.path.partition("?")
            params = dict(parse_qsl(self.read_body().decode() or query))
            status, body = state.handle_request(self.command, path, params, self.headers.get("Idempotency-Key"))
            if state.before_reply and path == "/v1/payment_intents":
                callback, state.before_reply = state.before_reply, None
                callback()
            if state.lose_replies and path in ("/v1/payment_intents", "/v1/refunds"):
                state.lose_replies -= 1
                self.connection.close()
                return
            self.respond(status, body, **{"Content-Type": "application/json"})

        do_GET = do_POST = handle_call

    with local_server(Stripe) as server:
        yield server.url, state
