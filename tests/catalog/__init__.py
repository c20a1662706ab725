"""The catalogue: titles, lists, search, imports, editing."""
