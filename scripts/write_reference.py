"""Write the reference of the command line and of the API's errors: docs/commands.md and docs/errors.md.

    python -m scripts.write_reference

The commands come from click's own objects, the errors from openapi.json and from what the web server answers by itself.
tests/service/test_docs_reference.py compares both pages with the code.
"""

import json
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click

from streamsvc.cli.group import group
from streamsvc.http.description import PROBLEM_MEDIA_TYPE, list_refusals, problem_name, problem_title
from streamsvc.http.server_problems import PROBLEMS
from streamsvc.rules import refusals

ROOT = Path(__file__).parent.parent
COMMANDS_PAGE, ERRORS_PAGE = ROOT / "docs/commands.md", ROOT / "docs/errors.md"
GENERATED = "<!-- Written by python -m scripts.write_reference. Change the code, not this page. -->"
LINE_LENGTH = 120
COMMANDS_HEAD = f"""\
# Commands

{GENERATED}

Every command of `streamsvc`, with its arguments and options. `--help` prints the same. In a checkout, the command is
`.venv/bin/streamsvc`; each command also exists under `flask`. Commands read the same [settings](../README.md#settings)
as the service.

## Exit codes

| code | meaning |
|---|---|
| 0 | The command did what it says. |
| 1 | It failed, or a setting is invalid; standard error says why. |
| 2 | It does not exist, or an argument or option is missing or wrong. |

A command that exits with 1 or 2 for other reasons says so below.
"""
ERRORS_HEAD = f"""\
# Errors

{GENERATED}

Every `code` of the API's errors, by status: the title, the `detail` that the response has unless it says more, members
that only this error has, and the operations that return it. [API conventions](api.md#handle-an-error) shows a whole
error. Match on `code`, which is stable; new codes may be added.
"""
SERVER_HEAD = """\
## Errors of the web server

The web server rejects what is no valid request before the API sees it, and closes the connection.
"""
METHODS = ("get", "post", "put", "patch", "delete")
MAX_OPERATIONS = 40
"""An error of more operations says which kind of operation returns it."""
MIN_NAMED = 5
"""A part of the API with fewer operations that return such an error is counted among the others."""

Operations = dict[tuple[str, str], dict]
"""{(method, path): the operation as in openapi.json}"""


def write_commands_page(root: click.Command = group) -> str:
    """Return docs/commands.md."""
    parts = [COMMANDS_HEAD]
    for name, command in list_children(root):
        parts += _describe_command(command, f"streamsvc {name}", 2)
    return "\n".join(parts)


def list_commands(command: click.Command = group, name: str = "streamsvc") -> Iterator[tuple[str, click.Command]]:
    """List the command and all commands below it, with their names."""
    yield name, command
    for child_name, child in list_children(command):
        yield from list_commands(child, f"{name} {child_name}")


def list_children(command: click.Command) -> list[tuple[str, click.Command]]:
    """Return the commands of a group by name, also those that it imports when they are called; none of a command."""
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    return [
        (name, child)
        for name in sorted(command.list_commands(context))
        if (child := command.get_command(context, name))
    ]


