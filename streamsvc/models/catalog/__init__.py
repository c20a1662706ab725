"""The catalogue's tables. A title's record is what the operator said; every other row is made from it."""

import sqlalchemy as sa

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, on both databases."""
