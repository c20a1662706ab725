"""Payment methods, manual payments, and events from the payment provider."""
