"""Reads shared by lists and pages: keyset lists, the audience, facts for the access rules, the version."""
