"""The examples of the README and of the documentation are right: curl calls, JSON, commands, settings, code.

curl calls are sent to the service, JSON is compared with the API description, commands and settings are parsed, code is
compiled. tests/service/docs_examples.txt lists the examples that are not run, and the curl calls that do not succeed in
the tests' world.
"""

import ast
import configparser
import contextlib
import importlib.util
import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from streamsvc.settings import Settings
from tests.conftest import Clock
from tests.worlds.commands import parse_command
from tests.worlds.described_client import describe, find_operation, require_only_ids
from tests.worlds.docs_commands import CommandWorld, find_changed_output
from tests.worlds.docs_examples import PAGES, ROOT, Example, read_examples, read_json_documents, split_commands
from tests.worlds.docs_world import DocsWorld, Exchange
from tests.worlds.service import seed_small_demo
from tests.worlds.shown_json import find_difference

LIST = Path(__file__).parent / "docs_examples.txt"
UNKNOWN = "no test runs this program: mark the block as not run"
RUN_ELSEWHERE = {"README.md", "docs/tutorial.md"}
"""Pages whose calls depend on each other: test_docs_sessions.py runs them, and compares their JSON, in a shell."""
PLACES = {"ROLE": "admin", "SCOPE": "admin", "FILE": __file__, "SOURCE": __file__}
"""What stands for what in the README's list of commands."""
EXAMPLES = {str(page.relative_to(ROOT)): read_examples(page) for page in PAGES}


def listed(kind: str) -> list[str]:
    """Return the lines of a kind in the list, without their reasons."""
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return sorted(line.partition(" | ")[0].removeprefix(f"{kind} ") for line in lines if line.startswith(f"{kind} "))


def examples_of(*kinds: str) -> list[Example]:
    return [each for page in EXAMPLES.values() for each in page if each.kind in kinds and not each.not_run]


@pytest.fixture(scope="module")
def world(new_app):
    return DocsWorld(new_app("sqlite", "docs", clock=Clock(), catalog="public", usernames=True, metrics=True))


# curl and JSON


def test_curl_examples_succeed_and_json_is_as_described(world):
    wrong, failed = [], Counter()
    for page, examples in EXAMPLES.items():
        exchanges: list[Exchange] = []
        for number, example in enumerate(examples if page not in RUN_ELSEWHERE else []):
            if example.kind == "sh" and "curl " in example.text:
                exchanges = world.run(example)
                shown = find_shown_errors(examples[number + 1 :])
                failed.update(describe_failure(world, page, each) for each in exchanges if is_failure(each, shown))
            elif example.kind == "sh":
                exchanges = []
            elif example.kind in ("json", "http") and not example.not_run:
                wrong += check_shown(world, example, exchanges)
    assert not wrong, "\n".join(wrong)
    assert sorted(failed) == listed("fails"), "\n".join(sorted(failed))


def find_shown_errors(examples: list[Example]) -> set:
    """Return the statuses and codes that the blocks up to the next command show."""
    shown = set()
    for example in examples:
        if example.kind == "sh":
            break
        shown.update(re.findall(r'"code": "(\w+)"', example.text), re.findall(r"HTTP/1.1 (\d+)", example.text))
    return shown


def is_failure(exchange: Exchange, shown: set) -> bool:
    status = exchange.response.status_code
    return status >= 400 and not shown & {str(status), (exchange.response.get_json(silent=True) or {}).get("code")}


def describe_failure(world, page: str, exchange: Exchange) -> str:
    request, response = exchange.request, exchange.response
    rule = world.app.url_map.bind("localhost").match(request.path, request.method, return_rule=True)[0].rule
    problem = response.json
    return f"{page} {request.method} {rule} {response.status_code} {problem.get('code') or problem.get('error')}"


