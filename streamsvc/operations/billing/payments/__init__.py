"""Payment methods, payments by hand, and events from the payment provider."""
