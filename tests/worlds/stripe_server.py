"""A local server that speaks as much of Stripe's HTTP interface as we use: its shapes, its keys, its refusals.

Methods are named after Stripe's own test tokens. State is in memory; every request that came is kept in `requests`.
"""

import threading
from contextlib import contextmanager
from urllib.parse import parse_qsl

from tests.worlds.local_server import LocalHandler, local_server

DECLINES = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
}


class State:
    def __init__(self):
        self.lock, self.requests, self.answers = threading.Lock(), [], {}
        self.intents, self.methods, self.refunds, self.counter = {}, {}, {}, 0
        self.lose_replies = 0
        """How many of the answers to come are cut off after the request was carried out."""
        self.before_reply = None
        """Called once, between carrying out a charge and telling how it went."""

    def new_id(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter:06d}"

    def answer(self, method, path, params, key):
        """(status, body), the same again for the same key."""
        with self.lock:
            self.requests.append((method, path, params, key))
            if key and (path, key) in self.answers:
                return self.answers[path, key]
            answered = self.act(method, path.strip("/").split("/")[1:], params)
            if key:
                self.answers[path, key] = answered
            return answered

    def act(self, method, path, params):
        match (method, *path):
            case ("POST", "customers"):
                return 200, {"id": self.new_id("cus"), "object": "customer"}
            case ("POST", "setup_intents"):
                return 200, {"id": self.new_id("seti"), "object": "setup_intent", "client_secret": "seti_secret"}
            case ("POST", "payment_methods", token, "attach"):
                return self.attach(token, params)
            case ("POST", "payment_methods", name, "detach"):
                return 200, {"id": name, "object": "payment_method", "type": "card"}
            case ("POST", "payment_intents"):
                return self.charge(params)
            case ("GET", "payment_intents", "search"):
                own_id = params["query"].split("'")[3]
                found = [one for one in self.intents.values() if one["metadata"]["payment_id"] == own_id]
                return 200, {"object": "search_result", "data": found, "has_more": False}
            case ("GET", "refunds"):
                found = [one for one in self.refunds.values() if one["payment_intent"] == params["payment_intent"]]
                return 200, {"object": "list", "data": found, "has_more": False}
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
        return refusal(404, "invalid_request_error", code="resource_missing")

    def attach(self, token, params):
        if not token.startswith("pm_card_"):
            return refusal(400, "invalid_request_error", code="resource_missing")
        name = self.new_id("pm")
        self.methods[name] = token
        card = {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2030, "fingerprint": "f" + name}
        body = {"id": name, "object": "payment_method", "type": "card", "card": card, "customer": params["customer"]}
        return 200, body

    def charge(self, params):
        token = self.methods[params["payment_method"]]
        intent = {
            "id": self.new_id("pi"),
            "object": "payment_intent",
            "amount": int(params["amount"]),
            "currency": params["currency"],
            "status": "succeeded",
            "client_secret": "secret",
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
        return refusal(402, "card_error", code="card_declined", decline_code=decline, payment_intent=intent)

    def charged(self):
        return [one["amount"] for one in self.intents.values() if one["status"] == "succeeded"]


def refusal(status, kind, **more):
    return status, {"error": {"type": kind, "message": kind, **more}}


@contextmanager
def stripe_server():
    """Run it on a free port; gives (address, state)."""
    state = State()

    class Stripe(LocalHandler):
        def handle_call(self):
            path, _, query = self.path.partition("?")
            params = dict(parse_qsl(self.read_body().decode() or query))
            status, body = state.answer(self.command, path, params, self.headers.get("Idempotency-Key"))
            if state.before_reply and path == "/v1/payment_intents":
                act, state.before_reply = state.before_reply, None
                act()
            if state.lose_replies and path in ("/v1/payment_intents", "/v1/refunds"):
                state.lose_replies -= 1
                self.connection.close()
                return
            self.respond(status, body, **{"Content-Type": "application/json"})

        do_GET = do_POST = handle_call

    with local_server(Stripe) as server:
        yield server.url, state
