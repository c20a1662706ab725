"""The lines of an invoice or credit note as documents show them: without tax, with their rate, and added up per rate.

The tax categories are those of EN 16931: S (taxed), Z (zero rate), E (exempt), O (not subject to tax), AE (reverse
charge).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from streamsvc.rules.billing.invoicing import PPM
from streamsvc.rules.money import round_half_up

Category = Literal["S", "Z", "E", "O", "AE"]


@dataclass(frozen=True)
class DocumentLine:
    """A line; all amounts are without tax and after the discount, but for `before_discount_minor`."""

    description: str
    start: date | None
    end: date | None
    """The last day of the period; None if the line has none."""
    quantity: int
    before_discount_minor: int
    net_minor: int
    tax_minor: int
    tax_ppm: int
    category: Category

    @property
    def discount_minor(self) -> int:
        return self.before_discount_minor - self.net_minor

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.tax_minor


@dataclass(frozen=True)
class TaxGroup:
    """The lines of one category and rate, added up."""

    category: Category
    tax_ppm: int
    net_minor: int
    tax_minor: int


def group_by_rate(lines: Iterable[DocumentLine]) -> list[TaxGroup]:
    """Add up the lines of each category and rate, highest rate first."""
    sums: dict[tuple[Category, int], tuple[int, int]] = {}
    for line in lines:
        net_minor, tax_minor = sums.get((line.category, line.tax_ppm), (0, 0))
        sums[line.category, line.tax_ppm] = net_minor + line.net_minor, tax_minor + line.tax_minor
    groups = [TaxGroup(*key, *amounts) for key, amounts in sums.items()]
    return sorted(groups, key=lambda group: (-group.tax_ppm, group.category))


def tax_category(tax_ppm: int, *, is_reversed: bool, has_rate: bool, is_exempt: bool) -> Category:
    """Return the category of a line.

    `is_reversed`: the customer accounts for the tax; `has_rate`: the country has a rate, if only of zero; `is_exempt`:
    the seller states why it charges no tax.
    """
    if tax_ppm:
        return "S"
    if is_reversed:
        return "AE"
    if has_rate:
        return "Z"
    return "E" if is_exempt else "O"


def separate_exempt(lines: Sequence[DocumentLine]) -> list[DocumentLine]:
    """Return the lines with O as E where other categories stand beside it, which EN 16931 does not allow for O."""
    if {line.category for line in lines} <= {"O"}:
        return list(lines)
    return [line if line.category != "O" else DocumentLine(**{**line.__dict__, "category": "E"}) for line in lines]


def amounts_without_tax(
    amount_minor: int, discount_minor: int, tax_minor: int, included_ppm: int, is_discounted: bool
) -> tuple[int, int]:
    """Return (amount before the discount, net amount), both without tax.

    `included_ppm` is the rate that is included in the amount and in the discount, 0 if they are without tax.
    `is_discounted`: a coupon took something off; otherwise the discount is only the tax taken out of the price.
    """
    if not included_ppm:
        return amount_minor, amount_minor - discount_minor
    net_minor = amount_minor - discount_minor - tax_minor
    if not is_discounted:
        return net_minor, net_minor
    return max(net_minor, round_half_up(amount_minor * PPM, PPM + included_ppm)), net_minor
