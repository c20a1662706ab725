"""The faults that `make torture` plants still replace something in the service."""

import subprocess
import sys

from bench.torture.plants import PLANTS

PLANT_EACH = """
import os
import streamsvc.app
from bench.torture.plants import PLANTS

for name, plant in PLANTS.items():
    if os.fork() == 0:
        plant()
        os._exit(0)
    if os.wait()[1]:
        print(name)
"""


def test_every_planted_fault_replaces_something():
    result = subprocess.run([sys.executable, "-c", PLANT_EACH], capture_output=True, text=True, check=True)
    assert (result.stdout, len(PLANTS) > 20) == ("", True), result.stderr
