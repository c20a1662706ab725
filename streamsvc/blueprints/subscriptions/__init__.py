"""subscriptions: what is sold, who has it, and the money."""

from streamsvc.blueprints.subscriptions import (
    changes,
    credit,
    invoices,
    payment_methods,
    plans,
    subscriptions,
    webhooks,
)

BLUEPRINTS = (plans.bp, payment_methods.bp, subscriptions.bp, changes.bp, invoices.bp, credit.bp, webhooks.bp)
