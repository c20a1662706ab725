"""All phases, in the order in which they run: those of commands last, which take the time that they need."""

from bench.torture.phases import (
    clocks,
    commands,
    database_faults,
    disk,
    kills,
    peers,
    races,
    reload,
    restore,
    slow,
    stopped,
)

FAULTS = (kills, database_faults, disk, reload, races, stopped, slow, peers, clocks, restore)
PHASES = [*(module.PHASE for module in FAULTS), *commands.PHASES]
