"""Runs `streamsvc` commands in forks of one process that has imported the package already.

Each command is a process of its own, with its own environment, folder and output, but does not spend a second on
imports. `python -m tests.worlds.forked_commands` reads one command per line and prints its exit code.
"""

import atexit
import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_FORKED = ("PYTHON", "LD_", "TORTURE_")
"""How the names of variables begin that take effect at the start of a process only."""
CAPABILITY_VERSION = 0x20080522


def read_command() -> dict:
    """Fork at every line of standard input; returns the command in the fork. The parent ends with its input."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def become(command: dict) -> None:
    """Take over the command's environment, folder, files and arguments."""
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["folder"])
    for number, path in enumerate((os.devnull, command["stdout"], command["stderr"])):
        file = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["streamsvc", *command["arguments"]]
    if command["confined"]:
        drop_capabilities()


def drop_capabilities() -> None:
    """Give up what root may do beside other users, such as to write any file and to listen on any port."""
    header, none = struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24)
    assert ctypes.CDLL(None).capset(header, none) == 0


class ForkedCommands:
    """The process above, which is started at the first command and serves one command at a time."""

    def __init__(self):
        self._lock, self._process = threading.Lock(), None

    def run(
        self, arguments: list[str], env: dict[str, str], cwd: Path | None = None, confined: bool = False
    ) -> subprocess.CompletedProcess:
        """Run a command to its end, in folder `cwd` or the current one; its input is empty.

        `confined`: without the capabilities of root.
        """
        with self._lock, tempfile.TemporaryDirectory() as outputs:
            files = {name: Path(outputs) / name for name in ("stdout", "stderr")}
            for file in files.values():
                file.touch()
            command = {"arguments": arguments, "env": env, "folder": cwd or Path.cwd(), "confined": confined, **files}
            exit_code = self._send(json.dumps(command, default=str))
            texts = {name: file.read_text() for name, file in files.items()}
        return subprocess.CompletedProcess(arguments, exit_code, **texts)

    def _send(self, line: str) -> int:
        if self._process is None:
            env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMSVC_")}
            program = [sys.executable, "-m", "tests.worlds.forked_commands"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(program, env=env, cwd=ROOT, text=True, **pipes)
            atexit.register(self._close)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _close(self) -> None:
        self._process.kill()
        self._process.communicate()


commands = ForkedCommands()


def can_fork(env: dict[str, str], options: dict) -> bool:
    """Whether a command with this environment, and these options of `Service.command`, can be a fork."""
    changed = [name for name, value in env.items() if value != os.environ.get(name)]
    return options.keys() <= {"cwd", "confined"} and not any(name.startswith(NOT_FORKED) for name in changed)


if __name__ == "__main__":
    import gc
    from importlib import import_module

    gc.disable()
    from streamsvc.cli.group import COMMANDS, main

    for module in {target.partition(":")[0] for target in COMMANDS.values()}:
        import_module(module)
    gc.freeze()
    become(read_command())
    gc.enable()
    main()
