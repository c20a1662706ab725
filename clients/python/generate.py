"""Writes the methods, types and errors of the client from the API description: python generate.py

`streamsvc_client/types.py` has a TypedDict for each schema, `problems.py` an exception for each problem code,
`operations.py` the clients with a method for each operation. The build runs this (setup.py), so none of them is in the
repository.
"""

import json
import keyword
import re
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE / "streamsvc_client"
HEADER = '"""Generated from the API description by generate.py."""\n\n'
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
PAGE = {"items", "next_cursor"}
OF_PAGES = ("cursor", "include_total", "limit")
METHODS = ("get", "put", "post", "patch", "delete")
SENT_HEADERS = {
    "Idempotency-Key": "idempotency_key",
    "If-Match": "if_match",
    "X-End-User-Address": "end_user_address",
    "X-Guest-Token": "guest_token",
}
NEW_TOKENS = {"SignedIn", "OperatorSignedIn", "NewToken", "TotpConfirmed", "TokenResponse"}
"""Schemas of responses with an access token that is the caller's own from then on."""


def find_description() -> Path:
    """Return the description: beside this file in a source distribution, else that of the repository."""
    places = [HERE / "openapi.json", HERE.parent.parent / "openapi.json"]
    return next(place for place in places if place.exists())


def generate() -> None:
    description = json.loads(find_description().read_text(encoding="utf-8"))
    for name, text in {
        "types.py": Types(description["components"]["schemas"]).write(),
        "problems.py": write_errors(description),
        "operations.py": write_operations(description),
    }.items():
        (PACKAGE / name).write_text(HEADER + text, encoding="utf-8")


class Types:
    """The schemas as TypedDicts. An object within another one gets the name of where it is."""

    def __init__(self, schemas: dict) -> None:
        self.schemas = {name: schema for name, schema in schemas.items() if "allOf" not in schema}
        self.definitions: list[str] = []

    def write(self) -> str:
        for name, schema in self.schemas.items():
            if "properties" in schema:
                self.define(name, schema)
            else:
                self.definitions.append(f"{name} = {self.type_of(schema, name)!r}")
        return "from typing import Any, Literal, NotRequired, TypedDict\n\n" + "\n\n".join(self.definitions) + "\n"

    def define(self, name: str, schema: dict) -> None:
        required, fields = schema.get("required", ()), {}
        for field, inner in schema["properties"].items():
            kind = self.type_of(inner, name + camel(field))
            fields[field] = repr(kind if field in required else f"NotRequired[{kind}]")
        if any(keyword.iskeyword(field) or not field.isidentifier() for field in fields):
            members = ", ".join(f"{field!r}: {kind}" for field, kind in fields.items())
            self.definitions.append(f"{name} = TypedDict({name!r}, {{{members}}})")
            return
        lines = [f"class {name}(TypedDict):"]
        if "description" in schema:
            lines.append(f"    {docstring(schema['description'])}")
        lines += [f"    {field}: {kind}" for field, kind in fields.items()] or ["    pass"]
        self.definitions.append("\n".join(lines))

    def type_of(self, schema: dict, name: str) -> str:
        """Return the type of a schema. `name`: that of the TypedDict, should one be needed."""
        if "$ref" in schema:
            return reference(schema)
        if "enum" in schema:
            return f"Literal[{', '.join(map(repr, schema['enum']))}]"
        for alternatives in ("anyOf", "oneOf"):
            if alternatives in schema:
                return union(self.type_of(inner, name) for inner in schema[alternatives])
        kinds = schema.get("type", [])
        if isinstance(kinds, list):
            return union(self.type_of({**schema, "type": kind}, name) for kind in kinds) if kinds else "Any"
        if kinds == "array":
            return f"list[{self.type_of(schema.get('items', {}), name)}]"
        if kinds == "object":
            if schema.get("properties"):
                self.define(name, schema)
                return name
            values = schema.get("additionalProperties")
            return f"dict[str, {self.type_of(values, name) if isinstance(values, dict) else 'Any'}]"
        return "bytes" if schema.get("format") == "binary" else SCALARS[kinds]


def union(kinds) -> str:
    return " | ".join(dict.fromkeys(kinds))


