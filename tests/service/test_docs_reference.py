"""The pages that scripts/write_reference.py writes are those of the code, and name every command and every error."""

import inspect
import json
import re

import click
import pytest

from scripts import write_reference
from streamsvc.http.description import list_refusals
from streamsvc.http.server_problems import PROBLEMS
from tests.worlds.docs_examples import ROOT

pytestmark = pytest.mark.one_database
RUN = "run python -m scripts.write_reference"


@pytest.fixture(scope="module")
def description():
    return json.loads((ROOT / "openapi.json").read_text())


def test_the_page_of_commands_is_up_to_date():
    page = write_reference.write_commands_page()
    assert write_reference.COMMANDS_PAGE.read_text() == page, RUN
    names = [name for name, _ in write_reference.list_commands()][1:]
    assert set(re.findall(r"^#{2,3} (streamsvc .*)$", page, re.M)) == set(names)


def test_the_page_of_errors_is_up_to_date(description):
    page = write_reference.write_errors_page(description)
    assert write_reference.ERRORS_PAGE.read_text() == page, RUN
    codes = {refusal.code for refusal in list_refusals()}
    assert set(re.findall(r"^### (\w+)$", page, re.M)) == codes
    assert all(f"`{code}`" in page for code, _ in PROBLEMS.values())


def test_an_error_names_exactly_the_operations_whose_responses_have_it(description):
    page = write_reference.ERRORS_PAGE.read_text()
    entry = page.partition("### device_mismatch\n")[2].partition("\n### ")[0]
    described = {
        f"{method.upper()} {path}"
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if "DeviceMismatchProblem" in json.dumps(operation)
    }
    assert described and set(re.findall(r"`(\w+ /[^`]*)`", entry)) == described


def test_a_command_with_an_exit_code_of_its_own_says_so():
    """Whatever ends the process itself, and not by an exception, documents its codes."""
    exits = re.compile(r"sys\.exit\(|SystemExit\(")
    silent = [
        name
        for name, command in write_reference.list_commands()
        if command.callback and exits.search(inspect.getsource(inspect.unwrap(command.callback)))
        if "Exits with" not in (command.help or "")
    ]
    assert not silent


def test_options_are_shown_with_their_values_and_defaults():
    @click.group()
    def root():
        """Root."""

    @root.command("run")
    @click.argument("file")
    @click.argument("rest", required=False, nargs=-1)
    @click.option("--kind", type=click.Choice(["a", "b"]), default="a", help="A | B <c@d.example>.")
    @click.option("--full/--quick", default=False)
    @click.option("--format", metavar="NAME", help="Format.  [default: guessed]")
    @click.option("--most", type=click.IntRange(1, 9), required=True)
    def run(**_):
        """Run it.

        Over
        two lines.
        """

    page = write_reference.write_commands_page(root)
    assert "`streamsvc run [OPTIONS] FILE [REST...]`\n\nRun it.\n\nOver two lines.\n" in page
    assert "| `--kind` | `a`, `b` | `a` | A \\| B \\<c@d.example>. |\n" in page
    assert "| `--full` / `--quick` |  | `--quick` |  |\n" in page
    assert "| `--format` | `NAME` | guessed | Format. |\n" in page
    assert "| `--most` | 1 to 9 | required |  |\n" in page
