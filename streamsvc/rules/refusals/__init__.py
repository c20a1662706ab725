"""Every error that the API gives: a class each, with a stable code, a status and a sentence."""
