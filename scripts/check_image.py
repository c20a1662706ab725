"""make image: build the image, start it as compose.yaml does, and see it become ready, on a read-only file system.

Requires podman and runc from Debian. Where the base image cannot be pulled, it is made of Debian's packages, with
mmdebstrap. Prints the size of the image, on disk and compressed, as a registry would send it.
"""

import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE, IMAGE = "docker.io/library/debian:bookworm-slim", "localhost/streamsvc"
PULL_TIMEOUT_S, READY_TIMEOUT_S, PORT = 60, 60, 8123
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "info", "locale", "lintian")]
"""What the slim variant of Debian's image leaves out too."""
MERGING = "usrmerge libperl5.36 perl-modules-5.36"
"""What mmdebstrap needs for a while, and Debian's image does not have."""
CA_FILE = "/run/certificates.pem"
SETTINGS = {
    "PUBLIC_URL": "https://tv.example",
    "SECRET_KEY": secrets.token_hex(32),
    "MAIL_URL": "smtp://mail.tv.example:587",
    "PAYMENT_PROVIDER": "stripe",
    "STRIPE_SECRET_KEY": "sk_live_" + secrets.token_hex(12),
    "STRIPE_WEBHOOK_SECRET": "whsec_" + secrets.token_hex(16),
    "PORT": PORT,
}
CONFINED = "--read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges --init=false".split()
HOST = "--network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024".split()
"""The host's network, and limits that need no privilege, so that the check runs inside a virtual machine too."""


def podman(*arguments: str, **options) -> str:
    result = subprocess.run(["podman", "--runtime", "runc", *arguments], capture_output=True, text=True, **options)
    if result.returncode:
        raise RuntimeError(f"podman {arguments[0]}: {result.stderr.strip()[-2000:]}")
    return result.stdout.strip()


def pull_image(name: str) -> str:
    """Have the image here; return where it is from, or an empty text if its registry cannot be reached."""
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
        return "an image that was here"
    try:
        podman("pull", "--quiet", name, timeout=PULL_TIMEOUT_S)
    except (RuntimeError, subprocess.TimeoutExpired):
        return ""
    return "its registry"


def provide_base() -> str:
    """Have the base image here; return where it is from."""
    if origin := pull_image(BASE):
        return origin
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/base.tar"
        hooks = (f"chroot $1 apt-get purge --yes {MERGING}", "rm -rf $1/var/cache/apt/* $1/var/lib/apt/lists/*")
        options = ["--variant=minbase", "--include=usr-is-merged", *SLIM, *(f"--customize-hook={h}" for h in hooks)]
        subprocess.run(["mmdebstrap", *options, "bookworm", archive], check=True)
        podman("import", "--quiet", archive, BASE)
    return "Debian's packages"


def build_image(name: str, folder: Path, *options: str) -> None:
    """Build the image of the Dockerfile in a folder."""
    options = ("--format", "docker", "--isolation", "chroot", "--pull=never", *options)
    subprocess.run(["podman", "build", *options, "--tag", name, str(folder)], check=True)


def build() -> None:
    """Build the image, with the certificates and the index of packages that pip uses on this machine."""
    certificates = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    options = ["--volume", f"{certificates}:{CA_FILE}:ro", "--build-arg", f"PIP_CERT={CA_FILE}"]
    if index := os.environ.get("PIP_INDEX_URL"):
        options += ["--build-arg", f"PIP_INDEX_URL={index}"]
    build_image(IMAGE, ROOT, *options)


def measure() -> tuple[float, float]:
    """Return megabytes on disk and compressed."""
    size = int(podman("image", "inspect", "--format", "{{.Size}}", IMAGE))
    with tempfile.TemporaryDirectory() as folder:
        podman("save", "--quiet", "--compress", "--format", "docker-dir", "--output", f"{folder}/image", IMAGE)
        compressed = sum(path.stat().st_size for path in Path(folder, "image").iterdir())
    return size / 1e6, compressed / 1e6


def check_running() -> list[str]:
    """Migrate, serve and stop in containers; return what was seen. Raises RuntimeError."""
    environment = [f"--env=STREAMSVC_{name}={value}" for name, value in SETTINGS.items()]
    volume = f"streamsvc-check-{secrets.token_hex(4)}"
    options = [*CONFINED, *HOST, *environment, "--volume", f"{volume}:/data"]
    try:
        podman("run", "--rm", *options, IMAGE, "streamsvc", "db", "upgrade")
        container = podman("run", "--detach", *options, IMAGE)
        try:
            ready = wait_until_ready()
            seen = [f"/readyz: {json.dumps(ready)}"]
            seen.append("user " + podman("exec", container, "id", "-u"))
            write = subprocess.run(["podman", "exec", container, "touch", "/opt/x"], capture_output=True, text=True)
            seen.append(f"a write outside /data: {write.stderr.strip()}")
            podman("healthcheck", "run", container)
            seen.append("health check: healthy")
            podman("stop", "--time", "40", container)
            seen.append("exit status on SIGTERM: " + podman("inspect", "--format", "{{.State.ExitCode}}", container))
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{podman('logs', container)}") from None
        finally:
            podman("rm", "--force", container)
    finally:
        subprocess.run(["podman", "volume", "rm", "--force", volume], capture_output=True, check=False)
    expected = [("user 10001" in seen), any("Read-only file system" in line for line in seen), seen[-1].endswith(" 0")]
    if not all(expected):
        raise RuntimeError("; ".join(seen))
    return seen


def wait_until_ready(port: int = PORT) -> dict:
    deadline, reason = time.monotonic() + READY_TIMEOUT_S, ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
                return json.load(response)
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"not ready within {READY_TIMEOUT_S} s: {reason}")


def main() -> None:
    print(f"base image: from {provide_base()}", flush=True)
    build()
    print("size: {:.0f} MB on disk, {:.0f} MB compressed".format(*measure()), flush=True)
    print(*check_running(), sep="\n")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
