"""How much of an account's credit came from its owner's money, and how a payout is divided among payments."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streamsvc.rules.money import round_down


class CreditMovement(NamedTuple):
    """One journal that changed an account's credit: positive amounts add to it.

    `source`: `given` for gifts and goodwill; `money` for payments that became credit; `payout`, also for one that
    failed; `invoice` for what pays invoices and comes back from them.
    """

    source: str
    amount_minor: int


class CreditOrigin(NamedTuple):
    """The unused credit by its origin, in minor units."""

    from_money_minor: int
    given_minor: int


class _Pools:
    """The credit from money and the given credit while the movements are replayed."""

    def __init__(self) -> None:
        self.money = self.given = 0
        self.returnable = {"invoice": 0, "payout": 0}
        """How much given credit invoices and payouts took, and would give back as such."""

    def spend_given_first(self, amount: int) -> None:
        part = min(amount, self.given)
        self.given -= part
        self.money -= amount - part
        self.returnable["invoice"] += part

    def pay_out_money_first(self, amount: int) -> None:
        part = min(amount, max(0, self.money))
        self.money -= part
        self.given -= amount - part
        self.returnable["payout"] += amount - part

    def take_back_given(self, amount: int) -> None:
        part = min(amount, self.given)
        self.given -= part
        self.money -= amount - part

    def give_back(self, source: str, amount: int) -> None:
        part = min(amount, self.returnable[source])
        self.given += part
        self.money += amount - part
        self.returnable[source] -= part


def trace_credit(movements: Iterable[CreditMovement]) -> CreditOrigin:
    """Divide the credit that is left after these movements, oldest first, by its origin.

    Given credit pays invoices before money does. What comes back from invoices counts as given until all is back that
    given credit has paid: so nobody turns a gift into money by subscribing with it and canceling.
    """
    pools = _Pools()
    for source, amount in movements:
        if source == "given" and amount > 0:
            pools.given += amount
        elif source == "given":
            pools.take_back_given(-amount)
        elif source == "money":
            pools.money += amount
        elif amount > 0:
            pools.give_back(source, amount)
        elif source == "payout":
            pools.pay_out_money_first(-amount)
        else:
            pools.spend_given_first(-amount)
    total = pools.money + pools.given
    from_money = max(0, min(pools.money, total))
    return CreditOrigin(from_money, max(0, total - from_money))


def divide_payout(amount_minor: int, refundable: Sequence[int], step_minor: int = 1) -> tuple[list[int], int]:
    """Return (what goes back to each payment, in the given order; what is left for a bank transfer).

    `step_minor`: the amount of which every refund is a multiple.
    """
    parts = []
    for refundable_minor in refundable:
        part = round_down(min(amount_minor, refundable_minor), step_minor)
        parts.append(part)
        amount_minor -= part
    return parts, amount_minor


def payout_status(parts: Iterable[tuple[str, int]], amount_minor: int) -> tuple[str, int]:
    """Return (the payout's status, what has reached the customer) for its parts: (status, amount in minor units)."""
    parts = list(parts)
    paid_minor = sum(amount for status, amount in parts if status in ("succeeded", "paid"))
    if any(status in ("pending", "unknown") for status, _ in parts):
        return "pending", paid_minor
    if not paid_minor:
        return "failed", 0
    return "paid" if paid_minor == amount_minor else "partly_paid", paid_minor
