"""Plants a fault in every Python process whose PYTHONPATH begins with this folder, once it has loaded streamsvc.app.

Python imports this module at its start. The fault is the one that TORTURE_PLANT names in bench/torture/plants/.
TORTURE_CLOCK names a file with the number of seconds by which the process's wall clock is ahead.
"""

import datetime
import importlib.util
import os
import sys
import time

CLOCK_READ_INTERVAL_S = 0.2
TARGET = "streamsvc.app"


class PlantAfterImport:
    """An import hook that loads the app as usual, and then plants the fault."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_plant(module):
            load(module)
            from bench.torture import plants

            plants.plant(os.environ["TORTURE_PLANT"])

        spec.loader.exec_module = load_and_plant
        return spec


def shift_clock(path):
    """Make the wall clock of this process show the time that the file says, like a machine whose clock is wrong."""
    real_datetime, real_time_ns = datetime.datetime, time.time_ns
    read = {"at": 0.0, "offset_s": 0}

    def offset_s():
        if time.monotonic() - read["at"] > CLOCK_READ_INTERVAL_S:
            with open(path) as file:
                read.update(at=time.monotonic(), offset_s=int(file.read() or read["offset_s"]))
        return read["offset_s"]

    class ShiftedDatetime(real_datetime):
        @classmethod
        def now(cls, tz=None):
            return real_datetime.now(tz) + datetime.timedelta(seconds=offset_s())

    time.time_ns = lambda: real_time_ns() + offset_s() * 10**9
    time.time = lambda: time.time_ns() / 1e9
    return ShiftedDatetime


class ShiftAfterImport:
    """An import hook that gives `streamsvc.clock` a wall clock that is wrong."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "streamsvc.clock":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        load, shifted = spec.loader.exec_module, shift_clock(os.environ["TORTURE_CLOCK"])

        def load_and_shift(module):
            load(module)
            module.datetime = shifted

        spec.loader.exec_module = load_and_shift
        return spec


if os.environ.get("TORTURE_CLOCK"):
    sys.meta_path.insert(0, ShiftAfterImport)
if os.environ.get("TORTURE_PLANT"):
    sys.meta_path.insert(0, PlantAfterImport)