def reference(schema: dict) -> str:
    return schema["$ref"].rpartition("/")[2]


def camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def argument(name: str) -> str:
    """Return a parameter's name in Python: `year_gte` for year.gte, `from_` for from."""
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if keyword.iskeyword(name) else name


def docstring(summary: str, more: str = "", indent: str = "    ") -> str:
    """Return a docstring whose further lines are indented."""
    text = f"{summary}\n\n{more}" if more else summary
    text = text.strip().replace("\\", "\\\\").replace('"""', "'''")
    lines = "\n".join(line and indent + line for line in text.splitlines()).strip()
    return f'"""{lines}\n{indent}"""' if "\n" in lines else f'"""{lines}"""'


def write_errors(description: dict) -> str:
    """One exception per problem code, with what a problem has beside its code as attributes."""
    types = Types({})
    classes, names = [], {}
    for schema in description["components"]["schemas"].values():
        own = next((part["properties"] for part in schema.get("allOf", ()) if "properties" in part), {})
        if "enum" not in own.get("code", {}):
            continue
        [code] = own["code"]["enum"]
        name = names[code] = camel(code).removesuffix("Error") + "Error"
        lines = [f"class {name}(ApiError):", f"    {docstring(schema['description'])}"]
        lines += [f"    {field}: {types.type_of(inner, '')} | None" for field, inner in own.items() if field != "code"]
        classes.append("\n".join(lines))
    table = "".join(f"    {code!r}: {name},\n" for code, name in names.items())
    return (
        "from __future__ import annotations\n\nfrom typing import Any, Literal\n\n"
        "from streamsvc_client.errors import ERRORS, ApiError\n\n"
        f"{chr(10).join(classes)}\n\nERRORS.update({{\n{table}}})\n"
    )


