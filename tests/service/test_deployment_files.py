"""The files in deploy/, Dockerfile and compose.yaml: the programs that they are for accept them, and they agree.

What a machine lacks (nginx, Caddy, promtool, systemd-analyze) is not checked there.
"""

import json
import re
import shutil
import ssl
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import get_args
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.check_deployment import kubernetes
from streamsvc.rules.jobs import Lane
from streamsvc.settings import PREFIX, list_unknown
from tests.worlds import media_servers
from tests.worlds.browser import serve_app
from tests.worlds.commands import parse_command

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bstreamsvc_[a-z_]+")
KUBERNETES = [*DEPLOY.glob("kubernetes/*.yaml")]
PINNED = DEPLOY / "requirements.txt"
UNITS = [*DEPLOY.glob("systemd/*")]
pytestmark = pytest.mark.one_database


def find_program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is missing")
    return path


def run(*command, **options):
    """Run a program; its output is the message if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def read_documents(*paths: Path) -> list[dict]:
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit, tmp_path):
    program = find_program("systemd-analyze")
    for source in UNITS:
        (tmp_path / source.name).write_text(source.read_text().replace("/opt/streamsvc/bin/streamsvc", "/bin/true"))
    warnings = run(program, "verify", "--man=no", str(tmp_path / unit.name), env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    assert unit.name not in warnings


@pytest.mark.parametrize("document", read_documents(*KUBERNETES), ids=lambda document: document["kind"])
def test_kubernetes_accepts_the_manifest(document):
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_check_of_manifests_knows_every_field():
    document = read_documents(DEPLOY / "kubernetes/migration.yaml")[0]
    document["spec"]["backOffLimit"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_every_container_is_confined():
    """No container runs as root, writes to its root file system or keeps a capability; the image runs as that user."""
    user = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE).group(1)
    for pod in list_pods():
        (container,) = pod["containers"]
        context = container["securityContext"]
        assert pod["securityContext"]["runAsUser"] == int(user)
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    for name, service in read_documents(ROOT / "compose.yaml")[0]["services"].items():
        if name != "database":
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_the_image_installs_pinned_what_the_package_requires():
    """deploy/requirements.txt is made by `make pin`."""
    blocks = re.findall(r"^(\S+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", PINNED.read_text(), re.M)
    pinned = {canonicalize_name(name): version for name, version, _ in blocks}
    assert len(blocks) == PINNED.read_text().count("==") > 30
    options = ConfigParser()
    options.read(ROOT / "setup.cfg")
    extras = re.search(r"^IMAGE_EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    required = [options["options"]["install_requires"], *(options["options.extras_require"][extra] for extra in extras)]
    for requirement in map(Requirement, "\n".join(required).split()):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), str(requirement)


def test_the_documentation_names_what_make_deployment_check_leaves_out():
    """Each manifest is started, as a whole or by its pod, or is named as one that is not; so are its fields."""
    started = kubernetes.read_manifests(port=8000)
    left_out = {document["kind"] for document in read_documents(*KUBERNETES)} - {"Deployment", "Job", "CronJob"}
    assert started.keys() == {"web", "worker", "migration", "backup"}
    assert left_out <= set(kubernetes.NOT_STARTED)
    section = (ROOT / "docs/deployment.md").read_text().partition("## Start it on Kubernetes")[2].partition("\n## ")[0]
    assert not [name for name in kubernetes.NOT_STARTED if name not in section.replace("`", "").replace("\n", " ")]


def list_pods() -> list[dict]:
    """The pods that Kubernetes starts, for themselves, in a job or in a job that is repeated."""
    specs = [document["spec"] for document in read_documents(*KUBERNETES)]
    specs = [spec.get("jobTemplate", {"spec": spec})["spec"] for spec in specs]
    return [spec["template"]["spec"] for spec in specs if "template" in spec]


def list_commands() -> list[list[str]]:
    """The commands of this product that the files run."""
    texts = [re.findall(r"^Exec\w+=/opt/streamsvc/bin/(streamsvc .*)$", unit.read_text(), re.M) for unit in UNITS]
    services = read_documents(ROOT / "compose.yaml")[0]["services"].values()
    return [
        *(text.split() for found in texts for text in found),
        *(pod["containers"][0]["args"] for pod in list_pods()),
        *(service["command"] for service in services if "command" in service),
        json.loads(re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.M).group(1)),
    ]


def test_every_command_exists():
    commands = list_commands()
    assert len(commands) == 12
    for program, *arguments in commands:
        assert program == "streamsvc"
        parse_command(arguments)


def test_every_setting_exists():
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    text = "".join(path.read_text() for path in [*files, ROOT / "Dockerfile", ROOT / "compose.yaml"])
    names = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]", text))
    assert len(names) > 4
    assert not list_unknown(dict.fromkeys(names, ""))


def test_promtool_accepts_the_alerts():
    promtool = find_program("promtool")
    run(promtool, "check", "rules", "alerts.yaml", cwd=DEPLOY / "prometheus")
    run(promtool, "test", "rules", "alerts_test.yaml", cwd=DEPLOY / "prometheus")


def test_every_metric_exists(new_app):
    """Alerts and dashboard name metrics that `GET /metrics` has, and docs/on-call.md has each alert."""
    replica = "postgresql://nobody@127.0.0.1:1/none"
    app = new_app("postgresql", "metrics_names", metrics=True, database_replica_url=replica)
    served = app.test_client().get("/metrics").text
    known = set(re.findall(r"^# TYPE (\w+)", served, re.M))
    known |= {name + suffix for name in known for suffix in ("_count", "_bucket", "_sum", "_total")}
    dashboard = (DEPLOY / "grafana/streamsvc.json").read_text()
    alerts = (DEPLOY / "prometheus/alerts.yaml").read_text()
    named = set(METRIC.findall(dashboard + alerts))
    assert len(named) > 8
    assert not named - known
    lanes = set(re.findall(r'lane="(\w+)"', alerts + dashboard))
    assert lanes <= set(get_args(Lane))
    on_call = (ROOT / "docs/on-call.md").read_text()
    assert not [name for name in re.findall(r"alert: (\w+)", alerts) if f"`{name}`" not in on_call]


def test_caddy_accepts_the_site():
    find_program("caddy")
    run("caddy", "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile-service"))


def test_haproxy_accepts_the_site(tmp_path):
    haproxy, openssl = find_program("haproxy"), find_program("openssl")
    names = ["-subj", "/CN=localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"]
    run(openssl, "req", "-x509", "-nodes", "-newkey", "rsa:2048", *names)
    both = (tmp_path / "certificate").read_text() + (tmp_path / "key").read_text()
    (tmp_path / "video.example.pem").write_text(both)
    text = (DEPLOY / "haproxy.cfg").read_text().replace("/etc/haproxy/", f"{tmp_path}/")
    (tmp_path / "haproxy.cfg").write_text(text)
    run(haproxy, "-c", "-dW", "-f", str(tmp_path / "haproxy.cfg"))
    (tmp_path / "haproxy.cfg").write_text(text.replace("leastconn", "least-conn"))
    with pytest.raises(AssertionError, match="balance only supports"):
        run(haproxy, "-c", "-f", str(tmp_path / "haproxy.cfg"))


def test_nginx_passes_on_what_it_should(new_app, database, tmp_path):
    """The shipped site, with a certificate of its own: TLS, the client's address, no metrics, no API on plain http."""
    media_servers.require_program("nginx")
    openssl, folder = find_program("openssl"), tmp_path / "nginx"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    out = ("-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem")
    run(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *out, *names)
    plain, tls = media_servers.free_port(), media_servers.free_port()

    def create(url):
        return new_app(database, "behind_nginx", public_url=f"https://localhost:{tls}", trusted_proxies=1, metrics=True)

    with serve_app(create) as url:
        site = media_servers.shipped(
            "nginx-service.conf",
            **{"127.0.0.1:8000": url.removeprefix("http://").replace("localhost", "127.0.0.1")},
            **{"listen 80;": f"listen 127.0.0.1:{plain};", "listen 443 ": f"listen 127.0.0.1:{tls} "},
            **{"/etc/ssl/video.example.pem": f"{tmp_path}/cert.pem"},
            **{"/etc/ssl/private/video.example.key": f"{tmp_path}/key.pem"},
        )
        folder.mkdir()
        with media_servers.running_site(folder, tls, site):
            context = ssl.create_default_context(cafile=f"{tmp_path}/cert.pem")

            def get(url: str, **headers: str):
                try:
                    with urlopen(Request(url, headers=headers), timeout=10, context=context) as response:
                        return response.status, response.headers, response.read()
                except HTTPError as error:
                    return error.code, error.headers, error.read()

            status, headers, body = get(f"https://localhost:{tls}/livez")
            assert (status, json.loads(body)) == (200, {"status": "ok"})
            assert headers["Strict-Transport-Security"]
            assert get(f"https://localhost:{tls}/metrics")[0] == 404
            assert get(f"http://localhost:{plain}/v1/plans?country=US")[0] == 426
