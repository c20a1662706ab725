"""The TypedDict of an input, which a view hands to its operation, describes exactly what the view's schema loads.

mypy checks the keys that the code reads against the TypedDict; these tests compare the TypedDict with the schema.
"""

import ast
import builtins
import inspect
import textwrap
import typing
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints, is_typeddict

from marshmallow import Schema, fields, missing, validate

from streamsvc.schemas.admin.subscriptions import Percent
from streamsvc.schemas.base import Day, Moment, MomentOrDay
from streamsvc.schemas.catalog.titles import CommaSeparated
from streamsvc.schemas.playback.playback import Seconds

OPERATIONS = Path(__file__).parent.parent.parent / "streamsvc" / "operations"
INPUT_NAMES = {"body", "query"}
LOADED_TYPES: dict[type[fields.Field], Any] = {
    CommaSeparated: list[str],
    Percent: int,
    Moment: datetime,
    Day: date,
    MomentOrDay: datetime | date,
    Seconds: int,
    fields.String: str,
    fields.Integer: int,
    fields.Boolean: bool,
}
LIBRARY_CALLS = {*dir(builtins), "urlencode"}
OPEN_DOCUMENTS = {
    *("replace_channel", "replace_person", "replace_title", "update_title"),
    "receive_play_store_notification",
}
"""Views and operations whose body is a JSON document that something else checks than a schema: the catalog's own record
format, or the parser of Google's notifications."""


def views_with_inputs(app) -> list[tuple[Any, str, Any, Schema]]:
    """(view, its parameter, the parameter's annotation, the schema that loads it) of all views with an input."""
    found = []
    for view in app.view_functions.values():
        documented = getattr(view, "_apidoc", {}).get("arguments", {}).get("parameters", ())
        parameters = list(inspect.signature(view).parameters.values())
        for parameter, described in zip(parameters, documented, strict=False):
            found.append((view, parameter.name, get_type_hints(view).get(parameter.name), described["schema"]))
    return found


def loaded_type(field: fields.Field, hint: Any) -> Any:
    """The type of a field's value after loading. A nested schema is compared with the TypedDict within `hint`."""
    if isinstance(field, fields.Nested):
        nested = next((part for part in (hint, *get_args(hint)) if is_typeddict(part)), None)
        assert nested, f"{field.name} needs a TypedDict, not {hint}"
        assert typed_keys(nested) == loaded_keys(field.schema, nested)
        loaded = nested
    elif isinstance(field, fields.List):
        inner = next((part for part in (hint, *get_args(hint)) if typing.get_origin(part) is list), list[Any])
        loaded = list[loaded_type(field.inner, get_args(inner)[0])]
    elif isinstance(field, fields.Dict):
        loaded = dict[loaded_type(field.key_field, str), loaded_type(field.value_field, str)]
    elif choices := [rule.choices for rule in field.validators if isinstance(rule, validate.OneOf)]:
        loaded = Literal[tuple(choices[0])]
    else:
        loaded = next(LOADED_TYPES[cls] for cls in type(field).__mro__ if cls in LOADED_TYPES)
    return loaded | None if field.allow_none else loaded


def loaded_keys(schema: Schema, inputs: Any) -> dict[str, tuple[bool, Any]]:
    """Key -> (whether it is always present, its type) of the dict that the schema loads."""
    hints = get_type_hints(inputs)
    keys = {}
    for name, field in schema.fields.items():
        key = field.attribute or name
        keys[key] = (field.required or field.load_default is not missing, loaded_type(field, hints.get(key)))
    return keys


def typed_keys(inputs: Any) -> dict[str, tuple[bool, Any]]:
    """The same according to the TypedDict."""
    return {key: (key in inputs.__required_keys__, hint) for key, hint in get_type_hints(inputs).items()}


def passes_input_on(view, parameter: str) -> bool:
    """Whether the view passes its whole input to a function of ours instead of reading single keys."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(view))))
    arguments = [
        argument
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) not in LIBRARY_CALLS
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
    ]
    return any(isinstance(argument, ast.Name) and argument.id == parameter for argument in arguments)


def test_each_typed_input_is_what_its_schema_loads(app):
    typed = [(view, hint, schema) for view, _, hint, schema in views_with_inputs(app) if is_typeddict(hint)]
    different = {
        view.__name__: (typed_keys(hint), loaded)
        for view, hint, schema in typed
        if typed_keys(hint) != (loaded := loaded_keys(schema, hint))
    }
    assert typed and not different


def test_a_view_that_passes_its_input_on_types_it(app):
    untyped = {
        view.__name__
        for view, parameter, hint, _ in views_with_inputs(app)
        if passes_input_on(view, parameter) and not is_typeddict(hint)
    }
    assert untyped - OPEN_DOCUMENTS == set()


def test_no_operation_takes_an_untyped_input():
    untyped = {
        function.name
        for path in OPERATIONS.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for argument in function.args.args
        if argument.arg in INPUT_NAMES and ast.unparse(argument.annotation or ast.Constant("")) in ("''", "dict")
    }
    assert untyped - OPEN_DOCUMENTS == set()
