"""The pods of deploy/kubernetes, started by `podman kube play` beside the database of compose.yaml.

podman 4 has no jobs: the pods of the migration and of the backup are started by themselves. It has no probes like a
kubelet's either; they are asked here. `NOT_STARTED` is what needs a cluster.
"""

import base64
import json
import subprocess
import urllib.request

import yaml

from scripts.check_deployment.compose import Site
from scripts.check_deployment.containers import check_confined, check_restart, run, say, sign_up, wait_for_success
from scripts.check_image import IMAGE, ROOT, podman, wait_until_ready

NOT_STARTED = (
    "Service", "PodDisruptionBudget", "the CronJob's schedule", "a Job's retries", "replicas", "rolling updates",
    "topologySpreadConstraints", "preStop", "fsGroup",
)  # fmt: skip
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
OWN = "--filter=label=app=streamsvc"
"""Lists the pods of this check alone."""
VOLUME = "streamsvc-backups"
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": VOLUME},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def read_manifests(port: int) -> dict[str, dict]:
    """Return what podman can start, by part: a pod of each deployment, and those of jobs, with this image and port."""
    manifests = {}
    for path in (ROOT / "deploy/kubernetes").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            spec = document["spec"].get("jobTemplate", document)["spec"]
            if "template" not in spec:
                continue
            (container,) = spec["template"]["spec"]["containers"]
            container |= {"image": IMAGE, "imagePullPolicy": "Never"}
            for published in container.get("ports", ()):
                published |= {"hostIP": "127.0.0.1", "hostPort": port}
            part = document["metadata"]["labels"]["part"]
            if document["kind"] == "Deployment":
                spec["replicas"] = 1
                manifests[part] = document
            else:
                spec["template"]["metadata"]["name"] = f"streamsvc-{part}"
                manifests[part] = {"apiVersion": "v1", "kind": "Pod", **spec["template"]}
    return manifests


def create_secret(site: Site) -> None:
    """Create the secret that the documentation creates from streamsvc.env, with the database's URL."""
    lines = [line for line in (site.folder / "streamsvc.env").read_text().splitlines() if line and line[0] != "#"]
    settings = dict(line.split("=", 1) for line in lines)
    settings["STREAMSVC_DATABASE_URL"] = f"postgresql://streamsvc:{site.password}@database/streamsvc"
    data = {name: base64.b64encode(value.strip("'").encode()).decode() for name, value in settings.items()}
    path = site.folder / "secret.json"  # podman 4.3 reads no manifest of a secret
    path.write_text(json.dumps(data))
    podman("secret", "create", "streamsvc", str(path))


def play(site: Site, manifest: dict) -> str:
    """Start it; return the id of its container, if it has one."""
    path = site.folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return (podman("kube", "play", "--network", site.network, str(path)).split() or [""])[-1]


def run_to_the_end(site: Site, manifest: dict) -> str:
    """Run a pod and return the last line that it prints, if any. Raises RuntimeError if it fails."""
    container = play(site, manifest)
    wait_for_success(container)
    return (run("podman", "logs", container).splitlines() or ["done"])[-1]


def check(site: Site) -> None:
    """Migrate, serve, kill and back up. Raises RuntimeError if something is not as it should be."""
    manifests = read_manifests(site.port)
    try:
        site.start("database")
        site.wait_for("database", "service_healthy")
        create_secret(site)
        play(site, CLAIM)
        say(f"kubernetes: migration: {run_to_the_end(site, manifests['migration'])}")
        worker, web = play(site, manifests["worker"]), play(site, manifests["web"])
        wait_until_ready(site.port)
        check_probes(site.port, manifests["web"])
        for name, container in (("worker", worker), ("web", web)):
            say(f"kubernetes: {name}: {check_confined(container)}")
        say(f"kubernetes: signed up as {sign_up(site.port)[0]}")
        say(f"kubernetes: backup: {run_to_the_end(site, manifests['backup'])}")
        say(f"kubernetes: web killed: {check_restart(web, site.port)}")
        say(f"kubernetes: validated, not started: {', '.join(NOT_STARTED)}")
    finally:
        remove()


def check_probes(port: int, deployment: dict) -> None:
    """Ask each probe as a kubelet does."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for name in PROBES:
        path, timeout_s = container[name]["httpGet"]["path"], container[name].get("timeoutSeconds", 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as response:
            say(f"kubernetes: {name}: {path} {response.status}")


def remove() -> None:
    """Remove the pods, the secret and the volume of the claim."""
    pods = podman("pod", "ps", "--quiet", OWN).split()
    for command in (("pod", "rm", "--force", *pods), ("secret", "rm", "streamsvc"), ("volume", "rm", VOLUME)):
        subprocess.run(["podman", *command], capture_output=True, check=False)
