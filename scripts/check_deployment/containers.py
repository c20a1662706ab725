"""What both checks ask of a running container, and of the service in it, as a proxy in front does."""

import json
import os
import secrets
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.check_image import podman, wait_until_ready

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""podman's settings on a machine without systemd, and limits that need no privilege."""
PROXY = {"Host": "tv.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
"""The headers that the proxy in front adds."""
TIMEOUT_S = 120


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: str | Path, **options: Any) -> str:
    """Run a program; return what it prints. Raises RuntimeError with that if it fails."""
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}: {result.stdout.strip()[-2000:]}")
    return result.stdout.strip()


def wait_until(condition: Callable[[], Any], problem: str) -> Any:
    """Wait until the condition is true; return its value. Raises RuntimeError with the problem."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.5)
    return value


def wait_for_success(container: str) -> None:
    """Wait until the container has ended. Raises RuntimeError with its log if it failed."""
    if status := int(podman("wait", container)):
        raise RuntimeError(f"a container ended with {status}: {run('podman', 'logs', container)}")


def call(port: int, method: str, path: str, body: dict | None = None, token: str = "") -> dict:
    """Send a request and return the response's document. Raises RuntimeError for an error."""
    headers = PROXY | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    headers |= {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from None


def sign_up(port: int) -> tuple[str, str]:
    """Create an account; return its id and its token."""
    body = {"email": f"ada{secrets.token_hex(4)}@tv.example", "password": "seven red herons", "country": "DE"}
    document = call(port, "POST", "/v1/accounts", body | {"device": {"name": "Living room", "kind": "tv"}})
    return document["account"]["id"], document["token"]


def check_confined(container: str) -> str:
    """Return the user of a container and why it cannot write to the image's files. Raises RuntimeError if it can."""
    user = podman("exec", container, "id", "-u")
    write = subprocess.run(
        ["podman", "exec", container, "touch", "/opt/x"], capture_output=True, text=True, check=False
    )
    if user != "10001" or "Read-only file system" not in write.stderr:
        raise RuntimeError(f"user {user}; touch /opt/x: {write.returncode} {write.stderr}")
    return f"user {user}; {write.stderr.strip()}"


def check_restart(container: str, port: int) -> str:
    """Kill a container's first process as a crash would, and wait until it serves again."""
    started = podman("inspect", "--format", "{{.State.StartedAt}}", container)
    killed_at = time.monotonic()
    os.kill(int(podman("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)
    wait_until(lambda: podman("inspect", "--format", "{{.State.StartedAt}}", container) != started, "it stays down")
    wait_until_ready(port)
    return f"ready again after {time.monotonic() - killed_at:.1f} s"
