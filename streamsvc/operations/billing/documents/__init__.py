"""Documents of invoices and credit notes: one content, shown as HTML, PDF, JSON and EN 16931."""
