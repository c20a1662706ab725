"""What a viewer browses: filters, collections, similar titles, coverage."""
