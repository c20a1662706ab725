"""Stripe, through its official SDK: PaymentIntents confirmed at once, on or off session; refunds; signed events.

`find_outcome` always returns None: for a day Stripe repeats its first response to a request under the same key, so
sending it again reveals the outcome. After that the key is forgotten, and a first response that was an error reveals
nothing; `search_outcome` then lists the customer's PaymentIntents, or the refunds of the charge, and looks for our own
id. It lists because Stripe's search lags behind by a minute or more.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import stripe
from stripe.params import PaymentIntentCreateParams, RefundCreateParams, SetupIntentCreateParams

from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    CardSetup,
    ChargeRequest,
    CustomerMissing,
    Outcome,
    PaymentMethodRejected,
    ProviderCharge,
    ProviderMethod,
    ProviderRefund,
    ProviderUnavailable,
    SetupOutcome,
)
from streamsvc.gateways.payments.stripe_amounts import from_stripe_amount, maximum_charge_minor, to_stripe_amount
from streamsvc.gateways.payments.stripe_http import PEER, StripeHttpClient
from streamsvc.gateways.payments.stripe_setups import provider_method, setup_outcome
from streamsvc.gateways.peers import log_failure
from streamsvc.settings import current_settings

log = logging.getLogger("streamsvc")
API_VERSION = "2026-10-28.endive"
"""Pinned, so that neither a newer SDK nor the account's default version changes what we send and receive."""
INTENT_STATUSES = {
    "succeeded": SUCCEEDED,
    "requires_action": REQUIRES_ACTION,
    "requires_payment_method": DECLINED,
    "canceled": DECLINED,
}
REFUND_STATUSES = {
    "succeeded": SUCCEEDED,
    "pending": SUCCEEDED,
    "requires_action": SUCCEEDED,
    "failed": DECLINED,
    "canceled": DECLINED,
}
INVALID_AMOUNT = Outcome(DECLINED, decline_code="invalid_amount")
AMOUNT_TOO_LARGE = Outcome(DECLINED, decline_code="amount_too_large")
CARD_DETAILS = ("brand", "last4", "exp_month", "exp_year", "fingerprint")
CARD_TYPES = ["card"]
"""Cards and their wallets, Apple Pay and Google Pay. Other types may redirect the customer and need a `return_url`."""
MAX_CONCURRENT_CHARGES = 8
"""Number of charges that wait for Stripe in parallel."""
MAX_LISTED_INTENTS = 1000
"""Number of a customer's latest PaymentIntents among which a charge in doubt is searched for."""


