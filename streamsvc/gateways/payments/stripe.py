"""Stripe, through its official SDK: PaymentIntents confirmed at once, on or off session; refunds; signed events.

`find_outcome` always returns None: for a day Stripe repeats its first response to a request under the same key, so
sending it again reveals the outcome. After that the key is forgotten, and a first response that was an error reveals
nothing; `search_outcome` searches Stripe's records for our own id instead.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import stripe
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentSearchParams,
    RefundCreateParams,
    SetupIntentCreateParams,
)

from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    CardSetup,
    ChargeRequest,
    Outcome,
    PaymentMethodRejected,
    ProviderMethod,
    ProviderUnavailable,
    SetupOutcome,
)
from streamsvc.gateways.payments.stripe_setups import failure_code, provider_method, setup_outcome
from streamsvc.settings import current_settings

log = logging.getLogger("streamsvc")
ZERO_DECIMAL_SENT_WITH_TWO = ("ISK", "UGX")
"""Currencies without minor units that Stripe writes with two digits."""
TWO_DECIMAL_SENT_WITH_NONE = ("MGA",)
"""Currencies with two digits that Stripe writes without."""
INTENT_STATUSES = {
    "succeeded": SUCCEEDED,
    "requires_action": REQUIRES_ACTION,
    "requires_payment_method": DECLINED,
    "canceled": DECLINED,
}
REFUND_STATUSES = {"succeeded": SUCCEEDED, "pending": SUCCEEDED, "failed": DECLINED, "canceled": DECLINED}
INVALID_AMOUNT = Outcome(DECLINED, decline_code="invalid_amount")
TIMEOUT_S = 20
MAX_CONCURRENT_CHARGES = 8
"""Number of charges that wait for Stripe in parallel."""


class StripeProvider:
    """Stripe as the payment provider."""

    name = "stripe"

    def __init__(self) -> None:
        settings = current_settings()
        self.webhook_secret = settings.stripe_webhook_secret
        self.client = stripe.StripeClient(
            settings.stripe_secret_key,
            base_addresses={"api": settings.stripe_url},
            max_network_retries=1,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
        )

    def attach(self, token: str, account_id: str, previous_reference: str | None = None) -> ProviderMethod:
        """Attach the method; its reference holds customer and method: `cus_…/pm_…`."""
        try:
            customer = self._get_or_create_customer(account_id, previous_reference)
            method = self.client.v1.payment_methods.attach(token, {"customer": customer})
        except stripe.StripeError as error:
            raise _setup_error(error) from None
        return provider_method(customer, method)

    def create_setup(self, account_id: str, previous_reference: str | None = None) -> CardSetup:
        """Create a SetupIntent of the account's customer, for cards and their wallets."""
        try:
            customer = self._get_or_create_customer(account_id, previous_reference)
            params: SetupIntentCreateParams = {
                "customer": customer,
                "usage": "off_session",
                "allowed_payment_method_types": ["card"],
                "metadata": {"account_id": account_id},
            }
            intent = self.client.v1.setup_intents.create(params)
        except stripe.StripeError as error:
            raise _setup_error(error) from None
        return CardSetup(intent.id, intent.client_secret or "")

    def retrieve_setup(self, reference: str) -> SetupOutcome:
        """Retrieve a SetupIntent with the card that it set up."""
        try:
            intent = self.client.v1.setup_intents.retrieve(reference, {"expand": ["payment_method"]})
        except stripe.StripeError as error:
            raise _setup_error(error) from None
        return setup_outcome(intent)

    def _get_or_create_customer(self, account_id: str, previous_reference: str | None) -> str:
        if previous_reference:
            return previous_reference.partition("/")[0]
        options: stripe.RequestOptions = {"idempotency_key": f"customer {account_id}"}
        return self.client.v1.customers.create({"metadata": {"account_id": account_id}}, options).id

    def detach(self, reference: str) -> None:
        try:
            self.client.v1.payment_methods.detach(reference.partition("/")[2])
        except stripe.InvalidRequestError:  # already detached
            return

    def charge(self, key: str, method: str, amount_minor: int, currency: str, on_session: bool) -> Outcome:
        customer, _, payment_method = method.partition("/")
        if (amount := to_stripe_amount(amount_minor, currency)) is None:
            return INVALID_AMOUNT
        params: PaymentIntentCreateParams = {
            "amount": amount,
            "currency": currency.lower(),
            "customer": customer,
            "payment_method": payment_method,
            "confirm": True,
            "allowed_payment_method_types": ["card"],  # and its wallets; others may redirect and need a return_url
            "metadata": {"payment_id": key},
        }
        if on_session:
            params |= {"use_stripe_sdk": True, "setup_future_usage": "off_session"}
        else:
            params["off_session"] = True
        return self._intent_outcome(lambda: self.client.v1.payment_intents.create(params, {"idempotency_key": key}))

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        with ThreadPoolExecutor(MAX_CONCURRENT_CHARGES) as pool:
            return list(pool.map(lambda charge: self.charge(*charge), charges))

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        if (amount := to_stripe_amount(amount_minor, currency)) is None:
            return INVALID_AMOUNT
        params: RefundCreateParams = {"payment_intent": charge, "amount": amount, "metadata": {"refund_id": key}}
        try:
            refund = self.client.v1.refunds.create(params, {"idempotency_key": key})
        except stripe.InvalidRequestError as error:
            return Outcome(DECLINED, decline_code=_decline_code(error))
        except stripe.StripeError:
            return Outcome(UNKNOWN)
        return Outcome(REFUND_STATUSES.get(refund.status or "", UNKNOWN), refund.id)

    def find_outcome(self, key: str) -> None:
        return None

    def search_outcome(self, key: str, charge: str | None = None) -> Outcome | None:
        try:
            if charge:
                return self._find_refund(key, charge)
            params: PaymentIntentSearchParams = {"query": f"metadata['payment_id']:'{key}'", "limit": 1}
            intents = self.client.v1.payment_intents.search(params).data
        except stripe.StripeError:
            return Outcome(UNKNOWN)
        return self.retrieve_outcome(intents[0].id) if intents else None

    def _find_refund(self, key: str, charge: str) -> Outcome | None:
        refunds = self.client.v1.refunds.list({"payment_intent": charge, "limit": 100}).to_dict()["data"]
        matches = [refund for refund in refunds if (refund["metadata"] or {}).get("refund_id") == key]
        return Outcome(REFUND_STATUSES.get(matches[0]["status"], UNKNOWN), matches[0]["id"]) if matches else None

    def retrieve_outcome(self, reference: str) -> Outcome:
        """Retrieve the current state of a PaymentIntent, regardless of events."""
        return self._intent_outcome(lambda: self.client.v1.payment_intents.retrieve(reference))

    def _intent_outcome(self, request: Callable[[], stripe.PaymentIntent]) -> Outcome:
        try:
            intent = request()
        except stripe.CardError as error:
            declined = error.error.payment_intent if error.error else None
            return Outcome(DECLINED, declined.id if declined else None, _decline_code(error))
        except stripe.InvalidRequestError as error:
            return Outcome(DECLINED, decline_code=_decline_code(error))
        except stripe.StripeError:  # no response, or one that does not say what happened to the money
            return Outcome(UNKNOWN)
        status = INTENT_STATUSES.get(intent.status, UNKNOWN)
        code = failure_code(intent.last_payment_error) if status == DECLINED else None
        action = {"type": "stripe", "client_secret": intent.client_secret} if status == REQUIRES_ACTION else None
        return Outcome(status, intent.id, code, action)

    def parse_event(self, body: bytes, signature: str | None) -> dict | None:
        """Parse a signed event, with its amount in our units; None if the signature is invalid or too old."""
        try:
            event = stripe.Webhook.construct_event(body, signature or "", self.webhook_secret).to_dict()
        except (ValueError, stripe.SignatureVerificationError):
            return None
        event_object = event["data"]["object"]
        if event_object.get("amount") is not None:
            currency = (event_object.get("currency") or "").upper()
            event_object["amount"] = from_stripe_amount(event_object["amount"], currency)
        return event


def _setup_error(error: stripe.StripeError) -> PaymentMethodRejected | ProviderUnavailable:
    """Return our error: only a card or a token that Stripe refuses is the customer's matter."""
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError):
        return PaymentMethodRejected(_decline_code(error))
    log.warning("Stripe is unavailable: %s", type(error).__name__)
    return ProviderUnavailable()


def to_stripe_amount(amount_minor: int, currency: str) -> int | None:
    """Convert an amount to Stripe's units; None if Stripe cannot represent it."""
    if currency in TWO_DECIMAL_SENT_WITH_NONE:
        return None if amount_minor % 100 else amount_minor // 100
    return amount_minor * 100 if currency in ZERO_DECIMAL_SENT_WITH_TWO else amount_minor


def from_stripe_amount(amount: int, currency: str) -> int:
    """Convert an amount from Stripe's units."""
    if currency in TWO_DECIMAL_SENT_WITH_NONE:
        return amount * 100
    return amount // 100 if currency in ZERO_DECIMAL_SENT_WITH_TWO else amount


def _decline_code(error: stripe.StripeError) -> str:
    """Return the decline code of an error, else its general code."""
    body = error.error
    return (body and (body.decline_code or body.code)) or error.code or "invalid_request"
