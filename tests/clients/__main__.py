"""Proves the API description with programs that nobody here wrote: `make clients`.

Linters read it, AJV validates what the test suite's requests returned, generated clients in TypeScript and Python walk
from sign-up to cancellation, and Schemathesis calls every operation and follows what the responses offer. The packages
and the collection in clients/ are built from clean copies, and tested and documented against a running service.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.worlds import databases
from tests.worlds.service import DEMO_SETTINGS, running_service, seed_demo

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BIN = Path(sys.executable).parent
DESCRIPTION = ROOT / "openapi.json"
PHASES = "examples,coverage,fuzzing,stateful"
NOT_CALLED = (
    *("createImport",),  # Schemathesis cannot write these files
    *(
        "deleteCurrentSession",
        "closeAccount",
        "changePassword",
        "deleteOperator",
        "revokeApiKey",
        "advanceClock",
        "createSessionRevocation",
    ),
)
"""Operations that Schemathesis leaves out: most would end its own access."""
MAX_TIME_S = "240"
FAILED = []


def run(name: str, *command: str | Path, folder: Path = HERE, **env: str) -> None:
    """Run one step and print its outcome; a failed step does not end the run."""
    print(f"── {name}", flush=True)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run([str(c) for c in command], cwd=folder, env={**os.environ, "PATH": path, **env}, check=False)
    if result.returncode:
        FAILED.append(name)
        print(f"── {name}: FAILED with {result.returncode}", flush=True)


def main() -> int:
    run("npm ci", "npm", "ci", "--no-audit", "--no-fund", "--silent")
    run("Redocly", "npx", "redocly", "lint", DESCRIPTION, "--config", "redocly.yaml")
    run("Spectral", "npx", "spectral", "lint", DESCRIPTION, "-r", "spectral.yaml")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        validate_recorded_exchanges(folder / "exchanges")
        database = databases.create_database("sqlite", folder, "clients")
        seed_demo(database)
        with running_service(database, folder, **DEMO_SETTINGS) as service:
            url = f"http://127.0.0.1:{service.port}"
            walk_in_typescript(url)
            walk_in_python(url, folder / "client")
            call_every_operation(service, url, describe_whole_responses(folder))
    check_packages()
    print(f"── {len(FAILED)} steps failed: {', '.join(FAILED)}" if FAILED else "── all steps passed")
    return len(FAILED)


def validate_recorded_exchanges(folder: Path) -> None:
    """Run the test suite and let AJV validate each request and response."""
    folder.mkdir()
    environment = {"STREAMSVC_TEST_RECORD_TO": str(folder), "STREAMSVC_TEST_DATABASES": "sqlite"}
    pytest = (sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--ignore", "tests/faults")
    run("test suite, recorded", *pytest, folder=ROOT, **environment)
    run("AJV", "node", "validate_exchanges.mjs", DESCRIPTION, folder)


def walk_in_typescript(url: str) -> None:
    run("openapi-typescript", "npx", "openapi-typescript", DESCRIPTION, "-o", "api.d.ts")
    run("tsc", "npx", "tsc", "-p", ".")
    run("TypeScript walk", "node", "walk.js", url)


def walk_in_python(url: str, client: Path) -> None:
    generate = ("openapi-python-client", "generate", "--path", DESCRIPTION, "--output-path", client)
    run("openapi-python-client", *generate)
    run("Python walk", sys.executable, "walk.py", url, PYTHONPATH=str(client))


def describe_whole_responses(folder: Path) -> Path:
    """Write the description without the parameter `fields`, which leaves out members that it calls required."""
    description = json.loads(DESCRIPTION.read_text())
    for item in description["paths"].values():
        for operation in (part for part in item.values() if isinstance(part, dict)):
            kept = [one for one in operation.get("parameters", []) if one.get("name") != "fields"]
            operation["parameters"] = kept
    path = folder / DESCRIPTION.name
    path.write_text(json.dumps(description))
    return path


def call_every_operation(service, url: str, description: Path) -> None:
    """Let Schemathesis call the service as an operator and as a viewer."""
    key = service.command("api-keys", "create", "--scope", "admin", "--name", "clients").stdout.split()[-1]
    body = {"email": "schemathesis@example.com", "password": "seven red herons", "country": "DE"}
    viewer = service.call("POST", "/v1/accounts", body)[1]["token"]
    for name, token in (("operator", key), ("viewer", viewer)):
        command = ["st", "--config-file", HERE / "schemathesis.toml", "run", description, "--url", url]
        command += ["--phases", PHASES, "--max-time", MAX_TIME_S, "-H", f"Authorization: Bearer {token}"]
        command += [option for operation in NOT_CALLED for option in ("--exclude-operation-id", operation)]
        run(f"Schemathesis as {name}", *command)


def check_packages() -> None:
    """Build the clients and the Postman collection, and run their tests and the examples of docs/clients.md."""
    for name in ("typescript", "postman"):
        folder = ROOT / "clients" / name
        run(f"npm ci in {name}", *"npm ci --ignore-scripts --no-audit --no-fund --silent".split(), folder=folder)
    run("client packages", sys.executable, "-m", "pytest", "-q", HERE, folder=ROOT, STREAMSVC_TEST_DATABASES="sqlite")


if __name__ == "__main__":
    sys.exit(main())
