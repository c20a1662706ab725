"""compose.yaml, started by podman-compose."""

import json
import secrets
import socket
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

from scripts.check_deployment.containers import (
    call,
    check_confined,
    check_restart,
    run,
    say,
    sign_up,
    wait_for_success,
    wait_until,
)
from scripts.check_image import ROOT, SETTINGS, podman, wait_until_ready

BIN = Path(sys.executable).parent
PROJECT, PUBLISHED = "streamsvc-check", "127.0.0.1:8000:8000"
OWN = f"--filter=label=com.docker.compose.project={PROJECT}"
"""Lists the containers of this check alone."""


class Site:
    """A copy of compose.yaml with its settings in a folder, on a free port, and the containers that it describes."""

    network = f"{PROJECT}_default"

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        text = (ROOT / "compose.yaml").read_text()
        if PUBLISHED not in text:
            raise RuntimeError(f"compose.yaml does not publish {PUBLISHED}")
        (folder / "compose.yaml").write_text(text.replace(PUBLISHED, f"127.0.0.1:{self.port}:8000"))
        self.services: dict[str, dict] = yaml.safe_load(text)["services"]
        self.database_image = f"docker.io/library/{self.services['database']['image']}"
        self.folder, self.password = folder, secrets.token_hex(24)
        (folder / ".env").write_text(f"POSTGRES_PASSWORD={self.password}\n")
        options = [f"--set={name}={value}" for name, value in SETTINGS.items() if name not in ("SECRET_KEY", "PORT")]
        options += ["--mail-from", "Example Video <no-reply@tv.example>", "--set=TRUSTED_PROXIES=1"]
        run(BIN / "streamsvc", "init", folder / "streamsvc.env", *options)

    def compose(self, *arguments: str) -> None:
        run(BIN / "podman-compose", "--project-name", PROJECT, *arguments, cwd=self.folder)

    def start(self, *names: str) -> None:
        """Start these services, each once those that it depends on are as it wants.

        podman-compose leaves the order to podman, which knows all conditions from version 4.6 on.
        """
        needs = {name: service.get("depends_on", {}) for name, service in self.services.items()}
        for name in TopologicalSorter(needs).static_order():
            if name in names:
                for needed, options in needs[name].items():
                    self.wait_for(needed, options["condition"])
                self.compose("up", "--detach", "--no-deps", "--no-build", name)

    def wait_for(self, name: str, condition: str) -> None:
        container = self.container(name)
        if condition == "service_completed_successfully":
            wait_for_success(container)
        elif condition == "service_healthy":
            check = ["podman", "healthcheck", "run", container]
            wait_until(lambda: not subprocess.run(check, capture_output=True).returncode, f"{name} is not healthy")
        else:
            raise RuntimeError(f"compose.yaml: unknown condition {condition}")

    def container(self, name: str) -> str:
        """Return the id of a service's container. Raises RuntimeError if there is none."""
        service = f"--filter=label=com.docker.compose.service={name}"
        if found := podman("ps", "--all", "--quiet", "--no-trunc", OWN, service):
            return found.split()[0]
        raise RuntimeError(f"{name} has no container")

    def volumes(self) -> list[str]:
        return podman("volume", "ls", "--quiet", f"--filter=name=^{PROJECT}_").split()

    def remove(self) -> None:
        """Remove the containers, the network and the volumes."""
        self.compose("down")
        for volume in self.volumes():
            podman("volume", "rm", volume)

    def print_logs(self) -> None:
        for container in podman("ps", "--all", "--quiet", OWN).split():
            subprocess.run(["podman", "logs", "--names", "--tail", "20", container], check=False)


def check(site: Site) -> None:
    """Start all services, use and kill them, and take them down. Raises RuntimeError if something is wrong."""
    site.start(*site.services)
    say(f"compose: /readyz: {json.dumps(wait_until_ready(site.port))}")
    account_id, token = sign_up(site.port)
    say(f"compose: signed up as {account_id}")
    for name in ("web", "worker", "backup"):
        say(f"compose: {name}: {check_confined(site.container(name))}")
    podman("healthcheck", "run", site.container("web"))
    say("compose: web: healthy")
    say(f"compose: backup: {check_backup(site.container('backup'))}")
    say(f"compose: web killed: {check_restart(site.container('web'), site.port)}")
    if call(site.port, "GET", "/v1/account", token=token)["id"] != account_id:
        raise RuntimeError("the session is not that of the account")
    say("compose: the account is still signed in")
    site.compose("down")
    left = podman("ps", "--all", "--quiet", OWN).split()
    volumes = site.volumes()
    if left or len(volumes) != 3:
        raise RuntimeError(f"after down there are the containers {left} and the volumes {volumes}")
    say(f"compose: down: no container is left, and the volumes {', '.join(volumes)}")
    site.remove()


def check_backup(container: str) -> str:
    """Wait for the first file of the backup service; return what its verification says."""
    find = ("exec", container, "find", "/backups", "-name", "*.backup")
    name = wait_until(lambda: podman(*find), "there is no backup").split()[0]
    return f"{name}: {podman('exec', container, 'streamsvc', 'backup', 'verify', name).splitlines()[-1]}"
