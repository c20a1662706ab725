"""What a payment provider must be able to do. Amounts in minor units; every request carries its idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

SUCCEEDED, DECLINED, REQUIRES_ACTION, UNKNOWN = "succeeded", "declined", "requires_action", "unknown"


@dataclass(frozen=True)
class ProviderMethod:
    """A payment method as the provider keeps it; `reference` is all that is needed to charge it."""

    reference: str
    kind: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a charge or a refund came out. UNKNOWN: the reply was lost; ask again with `find` under the same key."""

    status: str
    reference: str | None = None
    decline_code: str | None = None
    next_action: dict | None = None


class ChargeRequest(NamedTuple):
    """A request for money, under its idempotency key; `method` is the method's reference."""

    key: str
    method: str
    amount_minor: int
    currency: str
    on_session: bool


class PaymentMethodRejected(Exception):
    """The provider does not know the token, or will not attach it."""

    def __init__(self, decline_code: str):
        super().__init__(decline_code)
        self.decline_code = decline_code


class PaymentProvider(Protocol):
    name: str

    def attach(self, token: str, account_id: str, previous_reference: str | None = None) -> ProviderMethod:
        """Keep the method behind a one-time token for this customer, who may have `earlier` ones.

        Raises MethodRefused.
        """

    def create_setup_secret(self, account_id: str, previous_reference: str | None = None) -> str | None:
        """A secret with which the customer's own browser has a method checked, by their bank too, for charges to come.

        The method's token is attached afterwards. None where there is no such step.
        """

    def detach(self, reference: str) -> None:
        """Forget the method."""

    def charge(self, key: str, method: str, amount_minor: int, currency: str, on_session: bool) -> Outcome:
        """Take the money, once for each key however often it is asked. Never raises for what the provider did."""

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        """Many charges; their outcomes in the same order."""

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        """Give back part or all of a charge, once for each key."""

    def find_outcome(self, key: str) -> Outcome | None:
        """What became of the request sent under `key`; None where nobody knows of it, and it may be sent again."""

    def search_outcome(self, key: str, charge: str | None = None) -> Outcome | None:
        """The same of a request sent long ago, when asking again under its key would no longer find out.

        `charge`: what a refund was to be taken from. None where it never arrived; UNKNOWN where that cannot be told.
        """
