"""Computing an invoice from its lines, with discounts and tax; nothing is stored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Coupon, CreditNoteLine, Discount, Invoice, InvoiceLine, Subscription
from streamsvc.operations.billing.core.event_store import load_price
from streamsvc.operations.billing.core.taxing import Taxation, load_taxation
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoicing import (
    STANDARD_CATEGORY,
    CouponTerms,
    Position,
    TaxedAmount,
    TaxTerms,
    Totals,
    compute_totals,
    sum_by_rate,
    tax_to_credit,
)
from streamsvc.rules.billing.paid import Line
from streamsvc.storage.database import db


@dataclass(frozen=True)
class ComputedInvoice:
    """An invoice computed but not stored: a preview shows it, `create_invoice` stores it."""

    account: Account
    subscription: Subscription | None
    """None for a one-off charge by an operator."""
    currency: str
    lines: tuple
    discounts: tuple[Discount, ...]
    totals: Totals
    taxation: Taxation

    @property
    def reductions(self) -> Iterator[tuple[Coupon | None, str, int, TaxTerms]]:
        """Yield (coupon, line description, amount in minor units, tax terms) for each discount.

        The coupon is None for the tax of one rate taken out of tax-inclusive prices under reverse charge.
        """
        labels = invoice_labels(self.account.locale)
        by_id = {discount.id: discount.coupon for discount in self.discounts}
        for discount_id, amount_minor in self.totals.discounts:
            if coupon := by_id.get(discount_id):
                yield coupon, labels["coupon"].format(code=coupon.code), amount_minor, TaxTerms()
        for tax, amount_minor in self.totals.reverse_charges:
            yield None, labels["reverse_charge_discount"], amount_minor, tax

    @property
    def tax_breakdown(self) -> list[TaxedAmount]:
        """The net amount and the tax of each rate."""
        amounts = []
        for line, position in zip(self.lines, self.totals.positions, strict=True):
            tax, included = position.tax, position.tax_minor if position.tax.inclusive else 0
            rate_ppm, net_minor = 0 if tax.reversed else tax.rate_ppm, position.net_minor - included
            name = find_tax_name(self, line, tax)
            amounts.append(TaxedAmount(tax.category, name, rate_ppm, net_minor, position.tax_minor))
        return sum_by_rate(amounts)


def compute_invoice(
    account: Account,
    subscription: Subscription,
    lines: Iterable[Line],
    discounts: Iterable[Discount],
    account_credit_minor: int,
) -> ComputedInvoice:
    """Compute the invoice for these lines. `discounts`: the running ones, in the order in which they apply."""
    lines = tuple(lines)
    taxation = load_taxation(account)
    positions = [_compute_position(subscription, line, taxation, i) for i, line in enumerate(lines)]
    renews = any(line.kind == "charge" for line in lines)
    coupons = [_coupon_terms(discount, lines) for discount in discounts] if renews else []
    totals = compute_totals(positions, coupons, account_credit_minor)
    return ComputedInvoice(account, subscription, subscription.currency, lines, tuple(discounts), totals, taxation)


def _compute_position(subscription: Subscription, line: Line, taxation: Taxation, index: int) -> Position:
    if line.kind == "credit":
        return _compute_credit_position(subscription, line, index)
    price = load_price(line.price_id)
    tax = taxation.tax_for(price.tax == "inclusive", price.plan.tax_category)
    return Position(str(index), line.amount_minor, tax)


def _compute_credit_position(subscription: Subscription, line: Line, index: int) -> Position:
    """A credit returns tax in proportion to the amount credited, and all remaining tax with the last of the amount."""
    assert line.credited_identity is not None, "a credit names the line that it credits"
    original = find_line_by_identity(subscription.id, line.credited_identity)
    if original is None:  # credited before it was invoiced: in a preview of two steps at once
        return Position(str(index), line.amount_minor, TaxTerms())
    credited_net, credited_tax = credited_amounts(original.id)
    returned = tax_to_credit(original.tax_minor, original.net_minor, credited_net - line.amount_minor, credited_tax)
    tax = TaxTerms(original.tax_ppm, original.tax_inclusive, category=original.tax_category or STANDARD_CATEGORY)
    return Position(str(index), line.amount_minor, tax, tax_minor=-returned)


def find_tax_name(computed: ComputedInvoice, line: Any, tax: TaxTerms) -> str | None:
    """Return the name of the tax on a line; for a credit, the name on the invoice that it credits."""
    if credited_identity := getattr(line, "credited_identity", None):
        assert computed.subscription is not None, "only a subscription's lines are credited by lines"
        credited = find_line_by_identity(computed.subscription.id, credited_identity)
        if credited and credited.tax_name:
            return credited.tax_name
    return computed.taxation.name_of(tax.category)


def find_line_by_identity(subscription_id: str, identity: str) -> InvoiceLine | None:
    """Find the invoice line of a subscription that has this identity."""
    return db.session.scalar(
        sa.select(InvoiceLine).where(InvoiceLine.subscription_id == subscription_id, InvoiceLine.identity == identity)
    )


def credited_amounts(line_id: str) -> tuple[int, int]:
    """Return (net, tax), both positive, credited on a line so far by credit lines and credit notes.

    Credit lines of void invoices do not count.
    """
    credits = db.session.execute(
        sa.select(
            sa.func.coalesce(-sa.func.sum(InvoiceLine.amount_minor), 0),
            sa.func.coalesce(-sa.func.sum(InvoiceLine.tax_minor), 0),
        )
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.credits_line_id == line_id, Invoice.status != "void")
    ).one()
    notes = db.session.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(CreditNoteLine.net_minor), 0),
            sa.func.coalesce(sa.func.sum(CreditNoteLine.tax_minor), 0),
        ).where(CreditNoteLine.line_id == line_id)
    ).one()
    return int(credits[0] + notes[0]), int(credits[1] + notes[1])


def _coupon_terms(discount: Discount, lines: Sequence[Line]) -> CouponTerms:
    coupon, position_keys = discount.coupon, None
    if coupon.plans is not None:
        plans = [load_price(line.price_id).plan.code for line in lines]
        position_keys = frozenset(str(i) for i, plan in enumerate(plans) if plan in coupon.plans)
    if coupon.amount_off_minor is None:
        return CouponTerms(discount.id, percent_ppm=coupon.percent_ppm, eligible_keys=position_keys)
    left_minor = coupon.amount_off_minor - (discount.used_minor if coupon.duration == "once" else 0)
    return CouponTerms(discount.id, remaining_minor=left_minor, eligible_keys=position_keys)
