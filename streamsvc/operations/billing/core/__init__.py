"""The building blocks of every billing step: the aggregate, its events, the ledger, issuing, and charging."""
