"""The database: engines and transactions, compiled statements, the unit of work, locks."""
