"""Sign-in methods and an account's own sign-in settings, one module each."""
