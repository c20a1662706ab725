"""The examples of the documentation: fenced blocks, the commands in them, and the requests that curl would send."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>not run|json): (?P<note>[^\n]+?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = re.compile(
    r"\s*(?:[A-Z_]+=\S* )*(?:(?:curl|streamsvc|make|npx|npm|pip|python3?|cd|cp|echo|sed|kubectl|docker|kill|systemctl"
    r"|psql|zip|gpg|litestream|stripe|gunicorn|openapi-python-client|\.venv/bin/pip|\* \* \* \* \*|\*/5 .*) |\w+=)"
)
USAGE = re.compile(r"streamsvc .* {2,}\S")
VARIABLES = {"$api": "http://localhost/v1", "$json": "Content-Type: application/json"}
OPTIONS_WITH_VALUE = {"-X", "-H", "-d", "-o", "--data-binary", "--data-urlencode", "--data"}


@dataclass(frozen=True)
class Example:
    """A fenced block. `line` is that of its fence.

    The comment before it may say why it is `not_run`, or by which `schema` or setting its JSON is described.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None
    schema: str | None

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str:
        """The block's language, or what it looks like: sh, settings, http, usage or text."""
        first = next((line for line in self.text.splitlines() if line and not line.startswith("#")), "")
        if self.language:
            return self.language
        if re.match(r"HTTP/1\.1 \d|(GET|POST|PUT|PATCH|DELETE) /", first):
            return "http"
        if all(re.match(r"[A-Z][A-Z_]+=|\s*#|$", line) for line in self.text.splitlines()):
            return "settings"
        if USAGE.match(first) and self.page == "README.md":
            return "usage"
        return "sh" if first.startswith("$ ") or COMMANDS.match(first) else "text"


@dataclass
class Request:
    """What curl sends. `body` is the text after `-d`, None without one."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)


def read_examples(page: Path) -> list[Example]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    name = str(page.relative_to(ROOT))
    examples = []
    for match in FENCE.finditer(text):
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("indent")) + 1
        notes = {"not run": None, "json": None} | {match["mark"]: match["note"]}
        examples.append(Example(name, line, match["language"], body, notes["not run"], notes["json"]))
    assert 2 * len(examples) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{name} has a fence that is not closed"
    return examples


def split_commands(text: str) -> list[str]:
    """Return the commands of a shell block, each on one line where it has no quoted line break; no output.

    Where lines begin with `$`, the others are output.
    """
    if re.search(r"^\$ ", text, re.MULTILINE):
        parts = re.findall(r"^\$ ((?:.*\\\n)*.*)", text, re.MULTILINE)
        return [part.replace("\\\n", " ") for part in parts]
    commands, unfinished = [], ""
    for line in text.replace("\\\n", " ").splitlines():
        unfinished = f"{unfinished}\n{line}" if unfinished else line
        try:
            words = shlex.split(unfinished, comments=True)
        except ValueError:  # a quotation goes on in the next line
            continue
        if words:
            commands.append(unfinished)
        unfinished = ""
    assert not unfinished, f"a quotation does not end: {unfinished}"
    return commands


def split_words(command: str) -> list[str]:
    """Return the words of a command, with the variables that all pages share in place."""
    for name, value in VARIABLES.items():
        command = command.replace(name, value)
    return shlex.split(command, comments=True)


def parse_curl(command: str) -> Request:
    """Return the request of a curl command. Raises AssertionError for an option that is not known here."""
    if assigned := re.fullmatch(r"\w+=\$\((curl .*)\)", command, re.DOTALL):
        command = assigned[1]
    words = split_words(command)
    words = words[words.index("curl") + 1 :]
    method, url, headers, body = None, None, {}, None
    while words:
        word = words.pop(0)
        if word in ("|", ">", "&&", "…"):
            break
        if word in OPTIONS_WITH_VALUE:
            value = words.pop(0)
            if word == "-X":
                method = value
            elif word == "-H":
                name, _, text = value.partition(": ")
                headers[name] = text
            elif word in ("-d", "--data-binary"):
                body = f"{body}&{value}" if body else value
        elif word.startswith("-"):
            assert re.fullmatch(r"-[sSifLG]+", word), f"unknown option {word}: {command}"
        else:
            assert url is None, f"two addresses: {command}"
            url = word
    return Request(method or ("GET" if body is None else "POST"), url, headers, body)


def read_json_documents(text: str) -> list:
    """Return the JSON documents of a block, one after the other. Raises ValueError for malformed ones."""
    documents, at, decoder = [], 0, json.JSONDecoder()
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
    return documents