class StripeProvider:
    """Stripe as the payment provider."""

    name = "stripe"

    def __init__(self) -> None:
        settings = current_settings()
        self.webhook_secret = settings.stripe_webhook_secret
        self.statement_suffix = settings.stripe_statement_suffix
        self.client = stripe.StripeClient(
            settings.stripe_secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.stripe_url},
            max_network_retries=1,
            http_client=StripeHttpClient(),
        )

    def create_customer(self, account_id: str, email: str, replaced: str | None = None) -> str:
        variant = hashlib.sha256(f"{email} {replaced}".encode()).hexdigest()[:16]
        with _setup_errors():
            return self.client.v1.customers.create(
                {"email": email, "metadata": {"account_id": account_id}},
                {"idempotency_key": f"customer {account_id} {variant}"},
            ).id

    def update_customer(self, customer: str, email: str) -> None:
        with _missing_ignored():
            self.client.v1.customers.update(customer, {"email": email})

    def delete_customer(self, customer: str) -> None:
        with _missing_ignored():
            self.client.v1.customers.delete(customer)

    def attach(self, token: str, account_id: str, customer: str | None) -> ProviderMethod:
        """Attach the method; its reference holds customer and method: `cus_…/pm_…`."""
        with _setup_errors():
            method = self.client.v1.payment_methods.attach(token, {"customer": customer or ""})
        return provider_method(method, customer or "")

    def create_setup(self, account_id: str, customer: str | None) -> CardSetup:
        """Create a SetupIntent of the account's customer, for cards and their wallets."""
        params: SetupIntentCreateParams = {
            "customer": customer or "",
            "usage": "off_session",
            "allowed_payment_method_types": [*CARD_TYPES],
            "metadata": {"account_id": account_id},
        }
        with _setup_errors():
            intent = self.client.v1.setup_intents.create(params)
        return CardSetup(intent.id, intent.client_secret or "")

    def retrieve_setup(self, reference: str) -> SetupOutcome:
        """Retrieve a SetupIntent with the card that it set up."""
        with _setup_errors():
            return setup_outcome(self.client.v1.setup_intents.retrieve(reference, {"expand": ["payment_method"]}))

    def detach(self, reference: str) -> None:
        with _missing_ignored():
            self.client.v1.payment_methods.detach(reference.partition("/")[2])

    def retrieve_method(self, reference: str) -> ProviderMethod | None:
        try:
            method = self.client.v1.payment_methods.retrieve(reference.partition("/")[2])
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                return None
            raise _unavailable(error) from None
        except stripe.StripeError as error:
            raise _unavailable(error) from None
        customer = method.to_dict().get("customer")
        return provider_method(method, customer) if customer else None

    def charge(self, request: ChargeRequest) -> Outcome:
        if (amount := to_stripe_amount(request.amount_minor, request.currency)) is None:
            return INVALID_AMOUNT
        if request.amount_minor > maximum_charge_minor(request.currency):
            return AMOUNT_TOO_LARGE
        params = self._charge_params(request, amount)
        options: stripe.RequestOptions = {"idempotency_key": request.key}
        return self._intent_outcome(lambda: self.client.v1.payment_intents.create(params, options))

    def _charge_params(self, request: ChargeRequest, amount: int) -> PaymentIntentCreateParams:
        customer, _, payment_method = request.method.partition("/")
        metadata = {"payment_id": request.key, "invoice_id": request.invoice_id}
        params: PaymentIntentCreateParams = {
            "amount": amount,
            "currency": request.currency.lower(),
            "customer": customer,
            "payment_method": payment_method,
            "confirm": True,
            "allowed_payment_method_types": [*CARD_TYPES],
            "description": f"Invoice {request.invoice_number or request.invoice_id}",
            "metadata": metadata | ({"invoice_number": request.invoice_number} if request.invoice_number else {}),
        }
        if self.statement_suffix:
            params["statement_descriptor_suffix"] = self.statement_suffix
        if request.on_session:
            return params | {"use_stripe_sdk": True, "setup_future_usage": "off_session"}
        return params | {"off_session": True}

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        with ThreadPoolExecutor(MAX_CONCURRENT_CHARGES) as pool:
            return list(pool.map(self.charge, charges))

    def cancel_charge(self, reference: str) -> Outcome:
        try:
            intent = self.client.v1.payment_intents.cancel(reference, {"cancellation_reason": "abandoned"})
        except stripe.InvalidRequestError:  # it has succeeded, or is canceled already
            return self.retrieve_outcome(reference)
        except stripe.StripeError as error:
            _log_error(error)
            return Outcome(UNKNOWN)
        return _outcome_from_intent(intent)

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        if (amount := to_stripe_amount(amount_minor, currency)) is None:
            return INVALID_AMOUNT
        params: RefundCreateParams = {"payment_intent": charge, "amount": amount, "metadata": {"refund_id": key}}
        try:
            refund = self.client.v1.refunds.create(params, {"idempotency_key": key})
        except stripe.InvalidRequestError as error:
            return Outcome(DECLINED, decline_code=_decline_code(error))
        except stripe.StripeError as error:
            _log_error(error)
            return Outcome(UNKNOWN)
        return Outcome(REFUND_STATUSES.get(refund.status or "", UNKNOWN), refund.id)

    def list_refunds(self, charge: str) -> list[ProviderRefund]:
        try:
            refunds = self.client.v1.refunds.list({"payment_intent": charge, "limit": 100})
            return [_provider_refund(refund.to_dict()) for refund in refunds.auto_paging_iter()]
        except stripe.StripeError as error:
            raise _unavailable(error) from None

    def list_charges(self, since: datetime) -> list[ProviderCharge]:
        try:
            intents = self.client.v1.payment_intents.list({"created": {"gte": int(since.timestamp())}, "limit": 100})
            return [_provider_charge(intent.to_dict()) for intent in intents.auto_paging_iter()]
        except stripe.StripeError as error:
            raise _unavailable(error) from None

    def list_recent_refunds(self, since: datetime) -> list[ProviderRefund]:
        try:
            refunds = self.client.v1.refunds.list({"created": {"gte": int(since.timestamp())}, "limit": 100})
            return [_provider_refund(refund.to_dict()) for refund in refunds.auto_paging_iter()]
        except stripe.StripeError as error:
            raise _unavailable(error) from None

    def find_outcome(self, key: str) -> None:
        return None

    def search_outcome(self, key: str, method: str, charge: str | None = None) -> Outcome | None:
        try:
            return self._find_refund(key, charge) if charge else self._find_intent(key, method.partition("/")[0])
        except (stripe.StripeError, ProviderUnavailable):
            return Outcome(UNKNOWN)

    def _find_refund(self, key: str, charge: str) -> Outcome | None:
        matches = [refund for refund in self.list_refunds(charge) if refund.refund_id == key]
        return Outcome(matches[0].status, matches[0].reference) if matches else None

    def _find_intent(self, key: str, customer: str) -> Outcome | None:
        intents = self.client.v1.payment_intents.list({"customer": customer, "limit": 100})
        for count, intent in enumerate(intents.auto_paging_iter()):
            if (intent.to_dict().get("metadata") or {}).get("payment_id") == key:
                return _outcome_from_intent(intent)
            if count >= MAX_LISTED_INTENTS:
                return Outcome(UNKNOWN)
        return None

    def retrieve_outcome(self, reference: str) -> Outcome:
        """Retrieve the current state of a PaymentIntent, regardless of events."""
        return self._intent_outcome(lambda: self.client.v1.payment_intents.retrieve(reference))

    def _intent_outcome(self, request: Callable[[], stripe.PaymentIntent]) -> Outcome:
        try:
            return _outcome_from_intent(request())
        except stripe.CardError as error:
            declined = error.error.payment_intent if error.error else None
            return Outcome(DECLINED, declined.id if declined else None, _decline_code(error))
        except stripe.InvalidRequestError as error:
            log.warning("Stripe refused a request: %s %s", error.code, error.param)
            return Outcome(DECLINED, decline_code=_decline_code(error))
        except stripe.StripeError as error:  # no response, or one that does not say what happened to the money
            _log_error(error)
            return Outcome(UNKNOWN)

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


