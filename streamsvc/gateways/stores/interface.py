"""The interface of app stores. Their times are aware UTC, their amounts minor units."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamsvc.rules.stores.state import StorePayment, StoreState


class PurchaseRejected(Exception):
    """The proof of a purchase, or a notification, is not the store's, is of another app, or is unknown to the store."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class PurchaseForgotten(PurchaseRejected):
    """The subscription ended so long ago that the store keeps nothing of it but its payments, those that are known."""

    def __init__(self, payments: Sequence[StorePayment]):
        super().__init__("unknown_to_the_store")
        self.payments = tuple(payments)


class StoreUnavailable(Exception):
    """The store could not be reached, limits our calls, or does not accept our key."""


@dataclass(frozen=True)
class StoreNotification:
    """A verified notification: which subscription has changed. Its state is fetched; `payment` may be an older one.

    `key`: None if the notification is about no subscription.
    """

    id: str
    kind: str
    key: str | None = None
    payment: StorePayment | None = None


class StoreGateway(Protocol):
    """A store: identifies purchases, and says what has become of them."""

    source: str

    def identify_purchase(self, proof: str) -> str:
        """Return the key of the subscription that the app's proof is about.

        Raises PurchaseRejected, StoreUnavailable.
        """

    def fetch_state(
        self,
        key: str,
        known_payments: Collection[str],
        with_history: bool = False,
        history_revision: str | None = None,
    ) -> StoreState | None:
        """Fetch the current state; None if the store does not know the key.

        `known_payments`: ids of payments that need not be fetched again. `with_history`: fetch them too, to find
        those of which we were not notified, and refunds. `history_revision`: of the last state that had a history;
        a store that has revisions returns what is new or has changed since. Raises PurchaseForgotten, StoreUnavailable.
        """

    def acknowledge(self, key: str, product_id: str) -> None:
        """Confirm that the purchase was granted, where the store asks for it. Raises StoreUnavailable."""
