"""Runs a few programs together: replaces those that die, reloads them on SIGHUP, and stops all of them in order."""

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

DRAIN_TIMEOUT_S = 35
READY_TIMEOUT_S = 60
MIN_UPTIME_S = 3
MAX_EARLY_FAILURES = 3
POLL_INTERVAL_S = 0.1
READY_FD_VARIABLE = "_STREAMSVC_READY_FD"
"""Names the file descriptor to which each process of a program writes a byte once it is ready."""
PR_SET_PDEATHSIG = 1
SO_ATTACH_FILTER = 26


@dataclass(frozen=True)
class Program:
    """A command to keep running. `ready_bytes`: how many processes of it report that they are ready, if they do."""

    command: list[str]
    ready_bytes: int = 0
    listener: socket.socket | None = None


@dataclass
class Child:
    """A running program. `ready`: the pipe's end to read from."""

    process: subprocess.Popen
    ready: int
    started: float = field(default_factory=time.monotonic)
    ready_bytes: int = 0
    stop_by: float = 0.0

    def uptime_s(self) -> float:
        return time.monotonic() - self.started

    def count_ready(self) -> int:
        while select.select([self.ready], [], [], 0)[0] and (data := os.read(self.ready, 64)):
            self.ready_bytes += len(data)
        return self.ready_bytes


class Supervisor:
    """Runs the programs until SIGTERM or SIGINT."""

    def __init__(self, programs: dict[str, Program], formatter: logging.Formatter) -> None:
        self.programs, self.formatter = programs, formatter
        self.received: list[int] = []
        self.failures = dict.fromkeys(programs, 0)
        self.running: dict[str, Child] = {}
        self.next: dict[str, Child] = {}
        self.retiring: list[Child] = []

    def run(self) -> int:
        """Run until stopped; return the exit status.

        1 if a program ended `MAX_EARLY_FAILURES` times in a row before it was ready or within `MIN_UPTIME_S`.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: self.received.append(received))
        try:
            self.running = {name: _start(program) for name, program in self.programs.items()}
            while True:
                while self.received:
                    if self.received.pop(0) != signal.SIGHUP:
                        return 0
                    self._start_reload()
                if not self._replace_dead():
                    return 1
                self._finish_reload()
                self.retiring = [child for child in self.retiring if not _is_gone(child)]
                time.sleep(POLL_INTERVAL_S)
        finally:
            self._stop_all()

    def _replace_dead(self) -> bool:
        """Start a program again that ended; False if it fails too often."""
        for name, child in list(self.running.items()):
            if child.process.poll() is None:
                continue
            is_early = child.count_ready() < self.programs[name].ready_bytes or child.uptime_s() < MIN_UPTIME_S
            self.failures[name] = self.failures[name] + 1 if is_early else 1
            self._log(f"{name} ended with {child.process.returncode}")
            os.close(child.ready)
            if self.failures[name] >= MAX_EARLY_FAILURES:
                del self.running[name]
                return False
            self.running[name] = _start(self.programs[name])
        return True

    def _start_reload(self) -> None:
        self._log("reloading")
        for name, program in self.programs.items():
            if name not in self.next:
                self.next[name] = _start(program)

    def _finish_reload(self) -> None:
        """Stop the old processes of each program whose new ones are ready; keep them if the new ones fail."""
        for name, child in list(self.next.items()):
            is_late = child.uptime_s() > READY_TIMEOUT_S
            if child.process.poll() is not None or is_late:
                self._log(f"the reload of {name} failed; the old processes stay")
                del self.next[name]
                self._retire(child)
            elif child.count_ready() >= self.programs[name].ready_bytes:
                self._log(f"reloaded {name}")
                self._retire(self.running[name])
                self.running[name] = self.next.pop(name)

    def _retire(self, child: Child) -> None:
        child.stop_by = time.monotonic() + DRAIN_TIMEOUT_S
        if child.process.poll() is None:
            child.process.terminate()
        self.retiring.append(child)

    def _log(self, message: str) -> None:
        """Write a line to the standard error stream, if it takes one at once: no log may stop the service."""
        record = logging.LogRecord("streamsvc", logging.INFO, "", 0, message, None, None)
        try:
            if select.select([], [2], [], 0)[1]:
                os.write(2, f"{self.formatter.format(record)}\n".encode())
        except (OSError, ValueError):
            pass

    def _stop_all(self) -> None:
        """Let each process finish its work; kill those that take longer than `DRAIN_TIMEOUT_S`."""
        listeners = [program.listener for program in self.programs.values() if program.listener is not None]
        for listener in listeners:
            _refuse_handshakes(listener)
        time.sleep(POLL_INTERVAL_S)  # for the handshakes that have begun
        for listener in listeners:
            listener.close()  # else connections would wait here for nobody
        for child in [*self.running.values(), *self.next.values()]:
            self._retire(child)
        while self.retiring:
            self.retiring = [child for child in self.retiring if not _is_gone(child)]
            time.sleep(POLL_INTERVAL_S)


def _refuse_handshakes(listener: socket.socket) -> None:
    """Have the kernel drop every further SYN to a listening socket, whichever processes share it.

    A connection that is made between the last `accept` and the closing of the socket would be reset. The filter is five
    instructions of classic BPF, which see the packet from its TCP header on; its flags are byte 13. The client tries
    again after a second and is then refused. Where a kernel has no such filter, the gap of some microseconds stays.
    """
    instructions = (
        struct.pack("HBBI", 0x30, 0, 0, 13),  # load the flags
        struct.pack("HBBI", 0x54, 0, 0, 0x12),  # of these SYN and ACK
        struct.pack("HBBI", 0x15, 0, 1, 0x02),  # SYN alone begins a handshake
        struct.pack("HBBI", 0x06, 0, 0, 0),  # drop
        struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF),  # accept
    )
    program = ctypes.create_string_buffer(b"".join(instructions))
    with contextlib.suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(instructions), ctypes.addressof(program))
        )


def _start(program: Program) -> Child:
    """Start a program in its own group, so that Ctrl-C in the terminal reaches only the supervisor."""
    ready, ready_writer = os.pipe()
    fds = (ready_writer,) if program.listener is None else (ready_writer, program.listener.fileno())
    process = subprocess.Popen(
        program.command,
        start_new_session=True,
        pass_fds=fds,
        env=os.environ | {READY_FD_VARIABLE: str(ready_writer)},
        preexec_fn=_end_with(os.getpid()),
    )
    os.close(ready_writer)
    return Child(process, ready)


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return a function by which a new process asks for SIGTERM when its parent dies, however it dies; Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def end_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent


def _is_gone(child: Child) -> bool:
    """Whether a process that is to stop has ended; kills it when its time is over."""
    if child.process.poll() is None:
        if time.monotonic() > child.stop_by:
            child.process.kill()
        return False
    os.close(child.ready)
    return True


def report_ready() -> None:
    """Tell the supervisor, from one of its processes, which then stops the process that this one replaces."""
    if ready_fd := os.environ.get(READY_FD_VARIABLE):
        os.write(int(ready_fd), b".")
