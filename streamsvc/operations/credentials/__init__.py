"""Steps that every way of signing in shares: attempts, second factors, mailed tokens, revocation."""
