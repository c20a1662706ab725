"""The mutants of `make mutate`: each changes one thing, and none changes what no test could notice."""

import json
import os
from contextlib import closing
from textwrap import dedent

import pytest
from coverage import CoverageData

from bench.code_replacement import NotReplaceable, find_replacements, functions_by_file
from bench.mutants import Mutant, find_mutants
from bench.mutate import ROOT, choose_mutants, is_equivalent, load_equivalent_mutants, parse_arguments, write_module
from bench.mutation_tests import AREAS, Area, Recording, TestServer, lines_using, recording_files


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
        ("q.limit(1)", set()),
        ("lru_cache(maxsize=7)", set()),
        ("q.limit(2)", {"q.limit(3)", "q.limit(1)"}),
        ("limit + 1", {"limit - 1", "limit + 0"}),
        ("q['limit'] + 1", {"q['limit'] - 1", "q['limit'] + 0"}),
        ("n['x'] + 1", {"n['x'] - 1", "n['x'] + 2", "n['x'] + 0"}),
        ("sa.and_(a)", set()),
        ("zip(a, b, strict=True)", set()),
        ("convert(a, strict=True)", {"convert(a, strict=False)"}),
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


def test_false_is_not_replaced_by_none(tmp_path):
    assert set(changes(tmp_path, "def f(a):\n    return False\n")) == {"def f(a):\n    return True\n"}


def test_texts_annotations_and_log_calls_stay(tmp_path):
    source = '"""A text."""\nx: dict[str, int] | None\n\ndef f(a: int = g, *, b: "x < 1") -> bool < 2:\n'
    source += '    "Another."\n    log.warning("%s", 1)\n    field = Field(metadata={"maximum": 7})\n'
    assert changes(tmp_path, source) == []


def test_the_lines_of_a_mutant_are_those_of_its_statement_without_its_body(tmp_path):
    (tmp_path / "module.py").write_text("@route(200)\ndef f(\n    a=7,\n):\n    g = (\n        8 < b\n    )\n")
    lines = {(mutant.line, mutant.lines) for mutant in find_mutants(tmp_path, "module.py")}
    assert lines == {(1, range(1, 5)), (3, range(1, 5)), (6, range(5, 8))}


def test_the_mutants_of_one_module_can_be_chosen():
    module = "streamsvc/rules/playback/stream_rules.py"
    options = parse_arguments(["rules", "--count", "9", "--module", "*/stream_rules.py"])
    assert [mutant.path for mutant in choose_mutants(AREAS["rules"], options)] == [module] * 9


def test_the_lines_that_use_a_module_are_found():
    source = """
        from shop import prices
        from shop.prices import VAT, round_up as up
        from shop.stock import count

        def total(amount):
            net = prices.net(amount)
            return up(net + count() - VAT)
    """
    assert lines_using(dedent(source), "prices") == {7, 8}


def test_the_tests_that_execute_what_few_others_do_run_first_and_within_the_budget(tmp_path):
    area = Area((), ("tests/some",))
    data_file, durations = recording_files("tests/some", tmp_path)
    data = CoverageData(str(data_file))
    for test, lines in (("one", [1, 2, 3]), ("two", [1, 2, 3]), ("rare", [2, 8, 9]), ("elsewhere", [3])):
        data.set_context(test)
        data.add_lines({"/tree/streamsvc/module.py": lines})
    data.write()
    durations.write_text(json.dumps({"one": 2, "two": 3, "rare": 2, "elsewhere": 1}))
    mutant = Mutant("streamsvc/module.py", "guard", 0, 0, b"", 2, range(2, 3))
    for budget_s, expected in ((120, ["rare", "one", "two", "elsewhere"]), (4, ["rare", "one"]), (3, ["rare"])):
        assert Recording(area, tmp_path, budget_s).tests_of(mutant) == expected


def test_the_list_of_equivalent_mutants_is_up_to_date():
    """Each is a mutant of the code as it is now."""
    for entry in load_equivalent_mutants():
        assert any(is_equivalent(mutant, {entry}) for mutant in find_mutants(ROOT, entry[0])), entry


FUNCTIONS = """
    from functools import cache, wraps

    def decorate(function):
        @wraps(function)
        def decorated(n):
            return function(n) + 10
        return decorated

    class Counter:
        step = 1

        @decorate
        def add(n, by=2):
            return n + by

    @cache
    def first(items):
        return next((item for item in items if item > 0), None), [*map(lambda n: n + 5, items)]
"""


def replaced(tmp_path, before, after):
    """Import a module and replace its functions; return the results of `add` and `first`."""
    path, namespace = str(tmp_path / "module.py"), {"__name__": "module"}
    exec(compile(before, path, "exec"), namespace)
    for function, code in find_replacements(functions_by_file()[path], before, after):
        function.__code__ = code
    return namespace["Counter"].add(1), namespace["first"]((0, 1))


@pytest.mark.parametrize(
    ("old", "new", "results"),
    [
        ("n + by", "n - by", (9, (1, [5, 6]))),
        (" + 10", " - 10", (-7, (1, [5, 6]))),
        ("item > 0", "item >= 0", (13, (0, [5, 6]))),
        ("n + 5", "n + 6", (13, (1, [6, 7]))),
        ("return next((item for item in items if item > 0), None)", "return None", (13, (None, [5, 6]))),
    ],
)
def test_a_mutant_in_a_function_replaces_the_code_of_imported_functions(tmp_path, old, new, results):
    source = dedent(FUNCTIONS)
    assert replaced(tmp_path, source.encode(), source.replace(old, new).encode()) == results


@pytest.mark.parametrize(("old", "new"), [("step = 1", "step = 2"), ("by=2", "by=3"), ("    @decorate", "")])
def test_a_mutant_outside_functions_needs_another_import(tmp_path, old, new):
    source = dedent(FUNCTIONS)
    with pytest.raises(NotReplaceable):
        replaced(tmp_path, source.encode(), source.replace(old, new).encode())


def test_each_mutant_is_tested_in_a_fork_of_its_own(tmp_path):
    """Tests of other processes find it in the module's file; one that hangs is killed."""
    (tmp_path / "numbers_.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_numbers.py").write_text(
        dedent("""
            import subprocess, sys
            from numbers_ import add

            def test_add():
                assert add(1, 2) == 3

            def test_add_elsewhere():
                check = "from numbers_ import add; assert add(1, 2) == 3"
                subprocess.run([sys.executable, "-c", check], check=True)
        """)
    )
    module, original = tmp_path / "numbers_.py", tmp_path / "original.py"
    original.write_bytes(module.read_bytes())
    test_add, test_elsewhere = "test_numbers.py::test_add", "test_numbers.py::test_add_elsewhere"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with closing(TestServer(tmp_path, environment, ("test_numbers.py",))) as server:

        def run(replacement, *tests, timeout_s=30):
            write_module(module, original.read_bytes().replace(b"return a + b", replacement.encode()))
            return server.run(module, original, list(tests), timeout_s)

        status, output = run("return a - b", test_elsewhere, test_add)
        assert (status, f"FAILED {test_elsewhere}" in output, "1 failed" in output) == (1, True, True)
        status, output = run("return a - b", test_add)
        assert (status, f"FAILED {test_add}" in output) == (1, True)
        status, output = run("return b + a", test_add, test_elsewhere)
        assert (status, "2 passed" in output) == (0, True)
        assert run("while True: pass", test_add, timeout_s=1)[0] is None
        assert run("import signal; signal.alarm(1); signal.pause()", test_add)[0] is None
        assert run("return a + b\nx = 1", test_add) is None
