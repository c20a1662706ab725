"""Keep a few processes running together: replace what dies, stop all in good order."""

import signal
import subprocess
import sys
import time

DRAIN_S = 35
TOO_SOON_S = 3
TOO_OFTEN = 3
POLL_S = 0.1


def supervise(parts: dict[str, list[str]]) -> int:
    """Run each command until SIGTERM or SIGINT; the exit status. A part that keeps dying at once ends all."""
    stopping = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.append(True))
    running = {name: _start(command) for name, command in parts.items()}
    failures = dict.fromkeys(parts, 0)
    try:
        while not stopping:
            for name, (process, started) in list(running.items()):
                if process.poll() is None:
                    continue
                failures[name] = failures[name] + 1 if time.monotonic() - started < TOO_SOON_S else 1
                print(f"streamsvc: {name} ended with {process.returncode}", file=sys.stderr)
                if failures[name] >= TOO_OFTEN:
                    return 1
                running[name] = _start(parts[name])
            time.sleep(POLL_S)
        return 0
    finally:
        _drain([process for process, _ in running.values()])


def _start(command: list[str]) -> tuple[subprocess.Popen, float]:
    """A process in a group of its own: a Ctrl-C at the terminal reaches the supervisor alone."""
    return subprocess.Popen(command, start_new_session=True), time.monotonic()


def _drain(processes: list[subprocess.Popen]) -> None:
    """Let each finish what it does; kill what does not end in time."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + DRAIN_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
