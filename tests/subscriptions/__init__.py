"""Plans, subscriptions, invoices, payments, the books."""
