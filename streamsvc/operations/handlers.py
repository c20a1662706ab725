"""All that the worker can do: importing this module names every handler."""

from streamsvc.operations import accounts, credentials, housekeeping, mail
from streamsvc.operations.billing import audit, charging, corrections, migrations, renewal
from streamsvc.operations.catalog import imports

__all__ = [
    "accounts",
    "audit",
    "charging",
    "corrections",
    "credentials",
    "housekeeping",
    "imports",
    "mail",
    "migrations",
    "renewal",
]
