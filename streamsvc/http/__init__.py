"""What every request passes through: limits and headers, ETags, idempotency keys, pagination, metrics."""
