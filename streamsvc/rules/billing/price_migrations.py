"""Price migrations: which announced price applies to a subscription's base plan or add-on, and from when.

Of several migrations whose day has come, the one with the latest effective date applies, in whatever order they were
posted. A migration also applies to a price that another migration leads to: A to B, then B to C.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from streamsvc.rules.billing.facts import PriceScheduled, PriceTerms

Rank = tuple[date, str]


@dataclass(frozen=True)
class PriceStep:
    """A change of the price of `item` by a migration, with the period that starts on `start`.

    `scheduled` is the event of the migration that decided the new price.
    """

    item: str
    old_price: PriceTerms
    price: PriceTerms
    start: date
    scheduled: PriceScheduled


def migration_rank(event: PriceScheduled) -> Rank:
    """Return the key that orders migrations: by effective date, then by id."""
    return event.effective or event.not_before, event.migration or ""


@dataclass
class MigrationPath:
    """How migrations have moved one item since its price was chosen: the prices it left, and what moved it."""

    left_prices: list[str] = field(default_factory=list)
    applied: list[PriceScheduled] = field(default_factory=list)

    def accepts(self, event: PriceScheduled, price_id: str) -> bool:
        """Return whether the migration may still move the item from its current price.

        A migration from a price that the item has left applies only if it ranks after the last one; one that ranks
        before it never leads back to a price that the item has left.
        """
        is_later = not self.applied or migration_rank(event) > max(map(migration_rank, self.applied))
        if event.only_from == price_id:
            return is_later or (event.price is not None and event.price.id not in self.left_prices)
        return event.only_from in self.left_prices and is_later

    def is_superseded(self, event: PriceScheduled, price_id: str) -> bool:
        """Return whether the migration concerns the item but can no longer move it."""
        return event.only_from in (price_id, *self.left_prices) and not self.accepts(event, price_id)

    def find_next(self, events: Iterable[PriceScheduled], price_id: str, start: date) -> PriceScheduled | None:
        """Return the migration that moves the item from its current price, for a period that starts on `start`."""
        due = [event for event in events if event.not_before <= start and self.accepts(event, price_id)]
        return max(due, key=migration_rank, default=None)

    def follow(self, event: PriceScheduled, price_id: str) -> None:
        """Record that the migration moved the item away from the price `price_id`."""
        self.left_prices.append(price_id)
        self.applied.append(event)


def close_over(price_ids: Iterable[str], events: Iterable[PriceScheduled]) -> set[str]:
    """Return these prices and all those to which the migrations lead from them."""
    reached = set(price_ids)
    leading = [(event.only_from, event.price.id) for event in events if event.price]
    while further := {to for only_from, to in leading if only_from in reached} - reached:
        reached |= further
    return reached
