"""Ways to sign in, and the account's own sign-in settings: a module for each."""
