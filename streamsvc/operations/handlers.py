"""All that the worker can do: importing this module names every handler."""

from streamsvc.operations import accounts, credentials, housekeeping, mail
from streamsvc.operations.billing import charging, renewal

__all__ = ["accounts", "charging", "credentials", "housekeeping", "mail", "renewal"]
