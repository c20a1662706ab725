"""Reports on revenue and retention, computed from the ledger, the invoices, and the subscription events."""
