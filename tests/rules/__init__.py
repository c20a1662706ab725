"""The rules, with values alone."""
