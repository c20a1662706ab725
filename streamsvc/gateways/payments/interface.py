"""The interface of payment providers. Amounts are in minor units; every request carries an idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

SUCCEEDED, DECLINED, REQUIRES_ACTION, UNKNOWN = "succeeded", "declined", "requires_action", "unknown"


@dataclass(frozen=True)
class ProviderMethod:
    """A payment method stored at the provider; `reference` is enough to charge it."""

    reference: str
    kind: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None
    is_set_up: bool = False
    """Whether the customer's bank has authorized charges for which the customer is not present."""


@dataclass(frozen=True)
class CardSetup:
    """A setup that was started: the provider's form confirms it with `client_secret`."""

    reference: str
    client_secret: str


@dataclass(frozen=True)
class SetupOutcome:
    """The current state of a setup of this account; `method` is set if it succeeded. UNKNOWN: not confirmed yet."""

    status: str
    account_id: str | None
    method: ProviderMethod | None = None
    decline_code: str | None = None
    next_action: dict | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a charge or refund. UNKNOWN: the response was lost; call `find_outcome` with the same key.

    `captured_minor`: what a successful charge collected, if the provider says so; it can be less than was asked for.
    """

    status: str
    reference: str | None = None
    decline_code: str | None = None
    next_action: dict | None = None
    captured_minor: int | None = None


class ChargeRequest(NamedTuple):
    """A charge under its idempotency key; `method` is the payment method's reference."""

    key: str
    method: str
    amount_minor: int
    currency: str
    on_session: bool
    invoice_id: str
    invoice_number: str | None
    """None before the invoice is issued: a first invoice gets its number when it is paid."""


class ProviderCharge(NamedTuple):
    """A charge as the provider knows it; `status` is an outcome's, `payment_id` ours, None if it was made elsewhere."""

    reference: str
    status: str
    amount_minor: int
    """What was captured of a successful charge, else what was asked for."""
    currency: str
    payment_id: str | None
    payer: str
    """The customer's reference, or without customers the payment method's."""
    created_at: datetime


class ProviderRefund(NamedTuple):
    """A refund as the provider knows it; `status` is an outcome's, `refund_id` ours, None if it was made elsewhere."""

    reference: str
    status: str
    amount_minor: int
    currency: str
    refund_id: str | None
    charge: str | None = None
    """The reference of the charge that it returns."""


class PaymentMethodRejected(Exception):
    """The provider does not know the token or refuses to attach it."""

    def __init__(self, decline_code: str):
        super().__init__(decline_code)
        self.decline_code = decline_code


class CustomerMissing(Exception):
    """The provider has no such customer any more: it was deleted there."""


class ProviderUnavailable(Exception):
    """The provider could not be reached, limits our calls, or does not accept our key."""


class PaymentProvider(Protocol):
    """A payment provider: stores payment methods, charges and refunds them."""

    name: str

    def create_customer(self, account_id: str, email: str, replaced: str | None = None) -> str | None:
        """Create the account's customer and return its reference; None if the provider has no customers.

        `replaced`: the deleted customer that it replaces. Raises PaymentMethodRejected, ProviderUnavailable.
        """

    def update_customer(self, customer: str, email: str) -> None:
        """Set the customer's email address. Raises ProviderUnavailable."""

    def delete_customer(self, customer: str) -> None:
        """Delete the customer and its methods. Raises ProviderUnavailable."""

    def attach(self, token: str, account_id: str, customer: str | None) -> ProviderMethod:
        """Attach the payment method of a one-time token to the account's customer.

        Raises PaymentMethodRejected, CustomerMissing, ProviderUnavailable.
        """

    def create_setup(self, account_id: str, customer: str | None) -> CardSetup | None:
        """Create a setup, which the customer's browser confirms and the bank authenticates.

        None if the provider has no such step. Raises PaymentMethodRejected, CustomerMissing, ProviderUnavailable.
        """

    def retrieve_setup(self, reference: str) -> SetupOutcome:
        """Retrieve the current state of a setup. Raises PaymentMethodRejected, ProviderUnavailable."""

    def detach(self, reference: str) -> None:
        """Detach the method; one that is detached already stays so. Raises ProviderUnavailable."""

    def charge(self, request: ChargeRequest) -> Outcome:
        """Charge the method, once per key. Provider errors are outcomes, never exceptions."""

    def cancel_charge(self, reference: str) -> Outcome:
        """Cancel a charge that awaits its payer, who can then no longer complete it; returns its state afterwards.

        SUCCEEDED if the payer completed it before; UNKNOWN if the provider did not respond.
        """

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        """Charge many; the outcomes are in the same order."""

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        """Refund part or all of a charge, once per key."""

    def find_outcome(self, key: str) -> Outcome | None:
        """Look up the outcome of the request sent under `key`; None if it never arrived and may be sent again."""

    def search_outcome(self, key: str, method: str, charge: str | None = None) -> Outcome | None:
        """Search for the outcome of an old request whose key the provider has forgotten.

        `method`: the payment method charged. `charge`: for a refund, the charge that it was for. None if the request
        never arrived; UNKNOWN if that cannot be determined.
        """

    def list_charges(self, since: datetime) -> list[ProviderCharge]:
        """List all charges since a moment, whoever made them. Raises ProviderUnavailable."""

    def list_recent_refunds(self, since: datetime) -> list[ProviderRefund]:
        """List all refunds since a moment, whoever made them. Raises ProviderUnavailable."""


@runtime_checkable
class EventProvider(Protocol):
    """A payment provider that reports changes by signed webhook events."""

    def parse_event(self, body: bytes, signature: str | None) -> dict | None:
        """Parse a signed event, with its amount in our units; None if the signature is invalid or too old."""

    def retrieve_outcome(self, reference: str) -> Outcome:
        """Retrieve the current state of a charge, regardless of events."""

    def list_refunds(self, charge: str) -> list[ProviderRefund]:
        """List all refunds of a charge, whoever made them. Raises ProviderUnavailable."""

    def retrieve_method(self, reference: str) -> ProviderMethod | None:
        """Retrieve a payment method; None if it is detached or deleted. Raises ProviderUnavailable."""
