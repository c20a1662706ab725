"""Building blocks of every sign-in method: attempts, second factors, mailed tokens, revocation."""
