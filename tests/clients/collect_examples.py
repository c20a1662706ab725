"""Collect the examples of the API description from recorded exchanges: python -m tests.clients.collect_examples FOLDER

FOLDER has the files that tests/worlds/described_client.py writes. Of each schema the fullest value of moderate size
becomes its example. Examples of schemas that were not recorded, and those listed in `pinned`, stay as they are.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "streamsvc" / "data" / "api_examples.json"
IDEAL_LENGTH = 700
LONGEST_LIST = 2
HOSTILE = re.compile(
    r"[<>;=~|*`]|\\\\|zq9|\"(x|a|p|P|S|no|none|unknown|test|hook)\"|[^\x00-\x7f]{2}|(.)\1{5}"
    r"|127\.0\.0\.1|localhost|elsewhere|TWIN|wrong|_unknown|Werkzeug|notrial|chargeDeclined|chargeCustomerFail|\"20(0|1)\d-"
)
"""What tests of hostile input send, and names that say nothing."""
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
LOCAL_URL = re.compile(r"http://127\.0\.0\.1:(?!8000)\d+")
SECRET = re.compile(r"\b(sst|ops|sk|whsec|dtt)_[A-Za-z0-9+/=_-]{20,}")


def collect(description: dict, exchanges) -> dict[str, dict]:
    """Return {"schemas": {name: example}, "parameters": {name: example}}."""
    best, parameters = {}, {}
    operations = {
        operation["operationId"]: operation
        for item in description["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    shared = description["components"]["parameters"]
    for item in description["paths"].values():
        for operation in [value for method, value in item.items() if method != "parameters"]:
            own = operation.get("parameters", []) + item.get("parameters", [])
            operation["parameters"] = [shared[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in own]
    schemas = description["components"]["schemas"]

    def visit(schema, value):
        """Offer each part of a value as the example of its schema."""
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            if isinstance(value, dict) and not name.endswith("Problem"):
                best[name] = max(best.get(name, value), value, key=score)
            schema = schemas[name]
        for alternative in [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
            visit(alternative, value)
        if isinstance(value, list):
            for item in value:
                visit(schema.get("items", {}), item)
        elif isinstance(value, dict):
            for name, inner in value.items():
                visit(schema.get("properties", {}).get(name, {}), inner)

    for exchange in exchanges:
        operation, status = operations[exchange["operation"]], exchange["status"]
        response = operation["responses"].get(str(status), {})
        if exchange["response"] is not None:
            visit(response.get("content", {}).get(exchange["type"], {}).get("schema", {}), exchange["response"])
        if status < 300:
            for parameter in operation.get("parameters", ()):
                name = parameter.get("name")
                if name in exchange["parameters"]:
                    schema = parameter["schema"]
                    key = f"{name} ({schema['format']})" if "format" in schema else name
                    parameters.setdefault(key, typed(exchange["parameters"][name], schema))
            for media_type in operation.get("requestBody", {}).get("content", {}).values():
                visit(media_type["schema"], exchange["request"])
    return {
        "schemas": {n: shorten(v) for n, v in best.items()},
        "parameters": {n: shorten(v) for n, v in parameters.items()},
    }


def typed(text: str, schema: dict):
    """Return a parameter's value as its schema has it: numbers and booleans are not text."""
    return json.loads(text) if schema.get("type") in ("integer", "boolean") else text


def score(value: dict) -> tuple:
    """Rank a value as an example: no hostile text, many members with a content, then a moderate length."""
    filled = sum(inner not in (None, [], {}, "", 0, False) for inner in value.values())
    text = json.dumps(value)
    return not HOSTILE.search(text), filled, -abs(len(text) - IDEAL_LENGTH)


def shorten(value):
    """Cut long lists, mask tokens and secrets, and give everybody the same email address."""
    if isinstance(value, list):
        return [shorten(item) for item in value[:LONGEST_LIST]]
    if isinstance(value, dict):
        return {name: shorten(inner) for name, inner in value.items()}
    if isinstance(value, str):
        value = SECRET.sub(lambda secret: f"{secret[1]}_…", value)
        value = LOCAL_URL.sub("https://accounts.example.com", value)
        return EMAIL.sub("viewer@example.com", value)
    return value


def main(folder: Path) -> None:
    description = json.loads((ROOT / "openapi.json").read_text())
    lines = (line for file in sorted(folder.glob("*.ndjson")) for line in file.open())
    examples = json.loads(EXAMPLES.read_text())
    for kind, found in collect(description, map(json.loads, lines)).items():
        pinned = {name: examples[kind][name] for name in examples["pinned"] if name in examples[kind]}
        examples[kind] |= found | pinned
    known = description["components"]["schemas"]
    examples["schemas"] = {name: value for name, value in examples["schemas"].items() if name in known}
    EXAMPLES.write_text(json.dumps(examples, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    print(f"{len(examples['schemas'])} schemas and {len(examples['parameters'])} parameters have an example")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
