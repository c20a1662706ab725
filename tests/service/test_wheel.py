"""The wheel is complete: `streamsvc demo` runs from it in an empty environment."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.worlds.service import Service, wait_until

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("streamsvc", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`streamsvc` in a new environment with the wheel and its requirements, without this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "clients/python", source / "clients/python")
    pip = ("-m", "pip", "--disable-pip-version-check", "-q")
    subprocess.run([sys.executable, *pip, "wheel", "--no-deps", "-w", str(folder), str(source)], check=True)
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    [wheel] = folder.glob("*.whl")
    folders = {name.partition("/")[0].partition("-")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert folders == {"streamsvc"}, "the clients are packages of their own"
    subprocess.run([str(folder / "env/bin/python"), *pip, "install", str(wheel)], check=True)
    return folder / "env/bin/streamsvc"


def test_the_demo_runs_from_an_installed_wheel(command, tmp_path):
    service = Service("", tmp_path)
    env = {name: value for name, value in service.env.items() if name not in ("STREAMSVC_DATABASE_URL", "PYTHONPATH")}
    with service.log.open("w") as log:
        service.process = subprocess.Popen([command, "demo"], env=env, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until(lambda: service.is_ready() or service.process.poll() is not None)
        assert service.is_ready(), service.log.read_text()
        assert {plan["code"] for plan in service.get("/v1/plans?country=DE&currency=EUR")[1]["items"]}
        public_url = service.get("/openapi.json")[1]["info"]["contact"]["url"]
        assert public_url == f"http://127.0.0.1:{service.port}", "links have its own port"
        assert service.children(str(command.parent))
    finally:
        service.process.terminate()
        service.process.wait(60)
