"""From lines to an invoice: discounts and tax once per invoice and group, shared so that lines add up to totals."""

from dataclasses import dataclass, replace

from streamsvc.rules.money import allocate_amount, round_half_up

PPM = 1_000_000
REVERSE_CHARGE = "reverse_charge"
"""Among the discounts of an invoice: the tax that its prices hold and that is not ours to charge."""


@dataclass(frozen=True)
class TaxTerms:
    """A rate in parts per million of the net amount (20 % is 200_000); inclusive means the price holds it already.

    `reversed`: the customer pays it to their own state, so we charge none, and take off what the price holds.
    """

    rate_ppm: int = 0
    inclusive: bool = False
    reversed: bool = False

    def tax_on(self, amount_minor):
        whole = PPM + self.rate_ppm if self.inclusive else PPM
        return round_half_up(amount_minor * self.rate_ppm, whole)


@dataclass(frozen=True)
class CouponTerms:
    """Takes off a percentage (in ppm) or an amount; `left_minor` is what remains of an amount used once.

    `only`: the keys of the positions that it is for; None: all.
    """

    id: str
    percent_ppm: int | None = None
    remaining_minor: int | None = None
    eligible_keys: frozenset[str] | None = None

    def applies_to(self, key):
        return self.eligible_keys is None or key in self.eligible_keys

    def discount_on(self, amount_minor):
        if self.percent_ppm is not None:
            return round_half_up(amount_minor * self.percent_ppm, PPM)
        return min(self.remaining_minor, amount_minor)


@dataclass(frozen=True)
class Position:
    """A line with its share of discount and tax. Tax of a credit comes with it, from the line it credits."""

    key: str
    amount_minor: int
    tax: TaxTerms
    discount_minor: int = 0
    tax_minor: int = 0

    @property
    def net_minor(self):
        return self.amount_minor - self.discount_minor

    @property
    def total_minor(self):
        return self.net_minor + (0 if self.tax.inclusive else self.tax_minor)


@dataclass(frozen=True)
class Totals:
    """subtotal - discount + tax on top = total; what account credit does not cover is due."""

    positions: tuple[Position, ...]
    discounts: tuple[tuple[str, int], ...]
    credit_applied_minor: int = 0

    @property
    def subtotal_minor(self):
        return sum(one.amount_minor for one in self.positions)

    @property
    def discount_minor(self):
        return sum(amount for _, amount in self.discounts)

    @property
    def tax_minor(self):
        return sum(one.tax_minor for one in self.positions)

    @property
    def total_minor(self):
        return sum(one.total_minor for one in self.positions)

    @property
    def amount_due_minor(self):
        return max(0, self.total_minor - self.credit_applied_minor)


def compute_totals(positions, coupons=(), balance_minor=0):
    """Discount, tax and add up the positions; apply up to `balance_minor` of account credit to what is owed."""
    positions, discounts = apply_discounts(positions, coupons)
    positions, relief = apply_reverse_charge(positions)
    positions, discounts = apply_taxes(positions), discounts + relief
    totals = Totals(tuple(positions), tuple(discounts))
    return replace(totals, credit_applied_minor=max(0, min(balance_minor, totals.total_minor)))


def apply_discounts(positions, coupons):
    """Coupons one after the other, each on what the one before left; a coupon that finds nothing is not used."""
    discounts = []
    for coupon in coupons:
        open_minor = [max(0, one.net_minor) if coupon.applies_to(one.key) else 0 for one in positions]
        off = coupon.discount_on(sum(open_minor))
        if off <= 0:
            continue
        parts = allocate_amount(off, open_minor)
        positions = [
            replace(one, discount_minor=one.discount_minor + part) for one, part in zip(positions, parts, strict=True)
        ]
        discounts.append((coupon.id, off))
    return positions, discounts


def apply_reverse_charge(positions):
    """Take the tax that is in a price off it where the customer pays that tax: one discount under REVERSE_CHARGE."""
    result, off = list(positions), 0
    for i, part in _allocate_taxes(positions, lambda tax: tax.reversed and tax.inclusive):
        result[i], off = replace(positions[i], discount_minor=positions[i].discount_minor + part), off + part
    return result, [(REVERSE_CHARGE, off)] if off else []


def apply_taxes(positions):
    """Tax per rate on the sum of what is charged, shared by largest remainder; credits bring their own."""
    result = list(positions)
    for i, part in _allocate_taxes(positions, lambda tax: not tax.reversed):
        result[i] = replace(positions[i], tax_minor=part)
    return result


def _allocate_taxes(positions, is_included):
    """(place, tax) of each charge whose Tax `counts`, rounded once per rate and shared by largest remainder."""
    for tax in {one.tax: None for one in positions if is_included(one.tax)}:
        charged = [i for i, one in enumerate(positions) if one.tax == tax and one.amount_minor > 0]
        net = [positions[i].net_minor for i in charged]
        yield from zip(charged, allocate_amount(tax.tax_on(sum(net)), net), strict=True)


def tax_to_credit(tax_minor, net_minor, credited_minor, credited_tax_minor=0):
    """The tax that goes back with `credited_minor` of a line's net: in proportion, and all the rest with the last cent.

    All arguments are amounts of the one line: its tax, its net, what is credited of it by now (this credit
    included), and the tax that went back before.
    """
    if net_minor == 0:
        return 0
    return round_half_up(tax_minor * credited_minor, net_minor) - credited_tax_minor
