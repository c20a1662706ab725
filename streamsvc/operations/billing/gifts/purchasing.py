"""Buying a gift: one invoice, charged at once to a payment method; declined, nothing is bought and nothing is owed."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

from streamsvc.gateways.payments import charge_step_minor, maximum_charge_minor, minimum_charge_minor
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftPurchase, Invoice, Payment, Plan, Price
from streamsvc.models.subscriptions.gift_purchases import GIFT_REASON
from streamsvc.operations.billing.core import charging, computing, debts, invoice_creation
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.operations.billing.invoices.one_off import OneOffLine
from streamsvc.operations.billing.subscriptions.first_payment import get_requested_method, raise_if_not_paid
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.gifts import GiftAmounts
from streamsvc.rules.billing.inputs import GiftPurchaseInput
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoicing import Position, TaxTerms, compute_totals
from streamsvc.rules.money import round_up
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.billing import PaymentMethodRequired
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row, new_id, reload_row

MAX_DAYS_AHEAD = 365


class _Offer(NamedTuple):
    """What is bought: its value as credit, and the line of its invoice."""

    currency: str
    amount_minor: int
    line: OneOffLine
    tax: TaxTerms
    field: str
    """The field of the request that an error about the amount names."""


def buy_gift(account_id: str, body: GiftPurchaseInput, now: datetime) -> GiftPurchase:
    """Charge the account for a gift. Its code exists once the payment has succeeded. Commits.

    Raises AccountNotActive, PaymentOverdue, Invalid, PaymentMethodRequired, PaymentFailed, AuthenticationRequired.
    """
    checkpoint = idempotency.load_checkpoint()
    if checkpoint is None:
        checkpoint = _create_purchase(account_id, body, now)
        idempotency.save_checkpoint(**checkpoint)
        db.session.commit()
    payment: Payment = charging.resume_payment(checkpoint["payment"])
    raise_if_not_paid(payment)
    return reload_row(GiftPurchase, checkpoint["purchase"])


def _create_purchase(account_id: str, body: GiftPurchaseInput, now: datetime) -> dict:
    """Record the purchase, its invoice and its payment, about to be sent; returns their ids for a checkpoint."""
    account = lock_existing_row(Account, account_id)
    if account.status != "active":
        raise AccountNotActive(detail="Only an active account can buy a gift.")
    today = civil_day(now, account.time_zone)
    debts.require_no_overdue_debts(account.id, today)
    debts.require_no_written_off_debts(account.id)
    deliver_on = require_delivery_day(body["deliver_on"], today)
    method = get_requested_method(account, body["payment_method_id"])
    invoice, offer = _create_invoice(account, body, now, today)
    if method is None:
        raise PaymentMethodRequired(detail="Add a payment method first; the gift is charged to it at once.")
    purchase = GiftPurchase(
        id=new_id("gpu"),
        account_id=account.id,
        invoice_id=invoice.id,
        currency=offer.currency,
        amount_minor=offer.amount_minor,
        price_id=body["price_id"],
        periods=body["periods"],
        recipient_email=body["recipient_email"],
        recipient_name=body["recipient_name"],
        sender_name=body["sender_name"],
        message=body["message"],
        deliver_on=deliver_on,
        deliveries=0,
        created_at=now,
    )
    db.session.add(purchase)
    # Nothing is carried over to it: a balance of the account must not decide about a gift.
    amount_minor = round_up(invoice.balance_minor, charge_step_minor(invoice.currency))
    payment = charging.create_payment(invoice, method, now, on_session=True, amount_minor=amount_minor)
    return {"purchase": purchase.id, "payment": payment.id}


def require_delivery_day(day: date | None, today: date) -> date:
    """Return the day on which the gift is delivered; default: today. Raises Invalid."""
    if day is None:
        return today
    if not today <= day <= today + timedelta(days=MAX_DAYS_AHEAD):
        raise Invalid(errors={"deliver_on": [f"Must be today or one of the next {MAX_DAYS_AHEAD} days."]})
    return day


def _create_invoice(account: Account, body: GiftPurchaseInput, now: datetime, today: date) -> tuple[Invoice, _Offer]:
    """Create the invoice that is issued when it is paid. Raises Invalid.

    Account credit does not pay for gifts: credit that was given to one account would become a code for anyone.
    """
    offer = _find_plan_offer(account, body) if body["price_id"] else _find_credit_offer(account, body)
    totals = compute_totals([Position("0", offer.line.amount_minor, offer.tax)], (), 0)
    if totals.total_minor < minimum_charge_minor(offer.currency):
        raise Invalid(errors={offer.field: ["Must be at least what the payment provider charges at once."]})
    if totals.total_minor > maximum_charge_minor(offer.currency):
        raise Invalid(errors={offer.field: ["Must not exceed what the payment provider charges at once."]})
    taxation = load_taxation(account)
    if not body["price_id"]:  # no supply, so neither taxed nor reverse-charged: a multi-purpose voucher
        taxation = taxation._replace(rates={}, vat_id=None)
    computed = computing.ComputedInvoice(account, None, offer.currency, (offer.line,), (), totals, taxation)
    return invoice_creation.create_invoice(computed, GIFT_REASON, now, today, requires_payment=True), offer


def _find_plan_offer(account: Account, body: GiftPurchaseInput) -> _Offer:
    """Return the offer of periods of a price, taxed now like the plan (a single-purpose voucher). Raises Invalid."""
    assert body["price_id"] and body["periods"], "the schema requires both"
    price = Price.find_on_sale(body["price_id"], account.country)
    if price is None or price.plan.addon or price.amount_minor == 0:
        raise Invalid(
            errors={"price_id": ["Must be a price on sale in your country, of a plan that is sold alone and not free."]}
        )
    amount_minor, plan = price.amount_minor * body["periods"], price.plan
    label = invoice_labels(account.locale)["gift_plan"].format(plan=f"{body['periods']} × {plan.name}")
    tax = load_taxation(account).tax_for(price.tax == "inclusive", plan.tax_category)
    return _Offer(price.currency, amount_minor, OneOffLine(label, amount_minor), tax, "periods")


def _find_credit_offer(account: Account, body: GiftPurchaseInput) -> _Offer:
    """Return the offer of gift credit, taxed only where it is spent (a multi-purpose voucher). Raises Invalid."""
    currency, amount_minor = body["currency"], body["amount_minor"]
    assert currency and amount_minor, "the schema requires them without a price"
    amounts = GiftAmounts.parse(current_settings().gift_amounts)
    if currency not in amounts.limits or not _is_sold_in(currency):
        raise Invalid(errors={"currency": ["Gift credit is not sold in this currency."]})
    if not amounts.allow(currency, amount_minor):
        least, most = amounts.limits[currency]
        raise Invalid(errors={"amount_minor": [f"Must be between {least} and {most}."]})
    label = invoice_labels(account.locale)["gift_credit"]
    return _Offer(currency, amount_minor, OneOffLine(label, amount_minor), TaxTerms(), "amount_minor")


def _is_sold_in(currency: str) -> bool:
    """Whether a plan is on sale in the currency: credit could not be spent otherwise."""
    return any(price.currency == currency for plan in Plan.list_on_sale(addon=False) for price in plan.prices)
