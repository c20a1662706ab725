"""Processes that crash on purpose: each runs one task and kills itself (SIGKILL) at its n-th crash point.

`python -m tests.faults.crash_runner URL` reads one task per line and forks a child for it; the child opens its own
connections. The crash points are installed from outside; the product does not know about them. "commit": just before
and just after each commit of a `db.session` transaction. "statement": before each statement, on any connection. A task
without a unit is run by the parent process, to its end, which warms it up for its children.
"""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime

from sqlalchemy import event

from streamsvc.app import create_app
from streamsvc.settings import Settings
from streamsvc.storage.database import AUTOCOMMIT_BIND, DatabaseSession, db
from streamsvc.worker import jobs
from tests.conftest import CHEAP_HASHING, SECRET, close_app


class Countdown:
    """Kills this process on its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(url):
    """Run the tasks from standard input; prints for each "died" or an exit status."""
    settings = Settings(database_url=url, secret_key=(SECRET,), sandbox=True, **CHEAP_HASHING).with_defaults()
    app = create_app(settings)  # it opens no connection before its first statement
    for task in map(json.loads, sys.stdin):
        if task["unit"] is None:
            run_task(app, task)
            close_app(app)
            print("0", flush=True)
            continue
        child = os.fork()
        if child == 0:
            run_in_child(app, task)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("died" if died else os.waitstatus_to_exitcode(status), flush=True)


def run_task(app, task):
    """Run the due jobs, or send a request, at the task's time."""
    moment = datetime.fromisoformat(task["now"])
    app.extensions["clock"] = lambda: moment
    if task["do"] == "due":
        with app.app_context():
            jobs.run_due_jobs(moment)
    else:
        response = app.test_client().post(task["path"], json=task["body"], headers=task["headers"])
        assert response.status_code < 300, response.text


def run_in_child(app, task):
    """Run the task with crash points and exit; never returns."""
    status = 1
    try:
        install_crash_points(app, task["unit"], Countdown(task["n"]))
        run_task(app, task)
        status = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def install_crash_points(app, unit, tick):
    """Call `tick` around each commit, or before each statement."""
    if unit == "commit":
        commit = DatabaseSession.commit

        def commit_with_crash_points(self):
            tick()
            commit(self)
            tick()

        DatabaseSession.commit = commit_with_crash_points
        return
    with app.app_context():
        for engine in (db.engine, db.engines[AUTOCOMMIT_BIND]):
            event.listen(engine, "before_cursor_execute", tick)


class CrashRunner:
    """Runs the process above, for the tests."""

    def __init__(self, url):
        command = [sys.executable, "-m", "tests.faults.crash_runner", url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_to_end(self, **task):
        """Run the task to its end, without crash points."""
        assert self._run(unit=None, **task) == "0"

    def crashes(self, **task):
        """Whether a process that runs this task is killed at its n-th crash point; False if it ends before."""
        result = self._run(**task)
        assert result in ("died", "0"), result
        return result == "died"

    def _run(self, **task):
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1])
