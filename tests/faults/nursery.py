"""Processes that are born to die: each does one deed and kills itself (SIGKILL) at the n-th point on its way.

`python -m tests.faults.nursery URL` reads one task a line and forks a child for it; the child opens its own
connections. The points are planted here, from outside: the product knows nothing of them. "commit": just before and
just after each commit of a unit of work. "statement": before each statement, whatever connection it goes through.
A task without a unit is done by the nursery itself, to the end: its children then know how, and need not learn it each.
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
from streamsvc.storage.database import AUTOCOMMIT_BIND, Session, db
from streamsvc.worker import jobs
from tests.conftest import CHEAP_HASHING, SECRET, close_app


class Countdown:
    """Kills this very process when it has been called n times."""

    def __init__(self, n):
        self.left = n

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(url):
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
    moment = datetime.fromisoformat(task["now"])
    app.extensions["clock"] = lambda: moment
    if task["do"] == "due":
        with app.app_context():
            jobs.run_due_jobs(moment)
    else:
        answer = app.test_client().post(task["path"], json=task["body"], headers=task["headers"])
        assert answer.status_code < 300, answer.text


def run_in_child(app, task):
    """One short life; it never returns."""
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
    if unit == "commit":
        commit = Session.commit

        def deadly(self):
            tick()
            commit(self)
            tick()

        Session.commit = deadly
        return
    with app.app_context():
        for engine in (db.engine, db.engines[AUTOCOMMIT_BIND]):
            event.listen(engine, "before_cursor_execute", tick)


class CrashRunner:
    """The process above, for the tests."""

    def __init__(self, url):
        command = [sys.executable, "-m", "tests.faults.nursery", url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_to_end(self, **task):
        """Have the task done to its end."""
        assert self._run(unit=None, **task) == "0"

    def crashes(self, **task):
        """Whether a process that does this task dies at its n-th point; False where it gets to the end before."""
        told = self._run(**task)
        assert told in ("died", "0"), told
        return told == "died"

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