def _describe_command(command: click.Command, name: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    if not isinstance(command, click.Group) or command.invoke_without_command:
        words = [name, *(["[OPTIONS]"] if options else []), *map(_format_argument, arguments)]
        yield f"`{' '.join(words)}`\n"
    yield "\n\n".join(map(_wrap, re.split(r"\n\s*\n", _escape(textwrap.dedent(command.help or "").strip())))) + "\n"
    if defaults := [argument for argument in arguments if _has_default(argument)]:
        yield _wrap(" ".join(f"`{_metavar(each)}` is `{each.default}` by default." for each in defaults)) + "\n"
    if options:
        rows = [f"| {' | '.join(_option_cells(option))} |" for option in options]
        yield "\n".join(["| option | value | default | meaning |", "|---|---|---|---|", *rows]) + "\n"
    for child_name, child in list_children(command):
        yield from _describe_command(child, f"{name} {child_name}", level + 1)


def _format_argument(argument: click.Argument) -> str:
    name = _metavar(argument) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _metavar(argument: click.Argument) -> str:
    return argument.metavar or str(argument.name).upper()


def _option_cells(option: click.Option) -> list[str]:
    names = ", ".join(f"`{name}`" for name in option.opts)
    names += "".join(f" / `{name}`" for name in option.secondary_opts)
    meaning, _, default = _escape(option.help or "").partition("  [default: ")
    default = default.removesuffix("]")
    if option.required:
        default = "required"
    elif option.secondary_opts:
        default = f"`{(option.opts if option.default else option.secondary_opts)[0]}`"
    elif _has_default(option):
        default = f"`{option.default}`"
    return [names, _describe_value(option), default, meaning]


def _has_default(parameter: click.Parameter) -> bool:
    """Whether it has a default that a reader must know: a text or a number, and not that nothing is given."""
    return isinstance(parameter.default, str | int) and not isinstance(parameter.default, bool)


def _describe_value(option: click.Option) -> str:
    if option.is_flag or option.count:
        return ""
    if option.metavar:
        return f"`{option.metavar}`"
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    if isinstance(option.type, click.IntRange):
        return f"{option.type.min} to {option.type.max}"
    return f"`{option.type.name.upper()}`"


def write_errors_page(description: dict) -> str:
    """Return docs/errors.md. `description` is that of the API, which says what each operation returns."""
    operations = list_operations(description)
    by_schema = _operations_by_schema(description, operations)
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for module in iter_modules(refusals.__path__, f"{refusals.__name__}."):
        import_module(module.name)  # so that its classes are known
    for refusal in list_refusals():
        parts = [f"**{problem_title(refusal.code)}.** {refusal.detail}"]
        if refusal.member_schemas:
            parts.append(f"Members: {', '.join(f'`{member}`' for member in refusal.member_schemas)}.")
        returned = _describe_operations(by_schema[problem_name(refusal)], operations)
        entry = "\n\n".join([f"### {refusal.code}", *map(_wrap, parts), returned])
        by_status[refusal.status].append(f"{entry}\n")
    sections = [
        f"## {status} {HTTPStatus(status).phrase}\n\n" + "\n".join(by_status[status]) for status in sorted(by_status)
    ]
    return "\n".join([ERRORS_HEAD, *sections, SERVER_HEAD, *_server_rows()])


def list_operations(description: dict) -> Operations:
    return {
        (method.upper(), path): operation
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def _operations_by_schema(description: dict, operations: Operations) -> dict[str, list[tuple[str, str]]]:
    """Return which operations have an error's schema in a response."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, operation in operations.items():
        for response in operation["responses"].values():
            content = _resolve(description["components"]["responses"], response).get("content", {})
            schema = json.dumps(content.get(PROBLEM_MEDIA_TYPE, {}).get("schema"))
            for name in re.findall(r"#/components/schemas/(\w+)", schema):
                found[name].append(key)
    return found


def _resolve(components: dict, node: dict) -> dict:
    return components[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _describe_operations(keys: list[tuple[str, str]], operations: Operations) -> str:
    """Say which operations these are: by name, by what they have in common, or how many of each part of the API."""
    if len(keys) <= MAX_OPERATIONS:
        names = [f"`{method} {path}`" for path, method in sorted((path, method) for method, path in keys)]
        return (
            f"Returned by {names[0]}." if len(names) == 1 else "\n".join(["Returned by:\n", *(f"- {n}" for n in names)])
        )
    for words, has_it in KINDS.items():
        if set(keys) == {key for key, operation in operations.items() if has_it(operation)}:
            return _wrap(f"Returned by {words} ({len(keys)}).")
    parts = Counter("/".join(path.split("/")[:3]) for _, path in keys)
    named = [f"`{part}` ({count})" for part, count in parts.most_common() if count >= MIN_NAMED]
    if rest := sum(count for count in parts.values() if count < MIN_NAMED):
        named.append(f"others ({rest})")
    return _wrap(f"Returned by {len(keys)} of the {len(operations)} operations: {', '.join(named)}.")


def _has_security(*names: str) -> Callable[[dict], bool]:
    return lambda operation: any(name in scheme for scheme in operation.get("security", ()) for name in names)


def _has_parameter(name: str) -> Callable[[dict], bool]:
    return lambda operation: any(each.get("$ref", "").endswith(name) for each in operation["parameters"])


KINDS: dict[str, Callable[[dict], bool]] = {
    "every operation": lambda operation: True,
    "every operation with a body": lambda operation: "requestBody" in operation,
    "every operation that takes a token": _has_security("session", "operator", "operatorCookie"),
    "every change that a browser may make with a cookie": _has_security("csrf"),
    "every operation that takes an `Idempotency-Key`": _has_parameter("IdempotencyKey"),
}
"""{what operations may have in common, in words: whether one has it}"""


def _server_rows() -> Iterator[str]:
    yield "| status | code | title | detail |\n|---|---|---|---|"
    for status, (code, detail) in sorted(PROBLEMS.items()):
        yield f"| {status} | `{code}` | {problem_title(code)} | {detail} |"
    yield ""


def _escape(text: str) -> str:
    """Escape what would be markup in a table: bars, and `<` outside of code."""
    return re.sub(r"(`[^`|]*`)|([<|])", lambda match: match[1] or f"\\{match[2]}", text)


def _wrap(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), LINE_LENGTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    COMMANDS_PAGE.write_text(write_commands_page())
    ERRORS_PAGE.write_text(write_errors_page(json.loads((ROOT / "openapi.json").read_text())))
