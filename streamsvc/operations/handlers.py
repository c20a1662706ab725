"""All that the worker can do: importing this module names every handler."""

from streamsvc.operations import housekeeping

__all__ = ["housekeeping"]
