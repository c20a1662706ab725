"""Database access: connections and column types, compiled statements, the unit of work, locks."""
