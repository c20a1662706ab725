"""All phases, in the order in which they run."""

from bench.torture import clocks, database_faults, disk, kills, peers, races, reload, slow, stopped

PHASES = [module.PHASE for module in (kills, database_faults, disk, reload, races, stopped, slow, peers, clocks)]
