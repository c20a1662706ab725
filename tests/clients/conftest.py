"""A running service with a plan and titles, a proxy in front of it, and the client packages built from a clean copy."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import migrate_database
from tests.worlds.flaky_proxy import flaky_proxy
from tests.worlds.playback_steps import FEATURES
from tests.worlds.service import running_service

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ROOT / "clients"
TITLE_COUNT = 30
BUILT = (
    "node_modules",
    "dist",
    "generated",
    "build",
    "*.egg-info",
    "__pycache__",
    "types.py",
    "problems.py",
    "operations.py",
)


@pytest.fixture(scope="package")
def site(new_database, tmp_path_factory):
    """The service: its `url`, an operator's `key`, a `price` and 30 films; `proxy` is in front of it."""
    url = new_database("sqlite", "clients", migrate_database)
    folder = tmp_path_factory.mktemp("service")
    with running_service(url, folder, STREAMSVC_WORKERS="1") as service:
        key = service.command("api-keys", "create", "--scope", "admin", "--name", "clients").stdout.split()[-1]
        prices = [{"currency": "EUR", "amount_minor": 999, "interval": "month", "tax": "inclusive"}]
        plan = {"name": "Standard", "features": {**FEATURES, "max_streams": 2}, "prices": prices}
        status, document = service.call("PUT", "/v1/admin/plans/standard", plan, key)
        assert status in (200, 201), document
        records = [
            {"external_id": f"film{n}", "kind": "movie", "title": f"Film {n}", "year": 1990 + n}
            for n in range(TITLE_COUNT)
        ]
        for record in records:
            assert service.call("PUT", f"/v1/admin/titles/{record['external_id']}", record, key)[0] in (200, 201)
        with flaky_proxy(service.port) as proxy:
            base = f"http://127.0.0.1:{service.port}"
            yield SimpleNamespace(url=base, key=key, price=document["prices"][0]["id"], proxy=proxy, service=service)


@pytest.fixture
def proxy(site):
    """The proxy, with nothing planned and nothing seen."""
    site.proxy.faults.clear()
    site.proxy.seen.clear()
    yield site.proxy
    assert not site.proxy.faults, "every planned fault happened"


def copy_clean(name: str, folder: Path) -> Path:
    """Copy a client without what was built, beside the description as in the repository."""
    shutil.copytree(CLIENTS / name, folder / "clients" / name, ignore=shutil.ignore_patterns(*BUILT))
    shutil.copy(ROOT / "openapi.json", folder)
    return folder / "clients" / name


@pytest.fixture(scope="session")
def python_package(tmp_path_factory):
    """A folder with `streamsvc_client`, installed from a clean copy."""
    pytest.importorskip("httpx", reason="the extra `clients` is not installed")
    folder = tmp_path_factory.mktemp("python_client")
    source = copy_clean("python", folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", source], check=True)
    sys.path.insert(0, str(folder / "site"))
    yield folder / "site"
    sys.path.remove(str(folder / "site"))


@pytest.fixture(scope="session")
def typescript_package(tmp_path_factory):
    """A project with `streamsvc-client` installed from its tarball, which was packed from a clean copy."""
    tools = CLIENTS / "typescript/node_modules"
    if not tools.exists():
        pytest.skip("its tools are not installed: npm ci in clients/typescript")
    folder = tmp_path_factory.mktemp("typescript_client")
    source = copy_clean("typescript", folder)
    (source / "node_modules").symlink_to(tools)
    project = folder / "project"
    project.mkdir()
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", project], cwd=source, check=True)
    [tarball] = project.glob("*.tgz")
    options = {"module": "nodenext", "target": "es2022", "lib": ["es2023", "dom", "dom.iterable"], "strict": True}
    (project / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    config = {"compilerOptions": {**options, "types": []}, "exclude": ["react", "node_modules"]}
    (project / "tsconfig.json").write_text(json.dumps(config))
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--offline", tarball]
    subprocess.run(install, cwd=project, check=True)
    yield SimpleNamespace(folder=project, tsc=tools / ".bin/tsc")


def new_email() -> str:
    return f"viewer{time.time_ns()}@example.com"
