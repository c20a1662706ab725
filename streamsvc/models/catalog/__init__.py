"""The catalogue's tables. A title's record is the operator's input; every other row is built from it."""

import sqlalchemy as sa

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text sorted by code point on both databases."""
