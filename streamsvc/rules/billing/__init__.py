"""What is owed, when, and why. Values and civil dates in; lines, totals and states out."""
