"""Endpoints of plans, subscriptions, invoices, payment methods and account credit."""

from streamsvc.blueprints.subscriptions import (
    changes,
    credit,
    extras,
    gift_purchases,
    invoices,
    payment_config,
    payment_methods,
    plans,
    store_purchases,
    subscriptions,
    tax_and_referrals,
    webhooks,
)

BLUEPRINTS = (
    plans.bp,
    payment_config.bp,
    payment_methods.bp,
    subscriptions.bp,
    changes.bp,
    extras.bp,
    invoices.bp,
    credit.bp,
    gift_purchases.bp,
    store_purchases.bp,
    tax_and_referrals.bp,
    webhooks.bp,
)
