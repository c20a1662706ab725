"""Number series of invoices and credit notes: one for each legal entity and year."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

CREDIT_NOTE_PREFIX = "CN"
PREFIX_PATTERN = r"(?=.*[A-Z])(?!CN$)[A-Z0-9]{1,10}"
"""A prefix has a letter, so that it is no year, and is not the credit notes' own."""


def is_number_prefix(text: str) -> bool:
    """Return whether the text may begin the numbers of a legal entity."""
    return re.fullmatch(PREFIX_PATTERN, text, re.ASCII) is not None


def invoice_series(prefix: str, time_zone: str, issued_at: datetime) -> str:
    """Return the series of an invoice: the year in the seller's time zone, after its prefix if it has one."""
    year = str(issued_at.astimezone(ZoneInfo(time_zone)).year)
    return f"{prefix}-{year}" if prefix else year


def credit_note_series(prefix: str, time_zone: str, issued_at: datetime, is_shared: bool) -> str:
    """Return the series of a credit note: its own, or that of the invoices if it is shared."""
    series = invoice_series(prefix, time_zone, issued_at)
    return series if is_shared else f"{CREDIT_NOTE_PREFIX}-{series}"


def format_number(series: str, number: int) -> str:
    """Format a number of a series: `2026-000001`."""
    return f"{series}-{number:06d}"
