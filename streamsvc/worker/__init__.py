"""The job queue, and the tuning of long-lived processes."""