def _outcome_from_intent(intent: stripe.PaymentIntent) -> Outcome:
    status = INTENT_STATUSES.get(intent.status, UNKNOWN)
    if status == REQUIRES_ACTION:
        return Outcome(status, intent.id, None, {"type": "stripe", "client_secret": intent.client_secret})
    state = intent.to_dict()  # an attribute that Stripe leaves out would raise AttributeError
    if status != DECLINED:
        received = state.get("amount_received") if status == SUCCEEDED else None
        return Outcome(
            status, intent.id, captured_minor=received and from_stripe_amount(received, intent.currency.upper())
        )
    failure = state.get("last_payment_error") or {}
    code = failure.get("decline_code") or failure.get("code") or state.get("cancellation_reason")
    return Outcome(status, intent.id, code or intent.status)


def _provider_charge(intent: dict) -> ProviderCharge:
    currency, status = intent["currency"].upper(), INTENT_STATUSES.get(intent["status"], UNKNOWN)
    received = intent.get("amount_received") if status == SUCCEEDED else None
    amount_minor = from_stripe_amount(received or intent["amount"], currency)
    payment_id = (intent.get("metadata") or {}).get("payment_id")
    created_at = datetime.fromtimestamp(intent["created"], UTC)
    return ProviderCharge(
        intent["id"], status, amount_minor, currency, payment_id, intent.get("customer") or "", created_at
    )


def _provider_refund(refund: dict) -> ProviderRefund:
    currency = refund["currency"].upper()
    status = REFUND_STATUSES.get(refund["status"] or "", UNKNOWN)
    amount_minor = from_stripe_amount(refund["amount"], currency)
    refund_id = (refund.get("metadata") or {}).get("refund_id")
    return ProviderRefund(refund["id"], status, amount_minor, currency, refund_id, refund.get("payment_intent"))


@contextmanager
def _setup_errors() -> Iterator[None]:
    """Raise our errors for Stripe's: only a refused card or token is the customer's error."""
    try:
        yield
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing" and error.param == "customer":
            raise CustomerMissing from None
        raise PaymentMethodRejected(_decline_code(error)) from None
    except stripe.CardError as error:
        raise PaymentMethodRejected(_decline_code(error)) from None
    except stripe.StripeError as error:
        raise _unavailable(error) from None


@contextmanager
def _missing_ignored() -> Iterator[None]:
    """Ignore that an object does not exist, or is detached already. Raises ProviderUnavailable."""
    try:
        yield
    except stripe.InvalidRequestError as error:
        log.info("Stripe refused to remove or update an object: %s", error.code)
    except stripe.StripeError as error:
        raise _unavailable(error) from None


def _unavailable(error: stripe.StripeError) -> ProviderUnavailable:
    _log_error(error)
    reason = str(error) if isinstance(error, stripe.APIConnectionError) else f"Stripe: {type(error).__name__}"
    return ProviderUnavailable(reason)


def _log_error(error: stripe.StripeError) -> None:
    log_failure(PEER.name, type(error).__name__)


def _decline_code(error: stripe.StripeError) -> str:
    """Return the decline code of an error, else its general code."""
    body = error.error
    return (body and (body.decline_code or body.code)) or error.code or "invalid_request"
