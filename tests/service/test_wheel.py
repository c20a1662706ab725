"""The wheel is complete: `streamsvc demo` runs from it in an empty environment."""

import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.worlds.service import DEMO_SETTINGS, Service, seed_demo, wait_until

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("streamsvc", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
LINES = '{"external_id": "wheel:1", "kind": "movie", "title": "A Film"}\n'


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`streamsvc` in a new environment with the wheel and what it requires, without this checkout.

    The modules that it imports are compiled at their first import, as nobody needs the others here.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "clients/python", source / "clients/python")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, source], check=True)
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    [wheel] = folder.glob("*.whl")
    folders = {name.partition("/")[0].partition("-")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert folders == {"streamsvc"}, "the clients are packages of their own"
    install = [
        *pip,
        "--python",
        folder / "env/bin/python",
        "install",
        "--no-deps",
        "--no-compile",
        "--ignore-installed",
        wheel,
    ]
    subprocess.run(install, check=True)
    [packages] = folder.glob("env/lib/python3*/site-packages")
    link_requirements(packages)
    return folder / "env/bin/streamsvc"


def link_requirements(packages):
    """Link what the wheel in this folder requires, and what that requires, to the packages that run the tests."""
    [wheel] = distributions(name="streamsvc", path=[str(packages)])
    linked, unread = set(), [(wheel, "")]
    while unread:
        package, extra = unread.pop()
        for requirement in map(Requirement, package.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            required = distribution(requirement.name)
            assert required.version in requirement.specifier, requirement
            for each in {(requirement.name, name) for name in {"", *requirement.extras}} - linked:
                linked.add(each)
                unread.append((required, each[1]))
            for top in {file.parts[0] for file in required.files if file.parts[0] not in ("..", "__pycache__")}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(required.locate_file(top))


def find_status(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def service(command, tmp_path):
    """A service whose environment names no database: it is in the data folder."""
    service = Service("", tmp_path)
    left_out = ("STREAMSVC_DATABASE_URL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    service.env = {name: value for name, value in (service.env | DEMO_SETTINGS).items() if name not in left_out}
    service.env["STREAMSVC_WORKERS"] = "1"
    return service


def test_an_empty_database_is_migrated_and_filled_from_an_installed_wheel(command, service, tmp_path):
    (tmp_path / "titles.ndjson").write_text(LINES)
    for arguments in (("db", "upgrade"), ("catalog", "import", "titles.ndjson")):
        run = subprocess.run([command, *arguments], env=service.env, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    assert "1 added" in run.stdout


def test_the_demo_runs_from_an_installed_wheel(command, service, new_database, tmp_path):
    """In a copy of the database that others have seeded: it reads its own catalogue and finds it unchanged."""
    service.env["STREAMSVC_DATABASE_URL"] = new_database("sqlite", "wheel", seed_demo)
    with service.log.open("w") as log:
        service.process = subprocess.Popen([command, "demo"], env=service.env, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until(lambda: service.is_ready() or service.process.poll() is not None)
        assert service.is_ready(), service.log.read_text()
        assert "17472 unchanged" in service.log.read_text()
        for path, status in {
            "/media/demo/colour-bars/720p/video.mp4": 401,  # it is there, for whoever has a playback token
            "/media/demo/none/720p/video.mp4": 404,
            "/storefront/elements.js": 200,
            "/console/elements.js": 200,
            "/storefront/i18n/ja.js": 200,
            "/storefront/vendor/hls.light.min.js": 200,
            "/storefront/vendor/hls.LICENSE.txt": 200,
            "/docs/billing": 200,
            "/docs/readme": 200,
            "/docs/console-today.png": 200,
        }.items():
            assert find_status(f"http://127.0.0.1:{service.port}{path}") == status, path
        assert {plan["code"] for plan in service.get("/v1/plans?country=DE&currency=EUR")[1]["items"]}
        public_url = service.get("/openapi.json")[1]["info"]["contact"]["url"]
        assert public_url == f"http://127.0.0.1:{service.port}", "links have its own port"
        assert service.children(str(command.parent))
    finally:
        service.process.terminate()
        service.process.wait(60)