def check_shown(world, example: Example, exchanges: list[Exchange]) -> list[str]:
    """Return what is wrong with a block of JSON, or of HTTP, after these calls."""
    text, wrong = example.text, []
    operations = [find_operation(world.app, each.request.method, each.request.path)[0] for each in exchanges]
    if example.kind == "http":
        head, _, text = example.text.partition("\n\n")
        if status := re.match(r"HTTP/1.1 (\d+)", head):
            statuses = {status for operation in operations for status in operation["responses"]}
            wrong += [] if status[1] in statuses or not exchanges else [f"{example}: no call responds {status[1]}"]
        else:
            requests = [line.split()[:2] for line in head.splitlines() if re.match(r"[A-Z]+ /v1/", line)]
            operations = [find_operation(world.app, method, path.partition("?")[0])[0] for method, path in requests]
            wrong += [] if all(operations) else [f"{example}: no such operation"]
    try:
        documents = read_json_documents(text) if text.startswith(("{", "[")) else []
    except ValueError as error:
        return [*wrong, f"{example}: {error}"]
    selects_fields = any(name == "fields" for each in exchanges for name, _ in each.request.query)
    found = [find_problem(world, example, document, operations, selects_fields) for document in documents]
    return wrong + [f"{example}: {problem}" for problem in found if problem]


def find_problem(world, example: Example, document, operations: list[dict], selects_fields: bool = False) -> str | None:
    """Say how a document differs from every schema that may describe it; None if one does.

    That is the schema that the page names, or a setting; the schema of the error with its code; of the event of its
    type; or of a successful response of the calls before it.
    """
    description = describe(world.app)
    schemas = description["components"]["schemas"]
    schemas = require_only_ids(schemas) if selects_fields else schemas
    if example.schema and example.schema.startswith("STREAMSVC_"):
        return find_difference_of_setting(example.schema, example.text)
    if example.schema:
        candidates = [schemas[example.schema]]
    elif "code" in document and (name := error_schema(str(document["code"]))) in schemas:
        candidates = [schemas[name]]
        document = {"type": "…", "…": "…"} | document if "type" not in document else document
    elif document.get("type") in description["webhooks"]:
        operation = description["webhooks"][document["type"]]["post"]
        candidates = [operation["requestBody"]["content"]["application/json"]["schema"]]
    else:
        candidates = [schema for operation in operations if operation for schema in success_schemas(operation)]
    differences = [find_difference(document, schema, schemas) for schema in candidates]
    return None if None in differences else (differences[-1:] or ["no call before it; name its schema in a comment"])[0]


def find_difference_of_setting(name: str, text: str) -> str | None:
    """Parse a setting's JSON, without its files, which are the reader's. A signer is one item of its setting."""
    text = text if name == "STREAMSVC_DRM" else f"[{text}]"
    text = text.replace('"…"', f'"{"A" * 43}="').replace("…", "a" * 16)
    problem = parse_settings({name: text})
    return None if problem and "does not exist" in problem else problem


def error_schema(code: str) -> str:
    return "".join(map(str.capitalize, code.split("_"))) + "Problem"


def success_schemas(operation: dict) -> list[dict]:
    """Return the schemas of the operation's successful responses, of its rows where it streams them."""
    contents = [body.get("content", {}) for status, body in operation["responses"].items() if status.startswith("2")]
    return [media.get("schema", {}) for content in contents for media in content.values()]


