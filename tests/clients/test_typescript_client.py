"""clients/typescript, compiled by tsc and run by Node against a running service."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def test_the_checks_of_the_typescript_client_pass(typescript_package, site, proxy):
    """Sign-up to cancellation, pages, retries, keys, tokens, errors and webhooks, and what the types refuse."""
    folder = typescript_package.folder
    (folder / "check_client.ts").write_text((HERE / "check_client.ts").read_text())
    subprocess.run([typescript_package.tsc, "-p", "."], cwd=folder, check=True)
    command = ["node", "check_client.js", site.url, site.key, site.price, proxy.url]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok ") == 11


def test_the_package_has_no_dependencies_and_its_types(typescript_package):
    package = typescript_package.folder / "node_modules/streamsvc-client"
    assert sorted(path.name for path in package.parent.iterdir() if not path.name.startswith(".")) == [package.name]
    names = {path.relative_to(package).as_posix() for path in package.rglob("*.*")}
    assert {"dist/index.js", "dist/index.d.ts", "dist/generated/api.d.ts", "README.md"} < names
    assert not [name for name in names if name.endswith((".ts", ".mjs")) and not name.endswith(".d.ts")]
