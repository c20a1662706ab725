"""subscriptions: what is sold, who has it, and the money."""

from streamsvc.blueprints.subscriptions import (
    business,
    changes,
    credit,
    extras,
    invoices,
    payment_methods,
    plans,
    subscriptions,
    webhooks,
)

BLUEPRINTS = (
    plans.bp,
    payment_methods.bp,
    subscriptions.bp,
    changes.bp,
    extras.bp,
    invoices.bp,
    credit.bp,
    business.bp,
    webhooks.bp,
)