def test_an_elision_is_the_only_thing_that_may_be_left_out():
    """The comparison itself: with a member too many, too few, of another type, and with `…`."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
    assert find_difference({"a": 1, "b": "x"}, schema, {}) is None
    assert find_difference({"b": "x", "…": "…"}, schema, {}) is None
    assert "leaves out ['a']" in find_difference({"b": "x"}, schema, {})
    assert ".c is not described" in find_difference({"a": 1, "c": 1}, schema | {"additionalProperties": False}, {})
    assert "type integer" in find_difference({"a": True}, schema, {})


# commands


def test_every_shell_block_is_well_formed():
    wrong = [e for e in examples_of("sh") if subprocess.run(["bash", "-n"], input=e.text, text=True).returncode]
    assert not [str(e) for e in wrong if not re.search(r"^\$ |^\*", e.text, re.MULTILINE)]


def test_every_command_exists_with_its_options(tmp_path, monkeypatch):
    """Of streamsvc, make, our Python modules and packages; other programs are marked as not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media").mkdir()
    wrong = []
    for example in [each for page in EXAMPLES.values() for each in page if each.kind == "sh"]:
        for command in split_commands(example.text):
            text = re.sub(r"^\*(/5)?( \*)+ +", "", command.replace("/srv/media", "media"))
            problem = find_command_problem(shlex.split(re.sub(r"\$\([^)]*\)", "value", text), comments=True), tmp_path)
            if problem and not (problem == UNKNOWN and example.not_run):
                wrong.append(f"{example}: {command}: {problem}")
    assert not wrong, "\n".join(wrong)


def find_command_problem(words: list[str], folder: Path) -> str | None:
    """Say what is wrong with a command; None if nothing is."""
    words = words[: next((n for n, word in enumerate(words) if word in ("|", ">", "&&", "||", "<")), len(words))]
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words or re.match(r"\w+=|read_json|}$", words[0]) or words[0] in ("curl", "echo"):
        return None
    program, arguments = Path(words[0]).name, words[1:]
    if program == "streamsvc":
        return find_streamsvc_problem(arguments, folder)
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return None if set(arguments) <= targets else "no such target"
    if program in ("python", "python3") and arguments[:1] == ["-m"]:
        return find_module_problem(*arguments[1:])
    if program == "pip":
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = {extra for text in re.findall(r"\[(.*?)\]", " ".join(arguments)) for extra in text.split(",")}
        return None if extras <= set(setup["options.extras_require"]) else "no such extra"
    if program == "cp" and arguments[0].startswith("deploy/"):
        return None if list(ROOT.glob(arguments[0])) else "no such file"
    return UNKNOWN


def find_streamsvc_problem(arguments: list[str], folder: Path) -> str | None:
    for argument in arguments:
        if re.fullmatch(r"[\w.-]+\.\w+", argument):  # a file that must exist
            (folder / argument).touch()
    try:
        parse_command(arguments)
    except Exception as error:
        return str(error)
    return None


def find_module_problem(name: str, *arguments: str) -> str | None:
    """Modules of this repository have the option in their text."""
    if name in ("venv", "pip", "pytest", "build", "http.server"):
        return None
    spec = importlib.util.find_spec(name)
    if spec is None:
        return "no such module"
    files = [Path(spec.origin), *Path(spec.origin).parent.glob("*.py")]
    text = "".join(file.read_text() for file in files if file.exists())
    unknown = [each for each in arguments if each.startswith("--") and f'"{each}"' not in text]
    return f"no option {unknown}" if unknown else None


def test_the_commands_of_the_readme_exist():
    """Its table of commands shows alternatives with `|` and arguments in capitals."""
    [usage] = [each for each in EXAMPLES["README.md"] if each.kind == "usage"]
    for line in re.findall(r"^streamsvc (.+?)(?: {2,}.*| (?=build).*)?$", usage.text, re.MULTILINE):
        alternatives = line.split(" | ")
        first = shlex.split(alternatives[0])
        for words in [first, *[[*first[:-1], each] for each in alternatives[1:]]]:
            with contextlib.suppress(click.MissingParameter):
                parse_command([PLACES.get(word, word) for word in words])


# commands that run


@pytest.fixture(scope="module")
def runs(new_database, tmp_path_factory):
    """What the commands of each page did, one page after the other, each in a world of its own."""
    found = []
    for page, examples in EXAMPLES.items():
        if page not in RUN_ELSEWHERE and any("streamsvc " in each.text for each in examples if each.kind == "sh"):
            url = new_database("sqlite", "docs_commands", seed_small_demo)
            with pytest.MonkeyPatch.context() as patch:
                found += CommandWorld(tmp_path_factory.mktemp("commands"), url, patch).run_page(page, examples)
    return found


