"""Full-text search and spelling correction, on both databases."""
