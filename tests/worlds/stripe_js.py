"""Stripe's hosts for a browser: a double of Stripe.js, the frames that it opens, and the API that the browser calls.

The double is tests/worlds/stripe.js. The objects are those of tests/worlds/stripe_server.py.
"""

import json
import re
from pathlib import Path

SCRIPT = Path(__file__).with_name("stripe.js")
SCRIPT_URL = "https://js.stripe.com/endive/stripe.js"
CARDS = {
    "4242424242424242": "pm_card_visa",
    "4000000000000002": "pm_card_chargeDeclined",
    "4000000000009995": "pm_card_chargeDeclinedInsufficientFunds",
    "4000002760003184": "pm_card_authenticationRequired",
}
"""Stripe's test cards, and the tokens of the same cards."""
CARD_FRAME = """<!doctype html><meta charset="utf-8"><style>body { margin: 0; font: 16px system-ui; color: #f2f2f5 }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .6rem; color: inherit; background: #1b1b22;
border: 1px solid #555; border-radius: 8px }</style><label>Card number<input inputmode="numeric"></label>
<script>const post = (message) => parent.postMessage(message, "*");
document.querySelector("input").oninput = (event) => post({ type: "change", number: event.target.value });
post({ type: "ready" });</script>"""
BANK_FRAME = """<!doctype html><meta charset="utf-8"><h1>Your bank</h1><button>Complete</button><button>Fail</button>
<script>for (const button of document.querySelectorAll("button")) button.onclick = () =>
parent.postMessage({ type: "authenticated", approved: button.textContent === "Complete" }, "*");</script>"""
PAYMENT_AUTHENTICATION = "payment_intent_authentication_failure"
SETUP_AUTHENTICATION = "setup_intent_authentication_failure"


class StripeHosts:
    """Routes the browser's requests to Stripe. `blocked`: js.stripe.com does not respond."""

    def __init__(self, page, state, publishable_key):
        self.state, self.key, self.blocked, self.unexpected = state, publishable_key, False, []
        self.numbers = {}
        page.route(re.compile("^https://"), self._respond)

    def _respond(self, route):
        url, _, _ = route.request.url.partition("?")
        if self.blocked:
            route.abort()
        elif url == SCRIPT_URL:
            route.fulfill(content_type="text/javascript", body=SCRIPT.read_text())
        elif url == "https://js.stripe.com/elements-inner-payment.html":
            route.fulfill(content_type="text/html", body=CARD_FRAME)
        elif url == "https://hooks.stripe.com/3d_secure_2/authenticate":
            route.fulfill(content_type="text/html", body=BANK_FRAME)
        elif url in ("https://api.stripe.com/v1/confirm", "https://api.stripe.com/v1/authenticate"):
            self._call_api(route, url.rpartition("/")[2])
        else:
            self.unexpected.append(url)
            route.abort()

    def _call_api(self, route, name):
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
        if route.request.method == "OPTIONS":
            route.fulfill(status=204, headers=headers)
            return
        assert route.request.headers["authorization"] == f"Bearer {self.key}"
        body = json.loads(route.request.post_data)
        result = self._confirm(body) if name == "confirm" else self._authenticate(body)
        route.fulfill(headers=headers, content_type="application/json", body=json.dumps(result))

    def _confirm(self, body):
        """Confirm a setup with the number of a test card."""
        setup = self.state.setups[body["intent"]]
        if body["mode"] == "setup" and body["setupFutureUsage"] != setup["usage"]:
            return {"error": {"type": "invalid_request_error", "message": "The usage differs from the SetupIntent's."}}
        token = CARDS[body["number"]]
        if token == "pm_card_authenticationRequired":
            self.numbers[setup["id"]] = token
            return {"setupIntent": self.state.confirm_setup(setup["id"], token, "requires_action")}
        self.state.confirm_setup(setup["id"], token)
        error = setup["last_setup_error"]
        return {"error": error | {"message": "Your card was declined."}} if error else {"setupIntent": setup}

    def _authenticate(self, body):
        """Complete a setup or a payment as the customer decides in the bank's window."""
        name, is_setup = body["intent"], body["intent"].startswith("seti_")
        if body["approved"] and is_setup:
            return {"setupIntent": self.state.confirm_setup(name, self.numbers[name])}
        intent = self.state.setups[name] if is_setup else self.state.intents[name]
        if body["approved"]:
            intent["status"] = "succeeded"
            return {"paymentIntent": intent}
        error = {"code": SETUP_AUTHENTICATION if is_setup else PAYMENT_AUTHENTICATION, "type": "invalid_request_error"}
        error["message"] = "We are unable to authenticate your payment method."
        intent |= {"status": "requires_payment_method", "last_setup_error" if is_setup else "last_payment_error": error}
        return {"error": error}
