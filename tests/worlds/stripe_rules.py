"""What Stripe refuses, each rule with its source, for API version 2026-10-28.endive.

[spec] Stripe's OpenAPI description of that version, as in stripe-python 16.1.0 (github.com/stripe/openapi).
[currencies] https://docs.stripe.com/currencies, "Minimum and maximum charge amounts", as of 2026.
[errors] https://docs.stripe.com/error-codes, as of 2026.
[idempotency] https://docs.stripe.com/api/idempotent_requests, as of 2026.
"""

import json
import re
from pathlib import Path

from streamsvc.gateways.payments.stripe_amounts import MAXIMUM, MAXIMUM_BY_CURRENCY, MINIMUM_MINOR

PARAMETERS = json.loads(Path(__file__).with_name("stripe_parameters.json").read_text())
THREE_DECIMAL = ("bhd", "jod", "kwd", "omr", "tnd")
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


class Refused(Exception):
    """An error response: (status, body)."""

    def __init__(self, status, kind, **details):
        super().__init__(kind, details)
        self.response = error_response(status, kind, **details)


def error_response(status, kind, **details):
    """Return (status, body) of an error."""
    return status, {"error": {"type": kind, "message": kind, **details}}


def refuse(code=None, param=None, **details):
    """Raise an invalid_request_error."""
    raise Refused(400, "invalid_request_error", code=code, param=param, **details)


def endpoint_of(method, path):
    """Return the endpoint of the data file that serves a path; None if it has none."""
    for name in PARAMETERS["endpoints"]:
        verb, _, pattern = name.partition(" ")
        if verb == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return name
    return None


def check_parameters(endpoint, params):
    """[spec] Unknown parameters and missing ones are refused."""
    rules, names = PARAMETERS["endpoints"][endpoint], {name.partition("[")[0] for name in params}
    for name in sorted(names):
        if name == "payment_method_types":
            # https://docs.stripe.com/changelog/endive/2026-09-30 ("Removes the payment method types parameter")
            refuse("payment_method_types_no_longer_supported", name)
        if name not in rules["allowed"]:
            refuse("parameter_unknown", name)
    for name in rules["required"]:
        if not params.get(name):
            refuse("parameter_missing", name)
    check_metadata(params)


def check_metadata(params):
    """[spec] https://docs.stripe.com/api/metadata: up to 50 keys of 40 characters with values of 500."""
    metadata = {name: value for name, value in params.items() if name.startswith("metadata[")}
    if len(metadata) > 50 or any(len(name) > 40 + len("metadata[]") for name in metadata):
        refuse(None, "metadata")
    if any(len(value) > 500 for value in metadata.values()):
        refuse(None, "metadata")


def check_amount(params, minimums=MINIMUM_MINOR):
    """[currencies] The amount is a positive whole number within the currency's limits, in the currency's own digits.

    `minimums`: by currency; others depend on the currency in which the account is paid out.
    """
    amount_text, currency = params["amount"], params["currency"]
    if currency != currency.lower() or len(currency) != 3:
        refuse(None, "currency")
    if not amount_text.isdecimal() or int(amount_text) < 1:
        refuse("parameter_invalid_integer", "amount")
    amount = int(amount_text)
    if amount > MAXIMUM_BY_CURRENCY.get(currency.upper(), MAXIMUM):
        refuse("amount_too_large", "amount")
    if amount < minimums.get(currency.upper(), 1):
        refuse("amount_too_small", "amount")
    check_digits(amount, currency)


def check_digits(amount, currency):
    """[currencies] Three-decimal currencies: the last digit is 0. ISK and UGX have two digits, which are 0."""
    if (currency in THREE_DECIMAL and amount % 10) or (currency in ("isk", "ugx") and amount % 100):
        refuse("parameter_invalid_integer", "amount")


def check_intent_options(params):
    """Options that exclude each other or need others."""
    is_confirmed, is_off_session = params.get("confirm") == "true", params.get("off_session") == "true"
    for name in ("off_session", "return_url", "error_on_requires_action", "use_stripe_sdk"):
        if name in params and not is_confirmed:  # [spec] "can only be used with confirm=true"
            refuse(None, name)
    if (
        is_off_session and "setup_future_usage" in params
    ):  # [spec] off_session: "save during payment", then charge later
        refuse(None, "setup_future_usage")
    if len(params.get("statement_descriptor_suffix", "")) > 22:  # [spec]
        refuse(None, "statement_descriptor_suffix")
    check_method_types(params)
    if is_confirmed and "payment_method" not in params:  # [errors] nothing to confirm with
        refuse("parameter_missing", "payment_method")
    if is_confirmed and not is_off_session and may_redirect(params):
        # https://docs.stripe.com/changelog/2023-08-16 ("Enables automatic payment methods by default")
        refuse(None, "return_url")


def check_method_types(params):
    """Only one way of choosing methods.

    https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter
    """
    ways = ("allowed_payment_method_types", "excluded_payment_method_types", "automatic_payment_methods")
    used = {name.partition("[")[0] for name in params} & {*ways, "payment_method_configuration"}
    if "allowed_payment_method_types" in used and len(used) > 1:
        refuse(None, "allowed_payment_method_types")
    if "automatic_payment_methods" in used and "automatic_payment_methods[enabled]" not in params:  # [spec]
        refuse("parameter_missing", "automatic_payment_methods[enabled]")


def may_redirect(params):
    """Whether a payment might redirect the customer without saying where to return.

    Methods come from the Dashboard unless they are named, and some of them redirect.
    """
    allowed = [value for name, value in params.items() if name.startswith("allowed_payment_method_types[")]
    never = params.get("automatic_payment_methods[allow_redirects]") == "never"
    return "return_url" not in params and not never and allowed != ["card"]


def check_cancellation(intent, params):
    """[spec] POST /v1/payment_intents/{intent}/cancel: only in these states, for one of these reasons."""
    if params.get("cancellation_reason", "abandoned") not in CANCELLATION_REASONS:
        refuse(None, "cancellation_reason")
    if intent["status"] not in CANCELABLE:
        refuse("payment_intent_unexpected_state", payment_intent=intent)


def check_confirmation(intent):
    """[errors] payment_intent_unexpected_state: what has succeeded or is canceled cannot be confirmed."""
    if intent["status"] not in CONFIRMABLE:
        refuse("payment_intent_unexpected_state", payment_intent=intent)


def check_capture(intent):
    """[errors] payment_intent_unexpected_state: only an authorized payment can be captured."""
    if intent["status"] != "requires_capture":
        refuse("payment_intent_unexpected_state", payment_intent=intent)


def check_refund(intent, amount, refunded, is_disputed):
    """[spec] POST /v1/refunds: of a successful charge that is not disputed, and not more than is left of it."""
    if intent["status"] != "succeeded":
        refuse("payment_intent_unexpected_state" if intent["status"] == "canceled" else None, "payment_intent")
    if is_disputed:  # [errors]
        refuse("charge_disputed")
    if refunded >= intent["amount"]:  # [errors]
        refuse("charge_already_refunded")
    if amount < 1 or refunded + amount > intent["amount"]:
        refuse(None, "amount")
    check_digits(amount, intent["currency"])
