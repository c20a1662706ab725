"""The subscription lifecycle: start, changes, renewal, add-ons, transfer, price migrations, and previews."""
