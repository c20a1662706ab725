"""API errors: one class each, with a stable code, a status and a sentence."""
