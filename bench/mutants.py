"""Mutants: small changes to the source, each of which some test should notice.

A mutant replaces one span of a module's text, so that its diff shows nothing but the change. Docstrings, texts, type
annotations, log calls, the sizes of caches and the descriptions of fields are never changed.
"""

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

SWAPPED_COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
SWAPPED_ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+")}
SWAPPED_BOOLEANS = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
SWAPPED_CONDITIONS = {ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&")}
SWAPPED_NAMES = {"min": "max", "max": "min"}
CONCATENATED = ast.List | ast.Tuple | ast.JoinedStr
QUERY_METHODS = {"where", "filter", "filter_by", "having", "and_"}
ANNOTATIONS = {"annotation", "returns"}
UNTESTED_KEYWORDS = {"metadata", "description", "help", "frozen", "maxsize"}
LOG_CALL = re.compile(r"(^|\.)(log|logger|warnings)\.\w+$|^(print|click\.echo)$")


@dataclass(frozen=True)
class Mutant:
    """A module with the bytes from `start` to `end` replaced. `lines` are those of the statement it changes."""

    path: str
    kind: str
    start: int
    end: int
    replacement: bytes
    line: int
    lines: range

    def mutated_source(self, source: bytes) -> bytes:
        return source[: self.start] + self.replacement + source[self.end :]

    def changed_lines(self, source: bytes) -> tuple[str, ...]:
        """Return the removed and the added lines of the diff: "- old", "+ new"."""
        before, after = (text.decode().splitlines() for text in (source, self.mutated_source(source)))
        diff = difflib.unified_diff(before, after, n=0, lineterm="")
        return tuple(f"{line[0]} {line[1:].strip()}" for line in list(diff)[2:] if line[0] in "+-")


def find_mutants(root: Path, path: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its text."""
    return list(_Finder(path, (root / path).read_bytes()).find())


class _Finder:
    def __init__(self, path: str, source: bytes):
        self.path, self.source = path, source
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.line_starts = starts
        self.one_more: set[ast.AST] = set()

    def find(self) -> Iterator[Mutant]:
        yield from self._visit(ast.parse(self.source), None)

    def _visit(self, node, statement) -> Iterator[Mutant]:
        """Yield the mutants of a node and of its children; `statement` is the innermost statement around them."""
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None:
            for kind, start, end, replacement in self._changes(node):
                yield Mutant(
                    self.path,
                    kind,
                    start,
                    end,
                    replacement.encode(),
                    self.source[:start].count(b"\n") + 1,
                    _header_lines(statement),
                )
        for name, value in ast.iter_fields(node):
            if name in ANNOTATIONS:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not self._is_untested(node, child):
                    yield from self._visit(child, statement)

    def _is_untested(self, parent, child) -> bool:
        """Whether no test needs to notice a change of the child: a text, log call, index, import, `limit(1)`.

        Nor that of `zip(strict=True)`, which states that two lists are of one length.
        """
        if isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
            return True
        if isinstance(child, ast.keyword):
            return child.arg in UNTESTED_KEYWORDS or (child.arg == "strict" and _is_zip(parent))
        if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and parent.func.attr == "limit":
            return isinstance(child, ast.Constant) and child.value == 1  # the others are not read
        if isinstance(child, ast.Expr):
            return isinstance(child.value, ast.Constant) or (
                isinstance(child.value, ast.Call) and bool(LOG_CALL.search(self._text(child.value.func)))
            )
        return isinstance(parent, ast.Subscript) and child is parent.slice and isinstance(child, ast.Constant)

    def _changes(self, node) -> Iterator[tuple[str, int, int, str]]:
        """Yield (kind, start, end, replacement) for each change of this node itself."""
        whole = partial(self._replace, node)
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield self._swap("comparison", left, right, *SWAPPED_COMPARISONS[type(op)])
            case ast.BoolOp(op=op, values=values):
                for left, right in pairwise(values):
                    yield self._swap("boolean", left, right, *SWAPPED_BOOLEANS[type(op)])
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                if isinstance(left, ast.Compare) or isinstance(right, ast.Compare):
                    yield self._swap("boolean", left, right, *SWAPPED_CONDITIONS[type(op)])
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                if isinstance(op, ast.Add) and _is_limit(left):
                    self.one_more.add(right)  # one row more than a page shows whether it is the last; so do two
                if not any(isinstance(side, CONCATENATED) or _is_text(side) for side in (left, right)):
                    yield self._swap("arithmetic", left, right, *SWAPPED_ARITHMETIC[type(op)])
            case ast.Constant(value=bool(value)):
                yield whole("constant", str(not value))
            case ast.Constant(value=int(value)):
                if node not in self.one_more:
                    yield whole("constant", f"{value + 1}")
                if value > 0:
                    yield whole("constant", f"{value - 1}")
            case ast.Name(id="min" | "max" as name):
                yield whole("minimum", SWAPPED_NAMES[name])
            case ast.Call(func=ast.Attribute(attr=attr), args=args) if attr in QUERY_METHODS:
                yield from self._dropped_conditions(node, args)
            case ast.Raise():
                yield whole("guard", "pass")
            case ast.Expr(value=ast.Call()):
                yield whole("statement", "pass")
            case ast.Return(value=ast.expr() as value) if not _is_false(value):
                yield whole("return", "return None")
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield self._negate(test)
            case ast.comprehension(ifs=tests):
                yield from map(self._negate, tests)
        match node:
            case ast.If(body=[*_, ast.Return() | ast.Continue() as last], orelse=[]):
                yield self._replace(last, "guard", "pass")

    def _negate(self, test):
        inner = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else None
        return self._replace(test, "condition", f"({self._text(inner)})" if inner else f"(not ({self._text(test)}))")

    def _dropped_conditions(self, call, args):
        """Drop one condition of a query; of `and_`, not the only one."""
        starts, ends = zip(*map(self._span, args), strict=True) if args else ((), ())
        if len(args) > 1:
            yield "query", starts[0], starts[1], ""
            for previous_end, end in pairwise(ends):
                yield "query", previous_end, end, ""
        elif args and call.func.attr != "and_" and not call.keywords:
            yield "query", starts[0], ends[0], ""

    def _swap(self, kind, left, right, old, new):
        """Replace the operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        between = self.source[start:end].decode()
        changed = re.sub(r"(?<!\w)" + re.escape(old).replace(r"\ ", r"\s+") + r"(?!\w)", new, between, count=1)
        return kind, start, end, changed

    def _replace(self, node, kind, text):
        return (kind, *self._span(node), text)

    def _span(self, node) -> tuple[int, int]:
        return (
            self.line_starts[node.lineno - 1] + node.col_offset,
            self.line_starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()


def _header_lines(statement) -> range:
    """The lines of a statement, without the statements inside it."""
    body, decorators = getattr(statement, "body", None), getattr(statement, "decorator_list", None)
    end = body[0].lineno if body else statement.end_lineno + 1
    start = min(statement.lineno, *(d.lineno for d in decorators)) if decorators else statement.lineno
    return range(start, max(end, statement.lineno + 1))


def _is_text(node) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_zip(node) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == "zip"


def _is_limit(node) -> bool:
    """Whether it is `limit`, or `query["limit"]`."""
    key = node.slice if isinstance(node, ast.Subscript) else node
    return "limit" in (getattr(key, "id", None), getattr(key, "value", None))


def _is_false(node) -> bool:
    """Whether it is None or False; hardly any caller distinguishes the two."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)
