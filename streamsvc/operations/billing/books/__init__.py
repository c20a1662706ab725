"""Checks that the books are right: recompute everything, compare, hold what does not reconcile."""
