"""A subscription's life: start, changes, renewal, add-ons, transfer, price migrations, previews."""
