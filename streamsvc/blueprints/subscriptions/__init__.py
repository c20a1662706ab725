"""subscriptions: what is sold, who has it, and the money."""

from streamsvc.blueprints.subscriptions import invoices, payment_methods, plans, subscriptions

BLUEPRINTS = (plans.bp, payment_methods.bp, subscriptions.bp, invoices.bp)
