"""The interface of payment providers. Amounts are in minor units; every request carries an idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    """The outcome of a charge or refund. UNKNOWN: the response was lost; call `find_outcome` with the same key."""

    status: str
    reference: str | None = None
    decline_code: str | None = None
    next_action: dict | None = None


class ChargeRequest(NamedTuple):
    """A charge under its idempotency key; `method` is the payment method's reference."""

    key: str
    method: str
    amount_minor: int
    currency: str
    on_session: bool


class PaymentMethodRejected(Exception):
    """The provider does not know the token or refuses to attach it."""

    def __init__(self, decline_code: str):
        super().__init__(decline_code)
        self.decline_code = decline_code


class ProviderUnavailable(Exception):
    """The provider could not be reached, limits our calls, or does not accept our key."""


class PaymentProvider(Protocol):
    """A payment provider: stores payment methods, charges and refunds them."""

    name: str

    def attach(self, token: str, account_id: str, previous_reference: str | None = None) -> ProviderMethod:
        """Attach the payment method of a one-time token to the account's customer.

        `previous_reference`: another method of the same account. Raises PaymentMethodRejected, ProviderUnavailable.
        """

    def create_setup(self, account_id: str, previous_reference: str | None = None) -> CardSetup | None:
        """Create a setup, which the customer's browser confirms and the bank authenticates.

        None if the provider has no such step. Raises PaymentMethodRejected, ProviderUnavailable.
        """

    def retrieve_setup(self, reference: str) -> SetupOutcome:
        """Retrieve the current state of a setup. Raises PaymentMethodRejected, ProviderUnavailable."""

    def detach(self, reference: str) -> None:
        """Detach the method."""

    def charge(self, key: str, method: str, amount_minor: int, currency: str, on_session: bool) -> Outcome:
        """Charge the method, once per key. Provider errors are outcomes, never exceptions."""

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        """Charge many; the outcomes are in the same order."""

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        """Refund part or all of a charge, once per key."""

    def find_outcome(self, key: str) -> Outcome | None:
        """Look up the outcome of the request sent under `key`; None if it never arrived and may be sent again."""

    def search_outcome(self, key: str, charge: str | None = None) -> Outcome | None:
        """Search for the outcome of an old request whose key the provider has forgotten.

        `charge`: the charge that a refund was for. None if it never arrived; UNKNOWN if that cannot be determined.
        """


@runtime_checkable
class EventProvider(Protocol):
    """A payment provider that reports changes by signed webhook events."""

    def parse_event(self, body: bytes, signature: str | None) -> dict | None:
        """Parse a signed event, with its amount in our units; None if the signature is invalid or too old."""

    def retrieve_outcome(self, reference: str) -> Outcome:
        """Retrieve the current state of a charge, regardless of events."""