class Operation:
    """An operation of the description, and its method in Python."""

    def __init__(self, description: dict, path: str, method: str, item: dict) -> None:
        spec = item[method]
        shared = description["components"]["parameters"]
        parameters = [*item.get("parameters", ()), *spec.get("parameters", ())]
        parameters = [shared[reference(each)] if "$ref" in each else each for each in parameters]
        self.path, self.method, self.name = path, method.upper(), snake(spec["operationId"])
        self.summary, self.description = spec["summary"], spec.get("description", "")
        self.is_open = spec.get("security") == []
        self.query = [each for each in parameters if each["in"] == "query"]
        self.headers = [each["name"] for each in parameters if each["name"] in SENT_HEADERS]
        self.contents = spec.get("requestBody", {}).get("content", {})
        self.responses = [content for status, content in spec["responses"].items() if status.startswith("2")]
        schemas = description["components"]["schemas"]
        self.page_items = self._items_of_pages(schemas)

    def _items_of_pages(self, schemas: dict) -> str | None:
        """Return the type of the items, if the response is a page of a list."""
        [result, *others] = self._result_types()
        properties = schemas.get(result, {}).get("properties", {})
        if others or not properties.keys() >= PAGE or not any(each["name"] == "cursor" for each in self.query):
            return None
        items = properties["items"]["items"]
        return Types({}).type_of(items, "")

    def _result_types(self) -> list[str]:
        types = Types({})
        contents = [response.get("content", {}) for response in self.responses]
        kinds = ["None" for content in contents if not content]
        for content in contents:
            for media_type, body in content.items():
                is_json = media_type == "application/json"
                kinds.append(types.type_of(body["schema"], "") if is_json else "bytes")
        return sorted(dict.fromkeys(kinds), key=lambda kind: kind == "None") or ["None"]

    def _arguments(self, without: tuple[str, ...] = ()) -> list[str]:
        types = Types({})
        positional = [f"{argument(name)}: str" for name in re.findall(r"{(\w+)}", self.path)]
        if self.contents:
            positional.append(f"body: {self._body_type()}")
        named = []
        for each in sorted(self.query, key=lambda each: not each.get("required")):
            if each["name"] not in without:
                kind = types.type_of(each["schema"], "") + ("" if each.get("required") else " | None = None")
                named.append(f"{argument(each['name'])}: {kind}")
        if len(self.contents) > 1:
            named.append("content_type: str")
        named += [f"{SENT_HEADERS[name]}: str | None = None" for name in self.headers]
        return [*positional, *(["*", *named] if named else [])]

    def _body_type(self) -> str:
        kinds = {
            "bytes" if body["schema"].get("format") == "binary" else Types({}).type_of(body["schema"], "")
            for body in self.contents.values()
        }
        return "bytes" if len(self.contents) > 1 else kinds.pop()

    def _url(self) -> str:
        path = re.sub(r"{(\w+)}", lambda found: f"{{quote_id({argument(found[1])})}}", self.path)
        return f'f"{path}"' if "{" in path else f'"{path}"'

    def _query(self) -> str:
        return "{" + ", ".join(f"{each['name']!r}: {argument(each['name'])}" for each in self.query) + "}"

    def _call(self) -> str:
        options = [f"query={self._query()}"] if self.query else []
        if self.contents:
            is_form = "application/x-www-form-urlencoded" in self.contents
            kind = "content" if len(self.contents) > 1 else "form" if is_form else "body"
            options.append(f"{kind}=body")
        headers = {name: SENT_HEADERS[name] for name in self.headers}
        if "Idempotency-Key" in headers:
            headers["Idempotency-Key"] += " or new_key()"
        if len(self.contents) > 1:
            headers["Content-Type"] = "content_type"
        if headers:
            options.append("headers={" + ", ".join(f"{name!r}: {value}" for name, value in headers.items()) + "}")
        if self.is_open:
            options.append("is_open=True")
        if NEW_TOKENS & set(self._result_types()):
            options.append("has_token=True")
        if "bytes" in self._result_types():
            options.append("is_binary=True")
        return f"self._call({', '.join([repr(self.method), self._url(), *options])})"

    def write(self, is_async: bool) -> str:
        """Return the method, and for a list the one that returns the items of all pages."""
        result = " | ".join(self._result_types())
        prefix, wait = ("async ", "await ") if is_async else ("", "")
        text = (
            f"    {prefix}def {self.name}({', '.join(['self', *self._arguments()])}) -> {result}:\n"
            f"        {docstring(self.summary, self.description, ' ' * 8)}\n"
            f"        return {wait}{self._call()}\n"
        )
        if self.page_items:
            iterator = "AsyncIterator" if is_async else "Iterator"
            name = "iter_" + self.name.removeprefix("list_").removeprefix("get_")
            most = next(each["schema"].get("maximum", 100) for each in self.query if each["name"] == "limit")
            arguments = [each for each in self._arguments(without=OF_PAGES) if each != "*"]
            query = {each["name"]: argument(each["name"]) for each in self.query if each["name"] not in OF_PAGES}
            own = "{" + ", ".join(f"{key!r}: {value}" for key, value in query.items()) + "}"
            split = len(arguments) - len(query)
            arguments = ["self", *arguments[:split], "*", *arguments[split:], f"limit: int = {most}"]
            text += (
                f"\n    def {name}({', '.join(arguments)}) -> {iterator}[{self.page_items}]:\n"
                f'        """Iterate over the items of all pages of `{self.name}`, `limit` at a time."""\n'
                f"        return self._iterate({self._url()}, {own}, limit)\n"
            )
        return text


def write_operations(description: dict) -> str:
    operations = [
        Operation(description, path, method, item)
        for path, item in description["paths"].items()
        if path.startswith("/v1/")
        for method in METHODS
        if method in item
    ]
    text = (
        "from __future__ import annotations\n\nfrom collections.abc import AsyncIterator, Iterator\n"
        "from typing import Any, Literal\n\n"
        "from streamsvc_client._sending import AsyncSender, SyncSender, new_key, quote_id\n"
        "from streamsvc_client.types import *\n\n\n"
    )
    for name, sender, is_async in (("Client", "SyncSender", False), ("AsyncClient", "AsyncSender", True)):
        methods = "\n".join(operation.write(is_async) for operation in operations)
        summary = docstring(f"The operations of the service, {'awaited' if is_async else 'each a call that blocks'}.")
        text += f"class {name}({sender}):\n    {summary}\n\n{methods}\n\n"
    return text


if __name__ == "__main__":
    generate()
