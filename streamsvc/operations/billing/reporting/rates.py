"""Each account's monthly recurring rate over time, computed from invoice lines and subscription events."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Coupon,
    Invoice,
    InvoiceLine,
    Plan,
    Price,
    Subscription,
    SubscriptionEvent,
    TaxRate,
)
from streamsvc.rules.billing import invoicing
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.billing.facts import PriceTerms as PriceFacts
from streamsvc.rules.billing.recurring import INVOLUNTARY_REASONS, Movement, RateStep, compute_movements, monthly_rate
from streamsvc.storage.database import fetch_all

ISSUED_INVOICE_CONDITIONS = (Invoice.issued_at.is_not(None), Invoice.status != "void")
QUANTITY_KINDS = ("addon_added", "addon_quantity_changed")
STEP_KINDS = {"paused": "pause", "resumed": "resume", "canceled": "end"}
StandardRate = aliased(TaxRate)
INCLUDED_TAX_PPM = sa.case(
    (Price.tax == "inclusive", sa.func.coalesce(TaxRate.rate_ppm, StandardRate.rate_ppm, 0)), else_=0
)
"""The tax included in an imported subscription's price, at today's rate."""


def iter_account_movements() -> Iterator[tuple[str, str, list[Movement]]]:
    """Yield (account id, currency, movements of its rate) for every account that ever paid or was imported paying.

    A transferred subscription counts as its current owner's from the beginning: a transfer does not change the sums.
    """
    for (account, currency), steps in _load_rate_steps().items():
        if account_movements := compute_movements(steps):
            yield account, currency, account_movements


def _load_rate_steps() -> dict[tuple[str, str], list[RateStep]]:
    steps: dict[tuple[str, str], list[RateStep]] = {}
    rates = MonthlyRates()
    without_effect = _list_events_without_effect()
    for row in fetch_all(_rate_events_statement()):
        if row.kind == "reverted" or (row.subscription_id, f"e{row.seq}") in without_effect:
            continue
        steps.setdefault((row.account_id, row.currency), []).extend(_event_steps(row, rates))
    for row in fetch_all(_rate_changes_statement()):  # after the events: a charge overrides the events of its day
        rate_minor = rates.compute(row.price_id, row.intro, row.coupons, row.included_tax_ppm)
        on = max(row.period_start, row.created_at.date())
        step = RateStep(on, row.subscription_id, "rate", row.item, rate_minor)
        steps.setdefault((row.account_id, row.currency), []).append(step)
    return steps


def _list_events_without_effect() -> set[tuple[str, str]]:
    """Return (subscription id, ref) of the events that were reverted or are not paid for yet."""
    reverted = sa.select(SubscriptionEvent.subscription_id, SubscriptionEvent.data)
    rows = fetch_all(reverted.where(SubscriptionEvent.kind == "reverted"))
    waiting = (
        sa.select(InvoiceLine.subscription_id, InvoiceLine.cause)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(Invoice.status == sa.literal_column("'open'"), Invoice.issued_at.is_(None))
        .where(InvoiceLine.cause.is_not(None))
    )
    return {(row.subscription_id, row.data["of"]) for row in rows} | {(*row,) for row in fetch_all(waiting)}


def _event_steps(row: Any, rates: "MonthlyRates") -> list[RateStep]:
    """Return the effects of an event on the rate."""
    data, subscription_id = row.data, row.subscription_id
    on = max(row.on, date.fromisoformat(data.get("effective", row.on.isoformat())))
    if row.kind == "imported":
        rate_minor = rates.compute(data["price"], 0, "", row.included_tax_ppm)
        return [RateStep(row.on, subscription_id, "rate", BASE_ITEM, rate_minor)]
    if row.kind in QUANTITY_KINDS:
        return [RateStep(on, subscription_id, "quantity", data["item"], quantity=data.get("quantity", 1))]
    if row.kind == "addon_removed":
        return [RateStep(on, subscription_id, "rate", data["item"], 0)]
    if row.kind == "price_changed":
        return [RateStep(on, subscription_id, "rate", item, 0) for item in data["includes"]]
    involuntary = row.kind == "canceled" and row.cancel_reason in INVOLUNTARY_REASONS
    return [RateStep(on, subscription_id, STEP_KINDS[row.kind], involuntary=involuntary)]


def _rate_changes_statement() -> sa.Select:
    """Select the charge lines whose price, intro price, recurring coupons, or tax differ from those of the line before.

    Includes every line of an add-on, which may have been removed in between.
    """
    discount_lines = (  # in the order in which they were applied
        sa.select(InvoiceLine.invoice_id, InvoiceLine.coupon_id)
        .join(Coupon, Coupon.id == InvoiceLine.coupon_id)
        .where(InvoiceLine.kind == "discount", Coupon.duration != "once")
        .order_by(InvoiceLine.invoice_id, InvoiceLine.position)
        .subquery()
    )
    recurring = (
        sa.select(
            discount_lines.c.invoice_id, sa.func.aggregate_strings(discount_lines.c.coupon_id, ",").label("coupons")
        )
        .group_by(discount_lines.c.invoice_id)
        .subquery()
    )
    charged, unit_days = InvoiceLine.amount_minor * InvoiceLine.full_days, InvoiceLine.days * InvoiceLine.quantity
    from_list = sa.func.abs(charged - Price.amount_minor * unit_days)
    from_intro = sa.func.abs(charged - Price.intro_amount_minor * unit_days)
    intro = sa.case((from_intro < from_list, 1), else_=0)
    category = sa.func.coalesce(InvoiceLine.tax_category, sa.literal_column(f"'{invoicing.STANDARD_CATEGORY}'"))
    reverse_charged = (  # the rate of the included tax that reverse charge took off the price
        sa.select(InvoiceLine.invoice_id, category.label("category"), sa.func.max(InvoiceLine.tax_ppm).label("ppm"))
        .where(InvoiceLine.kind == "discount", InvoiceLine.coupon_id.is_(None))
        .group_by(InvoiceLine.invoice_id, category)
        .subquery()
    )
    coupons = sa.func.coalesce(recurring.c.coupons, "")
    included_tax_ppm = sa.case(
        (InvoiceLine.tax_inclusive, InvoiceLine.tax_ppm + sa.func.coalesce(reverse_charged.c.ppm, 0)), else_=0
    )
    parts = (InvoiceLine.price_id, sa.cast(intro, sa.String), coupons, sa.cast(included_tax_ppm, sa.String))
    terms = parts[0] + ":" + parts[1] + ":" + parts[2] + ":" + parts[3]
    previous_terms = sa.func.lag(terms).over(
        partition_by=(InvoiceLine.subscription_id, InvoiceLine.item), order_by=InvoiceLine.period_start
    )
    lines = (
        sa.select(
            Subscription.account_id,
            Invoice.currency,
            Invoice.created_at,
            InvoiceLine.subscription_id,
            InvoiceLine.item,
            InvoiceLine.period_start,
            InvoiceLine.price_id,
            intro.label("intro"),
            coupons.label("coupons"),
            included_tax_ppm.label("included_tax_ppm"),
            terms.label("terms"),
            previous_terms.label("terms_before"),
        )
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .join(Subscription, Subscription.id == InvoiceLine.subscription_id)
        .join(Price, Price.id == InvoiceLine.price_id)
        .outerjoin(recurring, recurring.c.invoice_id == InvoiceLine.invoice_id)
        .outerjoin(
            reverse_charged,
            sa.and_(reverse_charged.c.invoice_id == InvoiceLine.invoice_id, reverse_charged.c.category == category),
        )
        .where(InvoiceLine.kind == "charge", *ISSUED_INVOICE_CONDITIONS)
        .subquery()
    )
    is_changed = sa.or_(
        lines.c.terms_before.is_(None), lines.c.terms_before != lines.c.terms, lines.c.item != BASE_ITEM
    )
    return sa.select(lines).where(is_changed).order_by(lines.c.period_start)


def _rate_events_statement() -> sa.Select:
    """Select pauses, resumptions, cancellations, changes of add-ons, imports from another system, and what was undone.

    Of price changes, only those to plans that include add-ons.
    """
    kinds = (*STEP_KINDS, *QUANTITY_KINDS, "addon_removed", "imported", "reverted")
    includes = sa.func.coalesce(SubscriptionEvent.data["includes"].as_string(), "[]")
    has_included = sa.and_(SubscriptionEvent.kind == "price_changed", includes != "[]")
    return (
        sa.select(
            Subscription.account_id,
            Subscription.currency,
            Subscription.cancel_reason,
            SubscriptionEvent.subscription_id,
            SubscriptionEvent.seq,
            SubscriptionEvent.kind,
            SubscriptionEvent.on,
            SubscriptionEvent.data,
            INCLUDED_TAX_PPM.label("included_tax_ppm"),
        )
        .join(Subscription, Subscription.id == SubscriptionEvent.subscription_id)
        .join(Account, Account.id == Subscription.account_id)
        .join(Price, Price.id == Subscription.price_id)
        .join(Plan, Plan.id == Price.plan_id)
        .outerjoin(TaxRate, sa.and_(TaxRate.country == Account.country, TaxRate.category == Plan.tax_category))
        .outerjoin(
            StandardRate,
            sa.and_(StandardRate.country == Account.country, StandardRate.category == invoicing.STANDARD_CATEGORY),
        )
        .where(sa.or_(SubscriptionEvent.kind.in_(kinds), has_included))
        .order_by(SubscriptionEvent.subscription_id, SubscriptionEvent.seq)
    )


class MonthlyRates:
    """The monthly rates of all prices, computed once for each combination of terms that occurs."""

    def __init__(self) -> None:
        self._prices = {row.id: row for row in fetch_all(sa.select(Price.__table__))}
        recurring = sa.select(Coupon.id, Coupon.percent_ppm, Coupon.amount_off_minor).where(Coupon.duration != "once")
        self._coupons = {row.id: invoicing.CouponTerms(*row) for row in fetch_all(recurring)}
        self._computed: dict[tuple, int] = {}

    def compute(self, price_id: str, intro: int, coupon_ids: str, included_tax_ppm: int) -> int:
        """Return the rate in minor units. `intro`: 1 for the introductory amount; `coupon_ids`: joined by commas."""
        key = price_id, intro, coupon_ids, included_tax_ppm
        if key not in self._computed:
            price = self._prices[price_id]
            amount_minor = price.intro_amount_minor if intro else price.amount_minor
            terms = PriceFacts(price.id, amount_minor, Interval(price.interval, price.interval_count))
            coupons = [self._coupons[coupon_id] for coupon_id in coupon_ids.split(",") if coupon_id]
            self._computed[key] = monthly_rate(terms, coupons, included_tax_ppm)
        return self._computed[key]
