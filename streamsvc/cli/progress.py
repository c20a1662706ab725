"""A progress bar on a terminal; nothing elsewhere, since the summary line is enough for a log."""

import sys
from typing import Any

import click


def progress_bar(length: int, label: str) -> Any:
    """click's progress bar over `length` steps, on standard error."""
    hidden = not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden, show_pos=True)
