"""HTML pages: the API documentation, invoices and the demo storefront."""
