"""Invoice totals: discounts and tax, computed per invoice and allocated so that the lines add up to the totals."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from streamsvc.rules.money import allocate_amount, round_half_up

PPM = 1_000_000
STANDARD_CATEGORY = "standard"
"""The tax category of a plan unless it names another."""
REVERSE_CHARGE = "reverse_charge"
"""The key of the discount that removes the tax included in the prices where the customer accounts for it."""


Discounts = list[tuple[str, int]]
"""[(coupon id or REVERSE_CHARGE, amount in minor units)]"""


@dataclass(frozen=True)
class TaxTerms:
    """A tax rate in parts per million of the net amount (20 % is 200_000); `inclusive` if the price includes the tax.

    `reversed`: under reverse charge the customer pays the tax to their own state. None is charged, and the tax
    included in the price is taken off. `category`: the tax category whose rate it is.
    """

    rate_ppm: int = 0
    inclusive: bool = False
    reversed: bool = False
    category: str = STANDARD_CATEGORY

    def tax_on(self, amount_minor: int) -> int:
        """Return the tax on, or included in, the amount, in minor units; rounded half up."""
        whole = PPM + self.rate_ppm if self.inclusive else PPM
        return round_half_up(amount_minor * self.rate_ppm, whole)


@dataclass(frozen=True)
class CouponTerms:
    """A coupon that takes off a percentage (in ppm) or an amount.

    `remaining_minor` is the unused rest of the amount. `eligible_keys` are the keys of the positions to which the
    coupon applies; None means all.
    """

    id: str
    percent_ppm: int | None = None
    remaining_minor: int | None = None
    eligible_keys: frozenset[str] | None = None

    def applies_to(self, key: str) -> bool:
        """Return whether the coupon applies to the position with this key."""
        return self.eligible_keys is None or key in self.eligible_keys

    def discount_on(self, amount_minor: int) -> int:
        """Return the discount on the amount, in minor units."""
        if self.percent_ppm is not None:
            return round_half_up(amount_minor * self.percent_ppm, PPM)
        return min(self.remaining_minor or 0, amount_minor)


@dataclass(frozen=True)
class Position:
    """An invoice line with its share of discount and tax.

    A credit is created with its tax, computed from the line that it credits.
    """

    key: str
    amount_minor: int
    tax: TaxTerms
    discount_minor: int = 0
    tax_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.amount_minor - self.discount_minor

    @property
    def total_minor(self) -> int:
        return self.net_minor + (0 if self.tax.inclusive else self.tax_minor)


@dataclass(frozen=True)
class Totals:
    """The totals of an invoice: subtotal - discount + tax not included in prices = total; less account credit, due."""

    positions: tuple[Position, ...]
    discounts: tuple[tuple[str, int], ...]
    credit_applied_minor: int = 0
    reverse_charges: tuple[tuple[TaxTerms, int], ...] = ()
    """The discount REVERSE_CHARGE by tax rate."""

    @property
    def subtotal_minor(self) -> int:
        return sum(position.amount_minor for position in self.positions)

    @property
    def discount_minor(self) -> int:
        return sum(amount for _, amount in self.discounts)

    @property
    def tax_minor(self) -> int:
        return sum(position.tax_minor for position in self.positions)

    @property
    def total_minor(self) -> int:
        return sum(position.total_minor for position in self.positions)

    @property
    def amount_due_minor(self) -> int:
        return max(0, self.total_minor - self.credit_applied_minor)


def compute_totals(
    positions: Sequence[Position], coupons: Iterable[CouponTerms] = (), balance_minor: int = 0
) -> Totals:
    """Apply discounts and tax to the positions and add them up; apply up to `balance_minor` of account credit.

    `positions`: [Position] with their amounts in minor units, before discount and tax, except that credits come with
    their tax. `coupons`: [CouponTerms] in the order in which they apply. Returns Totals, in minor units.
    """
    positions, discounts = apply_discounts(positions, coupons)
    positions, reverse_charges = apply_reverse_charge(positions)
    if reverse_charges:
        discounts.append((REVERSE_CHARGE, sum(amount for _, amount in reverse_charges)))
    totals = Totals(tuple(apply_taxes(positions)), tuple(discounts), reverse_charges=tuple(reverse_charges))
    return replace(totals, credit_applied_minor=max(0, min(balance_minor, totals.total_minor)))


def apply_discounts(
    positions: Sequence[Position], coupons: Iterable[CouponTerms]
) -> tuple[Sequence[Position], Discounts]:
    """Apply the coupons in order, each to what the previous one left. Returns (positions, [(coupon id, discount)]).

    Discounts are positive amounts in minor units. A coupon that takes off nothing is not used. Each discount is
    allocated to the positions in proportion.
    """
    discounts: Discounts = []
    for coupon in coupons:
        bases = [max(0, position.net_minor) if coupon.applies_to(position.key) else 0 for position in positions]
        discount = coupon.discount_on(sum(bases))
        if discount <= 0:
            continue
        shares = allocate_amount(discount, bases)
        positions = [
            replace(position, discount_minor=position.discount_minor + share)
            for position, share in zip(positions, shares, strict=True)
        ]
        discounts.append((coupon.id, discount))
    return positions, discounts


def apply_reverse_charge(positions: Sequence[Position]) -> tuple[list[Position], list[tuple[TaxTerms, int]]]:
    """Remove the included tax under reverse charge. Returns (positions, [(tax terms, removed tax)])."""
    result, removed = list(positions), dict[TaxTerms, int]()
    for i, tax_minor in _allocate_taxes(positions, lambda tax: tax.reversed and tax.inclusive):
        result[i] = replace(positions[i], discount_minor=positions[i].discount_minor + tax_minor)
        removed[positions[i].tax] = removed.get(positions[i].tax, 0) + tax_minor
    return result, [(tax, amount) for tax, amount in removed.items() if amount]


def apply_taxes(positions: Sequence[Position]) -> list[Position]:
    """Tax the charges: per rate, on the sum of their net amounts. Credits keep the tax they were created with."""
    result = list(positions)
    for i, tax_minor in _allocate_taxes(positions, lambda tax: not tax.reversed):
        result[i] = replace(positions[i], tax_minor=tax_minor)
    return result


def _allocate_taxes(
    positions: Sequence[Position], is_included: Callable[[TaxTerms], bool]
) -> Iterator[tuple[int, int]]:
    """Yield (index, tax) of each charge whose tax terms `is_included` accepts.

    The tax is rounded once per rate and allocated by largest remainder.
    """
    for tax in {position.tax: None for position in positions if is_included(position.tax)}:
        indexes = [i for i, position in enumerate(positions) if position.tax == tax and position.amount_minor > 0]
        net = [positions[i].net_minor for i in indexes]
        yield from zip(indexes, allocate_amount(tax.tax_on(sum(net)), net), strict=True)


def tax_to_credit(tax_minor: int, net_minor: int, credited_minor: int, credited_tax_minor: int = 0) -> int:
    """Return the tax to credit with a credit on a line: proportional, so that a full credit returns all of the tax.

    All arguments are positive amounts of that line in minor units: its tax, its net amount, how much of the net is
    credited by now (this credit included), and the tax credited before.
    """
    if net_minor == 0:
        return 0
    return round_half_up(tax_minor * credited_minor, net_minor) - credited_tax_minor


class TaxedAmount(NamedTuple):
    """A net amount, without tax, and its tax, in minor units; both negative for a credit."""

    category: str
    name: str | None
    rate_ppm: int
    net_minor: int
    tax_minor: int

    @property
    def percent(self) -> float:
        return self.rate_ppm / 10_000


def sum_by_rate(amounts: Iterable[TaxedAmount]) -> list[TaxedAmount]:
    """Sum the amounts by category, name and rate, in the order in which these first appear."""
    sums: dict[tuple[str, str | None, int], tuple[int, int]] = {}
    for category, name, rate_ppm, net_minor, tax_minor in amounts:
        net, tax = sums.get((category, name, rate_ppm), (0, 0))
        sums[category, name, rate_ppm] = net + net_minor, tax + tax_minor
    return [TaxedAmount(*key, *sum_) for key, sum_ in sums.items()]
