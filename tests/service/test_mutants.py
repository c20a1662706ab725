"""The mutants of `make mutate`: each changes one thing, and none changes what no test could notice."""

import pytest

from bench.mutants import find_mutants
from bench.mutate import ROOT, is_equivalent, load_equivalent_mutants


def changes(tmp_path, source):
    """Return the text of each mutant of a module, which must be valid Python, with the source's own."""
    (tmp_path / "module.py").write_text(source)
    mutants = find_mutants(tmp_path, "module.py")
    texts = [mutant.mutated_source(source.encode()).decode() for mutant in mutants]
    for text in texts:
        compile(text, "module.py", "exec")
    return texts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b"}),
        ("a is not b", {"a is b"}),
        ("a not in b", {"a in b"}),
        ("é == b and c", {"é != b and c", "é == b or c"}),
        ("(a < b) | c", {"(a <= b) | c", "(a < b) & c"}),
        ("timedelta(days=7)", {"timedelta(days=8)", "timedelta(days=6)"}),
        ("min(a, b)", {"max(a, b)"}),
        ("a - b", {"a + b"}),
        ("a if b else c", {"a if (not (b)) else c"}),
        ("[a for a in b if not a]", {"[a for a in b if (a)]"}),
        ("q.where(a, b)", {"q.where(b)", "q.where(a)"}),
        ("q.where(a)", {"q.where()"}),
        ("sa.and_(a)", set()),
        ("f'{1 + 1}' + a['x'][0]", set()),
    ],
)
def test_an_expression_is_changed_in_one_place(tmp_path, before, after):
    assert {text.removeprefix("x = ") for text in changes(tmp_path, f"x = {before}")} == after


def test_statements_and_guards_are_dropped(tmp_path):
    source = "def f(a):\n    if a:\n        raise NotFound\n    g(a)\n    return a\n"
    assert set(changes(tmp_path, source)) == {
        source.replace("if a:", "if (not (a)):"),
        source.replace("raise NotFound", "pass"),
        source.replace("g(a)", "pass"),
        source.replace("return a", "return None"),
    }


def test_texts_annotations_and_log_calls_stay(tmp_path):
    source = '"""A text."""\nx: dict[str, int] | None\n\ndef f(a: int = g, *, b: "x < 1") -> bool < 2:\n'
    source += '    "Another."\n    log.warning("%s", 1)\n    field = Field(metadata={"maximum": 7})\n'
    assert changes(tmp_path, source) == []


def test_the_lines_of_a_mutant_are_those_of_its_statement_without_its_body(tmp_path):
    (tmp_path / "module.py").write_text("@route(200)\ndef f(\n    a=7,\n):\n    g = (\n        8 < b\n    )\n")
    lines = {(mutant.line, mutant.lines) for mutant in find_mutants(tmp_path, "module.py")}
    assert lines == {(1, range(1, 5)), (3, range(1, 5)), (6, range(5, 8))}


def test_the_list_of_equivalent_mutants_is_up_to_date():
    """Each is a mutant of the code as it is now."""
    for entry in load_equivalent_mutants():
        assert any(is_equivalent(mutant, {entry}) for mutant in find_mutants(ROOT, entry[0])), entry
