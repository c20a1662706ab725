"""The Postman collection, made from a clean copy: read and run by Postman's own programs."""

import json
import subprocess

import pytest

from tests.clients.conftest import CLIENTS, copy_clean

METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """The folder with the collection and the tools."""
    tools = CLIENTS / "postman/node_modules"
    if not tools.exists():
        pytest.skip("its tools are not installed: npm ci in clients/postman")
    folder = copy_clean("postman", tmp_path_factory.mktemp("collection"))
    (folder / "node_modules").symlink_to(tools)
    subprocess.run(["npm", "run", "make", "--silent"], cwd=folder, check=True, capture_output=True)
    return folder


def requests_in(items):
    for item in items:
        yield from requests_in(item["item"]) if "item" in item else [item]


def test_the_collection_has_every_operation(collection):
    description = json.loads((collection / "../../openapi.json").read_text())
    operations = [item[method] for item in description["paths"].values() for method in METHODS & item.keys()]
    summaries = [operation["summary"] for operation in operations]
    requests = list(requests_in(json.loads((collection / "streamsvc.postman_collection.json").read_text())["item"]))
    assert sorted(request["name"] for request in requests) == sorted(summaries)
    takes_key = [op for op in operations if "IdempotencyKey" in json.dumps(op.get("parameters", ()))]
    headers = [header for request in requests for header in request["request"].get("header", ())]
    keys = [header for header in headers if header["key"] == "Idempotency-Key"]
    assert len(keys) == len(takes_key) and {(key["value"], key["disabled"]) for key in keys} == {("{{$guid}}", False)}


def test_newman_signs_up_and_reads_the_account(collection, site):
    command = ["npx", "newman", "run", "streamsvc.postman_collection.json", "--env-var", f"baseUrl={site.url}"]
    command += ["--folder", "Create an account.", "--folder", "Retrieve your account."]
    command += ["--reporters", "json", "--reporter-json-export", "report.json"]
    result = subprocess.run(command, cwd=collection, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    runs = json.loads((collection / "report.json").read_text())["run"]["executions"]
    assert [(run["item"]["name"], run["response"]["code"]) for run in runs] == [
        ("Create an account.", 201),
        ("Retrieve your account.", 200),
    ]
