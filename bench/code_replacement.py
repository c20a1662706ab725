"""Replaces the code of functions of a module that is imported already by that of a changed source."""

import gc
import inspect
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType

Functions = dict[str, list[FunctionType]]


class NotReplaceable(Exception):
    """Something besides functions differs, which takes effect only when the module is imported."""


def functions_by_file() -> Functions:
    """Return all functions that exist, by the file of their source."""
    functions = defaultdict(list)
    for item in gc.get_objects():
        if type(item) is FunctionType:
            functions[item.__code__.co_filename].append(item)
    return functions


def find_replacements(
    functions: list[FunctionType], before: bytes, after: bytes
) -> list[tuple[FunctionType, CodeType]]:
    """Return the functions of a module and their code in its changed source.

    Raises `NotReplaceable`, if the module must be imported again for the change to take effect.
    """
    codes = {_key(code): changed for code, changed in _code_pairs(_compile(before), _compile(after))}
    replacements = [(function, codes.get(_key(function.__code__))) for function in functions]
    for function, code in replacements:
        if code is None or code.co_freevars != function.__code__.co_freevars:
            raise NotReplaceable(function.__qualname__)
    return replacements


def _compile(source: bytes) -> CodeType:
    return compile(source, "", "exec", dont_inherit=True)


def _key(code: CodeType) -> tuple:
    """Identify a code object of a module by its place: the table of lines has the columns too."""
    return code.co_qualname, code.co_firstlineno, code.co_linetable


def _code_pairs(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield the code of each function and its changed code."""
    is_function = before.co_flags & inspect.CO_OPTIMIZED
    if is_function:
        yield before, after
    elif _own_parts(before) != _own_parts(after):
        raise NotReplaceable(before.co_qualname)
    nested = [[const for const in code.co_consts if isinstance(const, CodeType)] for code in (before, after)]
    if len(nested[0]) == len(nested[1]):
        for pair in zip(*nested, strict=True):
            yield from _code_pairs(*pair)


def _own_parts(code: CodeType) -> tuple:
    """What a module or a class does, apart from its functions."""
    return code.co_code, code.co_names, [repr(const) for const in code.co_consts if not isinstance(const, CodeType)]
