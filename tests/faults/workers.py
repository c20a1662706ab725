"""Worker processes that can be started at once and killed at any time.

`python -m tests.faults.workers URL` forks a worker for each line that it reads and prints its process id. Two jobs are
run before the first fork, which warms the process up: forked workers start working at once.
"""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.operations.billing.core import charging
from streamsvc.operations.maintenance.worker_loop import run_worker
from streamsvc.settings import Settings
from streamsvc.worker import jobs
from tests.conftest import CHEAP_HASHING, SECRET, close_app


def main(url):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    charging.RECONCILE_AFTER = timedelta(seconds=1)
    settings = Settings(database_url=url, secret_key=(SECRET,), sandbox=True, **CHEAP_HASHING).with_defaults()
    app = create_app(settings)
    with app.app_context():
        jobs.run_due_jobs(clock.now(), max_jobs=2)
    close_app(app)  # forked processes must not share a connection
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            with app.app_context():
                run_worker(threading.Event())
        print(child, flush=True)


class Workers:
    """Some workers, each of which is replaced when it is killed."""

    def __init__(self, url, count):
        command = [sys.executable, "-m", "tests.faults.workers", url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pids = [self.start() for _ in range(count)]
        self.kills = 0

    def start(self):
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill_one(self, rng):
        """Kill a random worker with SIGKILL and start another."""
        index = rng.randrange(len(self.pids))
        os.kill(self.pids[index], signal.SIGKILL)
        self.pids[index] = self.start()
        self.kills += 1

    def close(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1])
