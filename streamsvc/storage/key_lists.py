"""Lists of keys as one text parameter, so that a compiled statement is the same for any number of keys."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY


def encode_keys(keys: Iterable[int] | Iterable[str], dialect: str) -> str:
    """Return the value of the parameter that `select_keys` splits; on PostgreSQL, no key may contain a comma."""
    return msgspec.json.encode(list(keys)).decode() if dialect == "sqlite" else ",".join(map(str, keys))


def select_keys(name: str, dialect: str, kind: type[sa.types.TypeEngine] = sa.Integer) -> sa.Select:
    """Select the keys that the text parameter `name` carries."""
    parameter = sa.bindparam(name, type_=sa.Text())
    if dialect == "sqlite":
        return sa.select(sa.func.json_each(parameter).table_valued("value").c.value)
    return sa.select(sa.cast(sa.func.unnest(sa.func.string_to_array(parameter, ",", type_=ARRAY(sa.Text()))), kind()))
