"""The faults that can be planted in the service from outside: `planted/sitecustomize.py` calls `plant`.

Each function replaces a part of the product by one that is wrong in a way that a phase must find.
"""

from datetime import timedelta

from bench.torture.plants import in_backups, in_logic, in_service
from bench.torture.plants.registry import PLANTS
from streamsvc.operations.billing.core import charging

__all__ = ["PLANTS", "in_backups", "in_logic", "in_service", "plant"]


def plant(name: str) -> None:
    """Plant a fault in this process, unless the phase plants this one itself."""
    charging.RECONCILE_AFTER = timedelta(seconds=2)  # so that a fault shows itself soon
    PLANTS.get(name, lambda: None)()
