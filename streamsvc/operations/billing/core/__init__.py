"""What every billing step is built from: the aggregate, its events, the ledger, issuing, charging."""
