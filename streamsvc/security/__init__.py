"""Who is calling, what they may do, and how secrets are kept: authentication, hashing, rate limits, encryption."""
