"""The job queue, and tuning for long-lived processes."""
