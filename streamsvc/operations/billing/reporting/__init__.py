"""What the operator is told about money and viewers: everything from the ledger, the invoices and the events."""