def test_commands_succeed(runs):
    """Or exit with the code that the list names."""
    failed = [f"{run} {run.exit_code}" for run in runs if run.exit_code]
    assert sorted(set(failed)) == listed("exits"), "\n".join(f"{run}: {run.output}" for run in runs if run.exit_code)


def test_commands_print_what_the_pages_show(runs):
    """Except for those on the list, whose output depends on the service."""
    differing = {
        str(run): find_changed_output(run.shown, run.output)
        for run in runs
        if run.shown and find_changed_output(run.shown, run.output)
    }
    assert sorted(differing) == listed("prints"), "\n".join(f"{run}: {what}" for run, what in differing.items())
    assert len(runs) > 30


# settings and code


def parse_settings(env: dict[str, str]) -> str | None:
    """Say what is wrong with settings; None if nothing is. What a page leaves out, `…`, may be anything."""
    known = {name: value for name, value in env.items() if not name.startswith("OTEL_")}
    complete = {name: value for name, value in known.items() if "…" not in value and not name.endswith("_FILE")}
    _, errors = Settings.read(complete)
    _, unknown = Settings.read(dict.fromkeys(name.removesuffix("_FILE") for name in known))
    return "; ".join(errors + unknown) or None


def test_settings_exist_and_have_values_that_parse(tmp_path):
    wrong = []
    for example in examples_of("settings"):
        lines = example.text.replace("/etc/cdn.pem", write_key(tmp_path)).splitlines()
        quoted = [shlex.split(line, comments=True) if re.search(" STREAMSVC_|['#]", line) else [line] for line in lines]
        if problem := parse_settings(dict(word.split("=", 1) for words in quoted for word in words)):
            wrong.append(f"{example}: {problem}")
    assert not wrong, "\n".join(wrong)


def write_key(folder: Path) -> str:
    """Write a private key; returns the path of its file."""
    key = rsa.generate_private_key(65537, 2048)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(folder / "key.pem")


def test_code_has_no_syntax_errors():
    for example in examples_of("python"):
        ast.parse(example.text, str(example))
    for example in examples_of("yaml"):
        yaml.safe_load(example.text)
    for example in examples_of("xml"):
        ElementTree.fromstring(example.text)
    for example in examples_of("ini"):
        configparser.ConfigParser().read_string(example.text)
    for example in examples_of("nginx"):
        text = re.sub(r"#.*|\(\?<\w+>[^)]*\)|\{\d", "", example.text)
        assert text.count("{") == text.count("}") and not re.search(r"[^;{}\s]\s*\n\s*[}\w]", text), example


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_javascript_has_no_syntax_errors(tmp_path):
    wrong = []
    for example in examples_of("js", "html"):
        scripts = re.findall(r"<script type=\"module\">(.*?)</script>", example.text, re.DOTALL) or [example.text]
        file = tmp_path / "example.mjs"
        file.write_text("\n".join(scripts))
        run = subprocess.run(["node", "--check", file], capture_output=True, text=True)
        wrong += [f"{example}: {run.stderr}"] if run.returncode else []
    assert not wrong, "\n".join(wrong)


# what is not checked


def test_what_is_not_run_is_listed():
    """So that nobody adds an example that no test reads."""
    marked = [f"{page} {e.not_run}" for page, examples in EXAMPLES.items() for e in examples if e.not_run]
    assert sorted(marked) == listed("not run"), "\n".join(sorted(marked))


def test_output_and_other_text_is_counted():
    texts = Counter(e.page for page in EXAMPLES.values() for e in page if e.kind == "text" and not e.not_run)
    assert sorted(f"{page} {count}" for page, count in texts.items()) == listed("text")


def test_every_language_has_a_test():
    tested = {"sh", "json", "http", "usage", "settings", "python", "yaml", "xml", "ini", "nginx", "js", "html", "text"}
    assert {e.kind for page in EXAMPLES.values() for e in page if not e.not_run} - tested <= {"ts", "jsx"}, (
        "tests/clients"
    )
