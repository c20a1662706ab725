"""Runs a few processes together: replaces those that die and stops all of them in order."""

import signal
import subprocess
import sys
import time

DRAIN_TIMEOUT_S = 35
MIN_UPTIME_S = 3
MAX_FAST_FAILURES = 3
POLL_INTERVAL_S = 0.1


def supervise(commands: dict[str, list[str]]) -> int:
    """Run each command until SIGTERM or SIGINT and return the exit status.

    If a command fails `MAX_FAST_FAILURES` times in a row within `MIN_UPTIME_S` of its start, all are stopped.
    """
    stopping: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))
    running = {name: _start_process(command) for name, command in commands.items()}
    failures = dict.fromkeys(commands, 0)
    try:
        while not stopping:
            for name, (process, started) in list(running.items()):
                if process.poll() is None:
                    continue
                failures[name] = failures[name] + 1 if time.monotonic() - started < MIN_UPTIME_S else 1
                print(f"streamsvc: {name} ended with {process.returncode}", file=sys.stderr)
                if failures[name] >= MAX_FAST_FAILURES:
                    return 1
                running[name] = _start_process(commands[name])
            time.sleep(POLL_INTERVAL_S)
        return 0
    finally:
        _stop_processes([process for process, _ in running.values()])


def _start_process(command: list[str]) -> tuple[subprocess.Popen, float]:
    """Start a process in its own group, so that Ctrl-C in the terminal reaches only the supervisor."""
    return subprocess.Popen(command, start_new_session=True), time.monotonic()


def _stop_processes(processes: list[subprocess.Popen]) -> None:
    """Let each process finish its work; kill those that take longer than `DRAIN_TIMEOUT_S`."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
