"""Authentication, password hashing, rate limits, encryption, playback tokens."""
