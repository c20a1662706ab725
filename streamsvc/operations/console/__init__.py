"""What the operators' console reads: accounts by any clue, an account's timeline, the figures of the day."""
