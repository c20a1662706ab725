"""The HTTP layer: limits and headers, ETags, idempotency keys, pagination, trusted proxies, metrics."""
